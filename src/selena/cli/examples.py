"""The end of `--help`: three examples per command, and the exit codes."""

from __future__ import annotations

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed while it worked (training, disk); 2 wrong option, setting or "
    "file; 130 stopped by Ctrl-C, 143 by SIGTERM. With --fail-if: 0 passes, 3 fails, 2 unresolved, "
    "1 any error."
)

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "selena demo",
        "selena audit --predictions predictions.csv --html report.html",
        "selena run --dataset digits --attack direct --out report",
    ),
    "demo": ("selena demo", "selena demo --out my-demo", "selena demo --seed 1 --json demo.json"),
    "audit": (
        "selena audit --predictions predictions.npz --html report.html",
        "selena audit --model m.onnx --members in.csv --non-members out.csv",
        "selena audit --predictions p.csv --fail-if 'advantage>0.1'",
    ),
    "run": (
        "selena run --dataset digits --attack direct --out report",
        "selena run --dataset digits --defense selena --epochs 5 --n-submodels 10",
        "selena run --config settings.toml --seed 1 --seed 2 --json results.json",
    ),
    "list": (
        "selena list",
        "selena list attacks",
        "selena list defenses --json defenses.json",
    ),
    "train": (
        "selena train --dataset digits --defense selena",
        "selena train --dataset images/ --epochs 20 --device cuda",
        "selena train --dataset own.csv --label-column class --n-members 500",
    ),
    "attack": (
        "selena attack runs/digits-selena-seed0-* --attack direct",
        "selena attack runs/digits-* --attack direct,lira",
        "selena attack runs/digits-* --config attacks.toml --json audit.json",
    ),
    "report": (
        "selena report runs/digits-* --out report",
        "selena report runs/digits-* --html report.html --json report.json",
        "selena report runs/digits-selena-* --fail-if 'tpr@fpr=1%>5%'",
    ),
    "release-report": (
        "selena release-report report.selena --output release.pdf",
        "selena release-report RUN --output release.html --model-card card.yaml",
        "selena release-report RUN --output r.pdf --records-key inside.csv",
    ),
    "tune": (
        "selena tune --dataset digits --trials 20",
        "selena tune --dataset digits --defense selena --n-nonmodels 1:20 --limit 0.1",
        "selena tune --dataset own.csv --epochs 5:50 --out tuning",
    ),
    "export": (
        "selena export runs/digits-selena-seed0-0123456789ab --onnx model.onnx",
        "selena export RUN --onnx model.onnx --probabilities",
        "selena export RUN --onnx model.onnx --data-dir downloads",
    ),
    "prepare": (
        "selena prepare location30",
        "selena prepare purchase100 texas100",
        "selena prepare cifar100 --data-dir downloads",
    ),
    "reproduce": (
        "selena reproduce table2 --plan",
        "selena reproduce figure4 --dataset location30",
        "selena reproduce worst-case --dataset location30 --defense selena,pate",
    ),
    "cluster": (
        "selena cluster check",
        "selena cluster check --executor ray://head:10001",
        "selena cluster check --task-gpus 0.25 --json machines.json",
    ),
}
"""By command ("" is `selena` itself): command lines, each at most 76 characters wide."""


def epilog(command: str) -> str | None:
    """Return the end of a command's help: its examples and, for `selena` itself, exit codes."""
    lines = EXAMPLES.get(command)
    if lines is None:
        return None
    return "\n".join(["Examples:", *lines, *([] if command else ["", EXIT_CODES])])
