"""Try the wheel in `dist/` from outside the checkout: train, attack, audit, report.

    python -m publish.wheel [--empty]

By default the wheel is installed into an environment that borrows the dependencies of this one: it
takes seconds, and finds files that the wheel lacks. With `--empty` pip installs them as for a
stranger, at the versions of `constraints.txt`, and `selena demo` runs in full.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PREDICTIONS = """
import numpy as np

rng = np.random.default_rng(0)
member = np.arange(2000) % 2 == 0
labels = rng.integers(0, 5, 2000)
scores = rng.normal(size=(2000, 5))
scores[np.arange(2000), labels] += np.where(member, 3.0, 1.5)
probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
known = rng.random(2000) < 0.5
np.savez("predictions.npz", probabilities=probabilities, labels=labels, member=member, known=known)
"""

WHERE = """
from importlib.metadata import version
from importlib.resources import files
import selena
assert files("selena").joinpath("py.typed").is_file(), "py.typed is missing"
assert version("selena-privacy") == selena.__version__
print(selena.__file__)
"""

SETTINGS = """
defenses = ["undefended", "selena"]
attacks = ["confidence"]
seeds = [0]
[data]
dataset = "digits"
n_members = 200
[plan]
hidden = [16]
n_submodels = 4
n_nonmodels = 2
[plan.training]
epochs = 3
[plan.distillation]
epochs = 3
"""


def try_wheel(wheel: Path, folder: Path, *, empty: bool) -> None:
    """Install `wheel` into an environment in `folder`, and use it there.

    Raises:
        subprocess.CalledProcessError: a command failed.
        AssertionError: another selena than the wheel's answered, or an output is missing.
    """
    environment = folder / "environment"
    venv.create(environment, with_pip=empty)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python, selena = str(scripts / "python"), str(scripts / "selena")
    if empty:
        pins = ["--constraint", str(ROOT / "constraints.txt")]
        _run(folder, python, "-m", "pip", "install", "--quiet", *pins, str(wheel))
    else:
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        _run(folder, *pip, "--no-deps", "--no-index", str(wheel))
        own = _run(folder, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        (Path(own) / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    found = Path(_run(folder, python, "-c", WHERE))
    assert found.is_relative_to(environment.resolve()), f"{found} answered, not the wheel"

    _run(folder, python, "-c", PREDICTIONS)
    audit = ("audit", "--predictions", "predictions.npz", "--json", "audit.json")
    _run(folder, selena, *audit, "--html", "audit.html", "--fail-if", "advantage>0.9")
    outputs = ["audit.json", "audit.html"]
    if empty:
        _run(folder, selena, "demo")
        outputs += [f"selena-demo/report.{kind}" for kind in ("json", "md", "png", "html")]
    else:
        (folder / "settings.toml").write_text(SETTINGS)
        _run(folder, selena, "run", "--config", "settings.toml", "--out", "report")
        outputs += [f"report/report.{kind}" for kind in ("json", "md", "png", "html")]
    missing = [name for name in outputs if not (folder / name).is_file()]
    assert not missing, f"not written: {missing}"


def _run(folder: Path, *command: str) -> str:
    """Return what a command printed; it runs in `folder`, and nothing points to the checkout."""
    print("$", *(part if "\n" not in part else "..." for part in command), flush=True)
    variables = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=variables, text=True, check=True, stdout=subprocess.PIPE
    )
    return done.stdout.strip()


def main() -> None:
    """Try the one wheel in `dist/`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--empty", action="store_true", help="install every dependency anew")
    options = parser.parse_args()
    (wheel,) = (ROOT / "dist").glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        try_wheel(wheel, Path(folder), empty=options.empty)
    print(f"{wheel.name} works")


if __name__ == "__main__":
    main()
