"""The commands; each is imported only when it is called.

Importing PyTorch takes seconds, which the list of commands, the version and the completion of
names must not wait for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from selena.cli.examples import epilog
from selena.cli.guards import Stopped, stoppable, verdicts_own_their_codes, warnings_in_a_line
from selena.environment.version import __version__
from selena.errors import SelenaError
from selena.files.escaping import printable, printable_lines
from selena.pools.shared_memory import clear_shared_memory
from selena.reports.console import SafeConsole

COMMANDS = {
    "demo": (
        "demo:demo_command",
        "Train an undefended and a SELENA-protected model on synthetic purchases; attack both.",
    ),
    "audit": ("audit:audit_command", "Audit any model, from its file or from its predictions."),
    "run": ("run:run_command", "Train, attack and report, for every defense and seed."),
    "list": (
        "list:list_command",
        "List data sets, defenses and attacks: what each is, needs and costs.",
    ),
    "train": ("run:train_command", "Train models into run folders and print the folders."),
    "attack": (
        "run:attack_command",
        "Attack trained runs; attacks that finished before are reused.",
    ),
    "report": (
        "report:report_command",
        "Write one report on runs that were attacked; --fail-if judges each of them.",
    ),
    "release-report": (
        "release_report:release_report_command",
        "Write one document (PDF or HTML) for the decision whether a model may be released.",
    ),
    "tune": (
        "tune:tune_command",
        "Search settings that trade accuracy against leakage, without evaluation records.",
    ),
    "export": (
        "export:export_command",
        "Write a run's model as an ONNX file and check its answers.",
    ),
    "prepare": (
        "prepare:prepare_command",
        "Download published data sets, check them, and convert them for fast loading.",
    ),
    "reproduce": (
        "reproduce:reproduce_app",
        "Reproduce the paper's table and figures, next to the published ones.",
    ),
    "cluster": (
        "cluster:cluster_app",
        "Check which machines of a cluster may take part.",
    ),
    "env": (
        "env:env_command",
        "Print versions, cores, instruction sets and devices, for bug reports.",
    ),
}
"""Commands by name, in the order of `selena --help`: module:function and first line of the help."""

RENAMED_OPTIONS = {"--group-column": "--subject-column", "--members": "--n-members"}
"""Old names of options and their new names; commands accept them until version 2.0."""

app = typer.Typer(
    help="Train classifiers with membership privacy, attack them, report what leaks.",
    no_args_is_help=True,
    epilog=epilog(""),
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; errors a user can fix become one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without "±" in its encoding shows "?"
            stream.reconfigure(errors="replace")
    with verdicts_own_their_codes(sys.argv[1:]):
        try:
            with stoppable():
                clear_shared_memory()
                app()
        except (SelenaError, OSError) as error:  # OSError: for example a full disk
            _say(f"Error: {error}", "red")
            sys.exit(error.exit_code if isinstance(error, SelenaError) else 1)
        except Stopped as stopped:
            _say(stopped.message, "yellow")
            sys.exit(stopped.exit_code)


def _say(text: str, style: str) -> None:
    console = SafeConsole(stderr=True)
    console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


class _Printable(logging.Formatter):
    """Formats log lines with control characters in names as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Verbose logging, on the error stream.")
    ] = False,
) -> None:
    """Train classifiers with membership privacy, attack them, report what leaks."""
    if version:
        print(__version__)
        raise typer.Exit
    log = logging.StreamHandler()
    log.setFormatter(_Printable(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[log])


def load(name: str) -> Any:
    """Return the command called `name`: a function, or a Typer with subcommands."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    return getattr(import_module(f"selena.cli.{module}"), attribute)


class _LazyCommand(TyperCommand):
    """A command in the list that imports the real one when it is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        assert self.name is not None
        found = load(self.name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(self.name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.epilog = epilog(self.name)
        known = {name for parameter in command.params for name in parameter.opts}
        current = [_current_option(argument, known) for argument in args]
        context = command.make_context(info_name, current, parent, **extra)
        context.with_resource(warnings_in_a_line())
        return context


def _current_option(argument: str, known: Collection[str]) -> str:
    """Return `argument` with the current name of its option, if `known` has only that name."""
    name, equals, value = argument.partition("=")
    now = RENAMED_OPTIONS.get(name)
    if now is None or now not in known or name in known:
        return argument
    _say(f"{name} is called {now} now. Version 2.0 will not read the old name.", "yellow")
    return now + equals + value


for _name, (_, _help) in COMMANDS.items():
    app.command(_name, cls=_LazyCommand, help=_help)(lambda: None)
