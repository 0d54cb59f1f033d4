"""The folder of a run: its weights, its history, its pictures, its page of errors."""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.processes import is_main_process
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.fit import fit

UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Output:
    """Where a run writes what it made; ``Output.prepare`` makes the folder.

    Attributes:
        folder: holds all of it.
    """

    folder: Path

    @classmethod
    def prepare(cls, folder: str | os.PathLike) -> "Output":
        """Return the output in a folder, which is made if it is missing.

        Raises:
            OSError: nothing can be written there. It shows now, not after hours of training.
        """
        output = cls(Path(folder))
        output.plots.mkdir(parents=True, exist_ok=True)
        for place in (output.folder, output.plots):
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(b"proof")
        for path in (output.weights, output.history, output.page):
            if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
                raise OSError(f"{path} is in the way: it is no file that can be replaced")
        return output

    @property
    def plots(self) -> Path:
        """The folder of the pictures."""
        return self.folder / "plots"

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return self.folder / "weights.safetensors"

    @property
    def history(self) -> Path:
        """The table of the epochs."""
        return self.plots / "history.csv"

    @property
    def page(self) -> Path:
        """The page of the errors."""
        return self.folder / "errors.html"

    @property
    def unfinished(self) -> "Output":
        """Where a run is written that has not ended yet, or was interrupted."""
        return Output(self.folder / UNFINISHED)

    def keep(self, classifier: Classifier) -> None:
        """Write the history of a run that goes on, in ``unfinished``: for ``fit``'s after_epoch.

        Where it cannot be written, a line says so.
        """
        try:
            classifier.history.to_csv(self.unfinished.history)
        except OSError as error:
            print(f"The history is not kept in {self.unfinished.history}: {error}")

    def write(self, classifier: Classifier, epochs: int) -> "Output":
        """Write weights and history, apart if the run was interrupted; return where.

        What a finished run left here is not replaced by one that was not. A finished one's copy
        of its history in ``unfinished`` is taken away.

        Args:
            classifier: that was trained.
            epochs: that it was to have.
        """
        written = self
        if len(classifier.history.records) < epochs:
            written = Output.prepare(self.unfinished.folder)
        classifier.save(written.weights)
        classifier.history.to_csv(written.history)
        if written is self:
            with contextlib.suppress(OSError):  # not there, or not empty: an earlier run's
                self.unfinished.history.unlink()
                self.unfinished.plots.rmdir()
                self.unfinished.folder.rmdir()
        return written


def train_into(
    output: Output,
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    machine: Machine | None = None,
    checkpoints: str | os.PathLike | None = None,
) -> Output:
    """Train a classifier, and write its weights and its history; without any epoch, only test.

    Args:
        output: where to, as ``Output.prepare`` made it. A test writes nothing.
        classifier, data, config, machine, checkpoints: as for ``fit``.

    Returns:
        Where it was written: ``output``, or its ``unfinished`` if the run was interrupted.
    """
    fit(classifier, data, config, machine, checkpoints, output.keep)
    if config.epochs == 0 or not is_main_process():
        return output
    return output.write(classifier, config.epochs)
