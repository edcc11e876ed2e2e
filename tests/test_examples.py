"""Every example runs and says what it promises; so does the notebook, kept without output."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOK = EXAMPLES / "quickstart.ipynb"

# What a reader of the output must find in it, by example.
SAID = {
    "audit_my_predictions": ("confidence", "Leak: ", "TPR at 1 % FPR: "),
    "own_attack": ("calibrated confidence", "Leak: ", "TPR at 1 % FPR: "),
    "own_defense": ("undefended", "cross labels", "synthetic"),
    "own_training_loop": ("weights trained", "selena, adapters", "synthetic"),
    "protect_sklearn_pipeline": ("bare", "protected"),
    "quickstart": ("undefended", "selena", "synthetic"),
    "rows_of_one_person": ("undefended", "not told", "told whose rows they are"),
}


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAID)


# In this process: each would load PyTorch anew, and warnings are errors here.
@pytest.mark.deep
@pytest.mark.usefixtures("in_short")
@pytest.mark.parametrize("name", SAID)
def test_the_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for words in SAID[name]:
        assert words in printed
    pages = [tmp_path / word for word in printed.split() if word.endswith(".html")]
    assert pages
    assert all(page.is_file() for page in pages)


def test_the_notebook_is_kept_without_output() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.deep
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By nbclient itself, which is what plugins of pytest call: a kernel runs every cell."""
    reason = "notebooks need nbclient and ipykernel"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    nbformat = pytest.importorskip("nbformat", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # figures are shown where a reader sees them
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    # Warnings in the kernel are no errors, but they are printed there.
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    figures = [output for output in outputs if "image/png" in output.get("data", ())]
    assert len(figures) == 2
    assert (tmp_path / "quickstart.html").is_file()
