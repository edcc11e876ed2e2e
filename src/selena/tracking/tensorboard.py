"""Training curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

from selena.errors import ConfigError


class TensorBoardLog:
    """Writes the curves of each network into a separate folder.

    TensorBoard draws the curves of one tag from all folders in one chart, so those of 25 sub-models
    can be compared. Use it in a `with` block, or close it, so that the last points are on disk.

    Attributes:
        folder: the folder for `tensorboard --logdir`, or a folder inside it.
    """

    def __init__(self, folder: Path) -> None:
        """Write below `folder`, which is made with the first curve.

        Raises:
            ConfigError: TensorBoard is not installed.
        """
        try:
            import tensorboard  # noqa: F401 - the first curve is too late to hear of it
        except ImportError as error:
            raise ConfigError(
                "Training curves need TensorBoard, which is not installed. "
                "Install it with: pip install 'selena-privacy[tensorboard]'"
            ) from error
        self.folder = folder
        self._writers: dict[Path, Any] = {}

    def under(self, name: str) -> TensorBoardLog:
        """Return a log that writes into the folder `name` of this one; they are closed together."""
        inner = copy(self)
        inner.folder = self.folder / name
        return inner

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        """Add one point to each curve of a network.

        Args:
            name: name of the network in its job ("student", "submodel-7").
            epoch: number of finished epochs. If training resumes from a checkpoint, a repeated
                epoch adds the same points again.
            values: values by curve ("loss", "learning_rate", "validation_accuracy").
        """
        from torch.utils.tensorboard import SummaryWriter

        path = self.folder / name
        if path not in self._writers:
            self._writers[path] = SummaryWriter(str(path))
        for tag, value in values.items():
            self._writers[path].add_scalar(tag, value, epoch)

    def close(self) -> None:
        """Write everything to disk; later points go to new files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
