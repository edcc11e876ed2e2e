"""Models in ONNX files, run by the optional package onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from selena.errors import ConfigError, DataError
from selena.files.reading import border, check_is_file
from selena.models.containers import contain
from selena.training.batches import in_chunks

_TYPES: dict[str, type] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


def open_onnx(path: Path, device: str) -> Callable[[Any], np.ndarray]:
    """Return a function that maps dense records to the answers of the model in `path`.

    Raises:
        ConfigError: onnxruntime is not installed, or the model has several inputs or several
            outputs of fractions.
        DataError: the file is absent or damaged.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"{path}: asking an ONNX model needs onnxruntime. Install it with "
            'pip install "selena-privacy[onnx]".'
        ) from error
    check_is_file(path)
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    there = onnxruntime.get_available_providers()
    providers = [name for name in (*wanted, "CPUExecutionProvider") if name in there]
    with border(path, "this is no ONNX model, or a damaged one"):
        session = onnxruntime.InferenceSession(str(path), providers=providers)
        return _asker(session, path)  # inside: reading the names of a damaged model may fail


def _asker(session: Any, path: Path) -> Callable[[Any], np.ndarray]:
    inputs = session.get_inputs()
    outputs = [each for each in session.get_outputs() if each.type in _FLOATS]
    if len(inputs) != 1 or inputs[0].type not in _TYPES or len(outputs) != 1:
        described = [f"{each.name}: {each.type}" for each in (*inputs, *session.get_outputs())]
        raise ConfigError(
            f"{path} must have one input of numbers and one output of fractions; it has "
            f"{', '.join(described)}. Pass a function that runs the session and returns the "
            "probabilities (a model made by skl2onnx: convert it with zipmap=False)."
        )
    (given,), (wanted,) = inputs, outputs
    given_name, wanted_name = given.name, wanted.name  # raises here if they are no text
    fixed = given.shape[0] if given.shape and isinstance(given.shape[0], int) else None

    def ask(x: Any) -> np.ndarray:
        try:
            numbers: np.ndarray = contain(x, "x").numbers().astype(_TYPES[given.type])
        except DataError as error:
            raise DataError(f"An ONNX model takes numbers, but {error}.") from error
        answers = []
        for part in in_chunks(len(numbers), fixed or len(numbers)):
            rows = numbers[part]
            # A model exported for one batch size takes no other, so the last batch is padded.
            spare = (fixed or len(rows)) - len(rows)
            filled = np.concatenate([rows, np.repeat(rows[-1:], spare, axis=0)])
            answers.append(session.run([wanted_name], {given_name: filled})[0][: len(rows)])
        return np.concatenate(answers)

    return ask
