"""The folder of a run: its weights, its history, its pictures, and what it was made with."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_vision.app import manifest
from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.devices import describe_hardware, make_fabric
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.processes import is_main_process
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import first_line
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.fit import AfterEpoch, fit, is_yes

UNFINISHED = "unfinished"
STOPPED = "stopped early, as after_epoch asked for"


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
        output = cls(user_path(folder))
        output.plots.mkdir(parents=True, exist_ok=True)
        for place in (output.folder, output.plots):
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(b"proof")
        for path in (output.weights, output.history, output.page, output.folder / manifest.NAME):
            if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
                raise OSError(f"{path} is in the way: it is no file that can be replaced")
        return output

    @classmethod
    def check(cls, folder: str | os.PathLike) -> None:
        """Raise OSError if ``prepare`` would, as far as can be told without making anything."""
        folder = user_path(folder)
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(there))
        if not os.access(there, os.W_OK):
            raise PermissionError(errno.EACCES, "Permission denied", str(there))

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
    def is_unfinished(self) -> bool:
        """Whether this is where a run is written that has not ended, or was interrupted."""
        return self.folder.name == UNFINISHED

    @property
    def unfinished(self) -> "Output":
        """Where a run is written that has not ended yet, or was interrupted."""
        return Output(self.folder / UNFINISHED)

    def free_for(self, identity: str) -> "Output":
        """Return this folder, or the next one beside it that holds no other run.

        That of ``runs/mine`` is ``runs/mine-2``. What has weights but does not say what it was
        made with is another run's.

        Args:
            identity: of the run that is to be written, as its manifest has it.
        """
        output, number = self, 1
        while output._holds_another(identity) or output.unfinished._holds_another(identity):
            number += 1
            name = f"{self.folder.name}-{number}"
            named = self.folder.name not in ("", "..")
            output = Output(self.folder.with_name(name) if named else self.folder / f"run-{number}")
        return output

    def _holds_another(self, identity: str) -> bool:
        found = manifest.read(self.folder)
        return self.weights.exists() if found is None else found.get("identity") != identity

    def keep(self, classifier: Classifier) -> None:
        """Write the history of a run that goes on, in ``unfinished``: for ``fit``'s after_epoch.

        Where it cannot be written, a line says so.
        """
        try:
            classifier.history.to_csv(self.unfinished.history)
        except OSError as error:
            say(f"The history is not kept in {self.unfinished.history}: {error}")

    def write(self, classifier: Classifier, epochs: int | None = None) -> "Output":
        """Write weights and history, apart if the run was interrupted; return where.

        What a finished run left here is not replaced by one that was not. A finished one's copy
        of its history in ``unfinished`` is taken away.

        Args:
            classifier: that was trained.
            epochs: that it was to have; None if it ended when it was to, such as by an early stop.
        """
        written = self
        if epochs is not None and len(classifier.history.records) < epochs:
            written = Output.prepare(self.unfinished.folder)
        classifier.save(written.weights)
        classifier.history.to_csv(written.history)
        if written is self:
            with contextlib.suppress(OSError):  # not there, or not empty: an earlier run's
                self.unfinished.history.unlink()
                self.unfinished.plots.rmdir()
                self.unfinished.folder.rmdir()
        return written

    def remove(self) -> None:
        """Remove what a run has written here, and then the folder, unless it holds something else.

        What cannot be removed stays.
        """
        for file in (self.weights, self.history, self.folder / manifest.NAME):
            with contextlib.suppress(OSError):
                file.unlink()
        for folder in (self.plots, self.folder):
            with contextlib.suppress(OSError):  # not there, or not empty
                folder.rmdir()


def train_into(
    output: Output,
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    machine: Machine | None = None,
    checkpoints: str | os.PathLike | None = None,
    after_epoch: AfterEpoch | None = None,
    notes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Output:
    """Train a classifier, and write its weights, its history and what it was made with.

    Where the folder holds another run, of other settings or other data, the next one beside it is
    taken, and a line says so. The same run, made again, replaces its own files once it is whole;
    what there is of it until then, or after an interrupt, lies in ``unfinished``.

    Args:
        output: where to, as ``Output.prepare`` made it.
        classifier, data, config, machine, checkpoints: as for ``fit``. Without any epoch, the
            classifier is only tested, and nothing is written.
        after_epoch: as for ``fit``; a training that it ends early is a finished one.
        notes: more that ``run.json`` is to say; see ``manifest.describe_run``.
        overwrite: whether another run's files may be replaced.

    Returns:
        Where it was written, or its ``unfinished`` if the run was interrupted. Of a test, where
        pictures of it replace no other run's.
    """
    machine = machine or Machine()
    made_with = manifest.describe_run(classifier, data, config, machine, notes)
    main = is_main_process()
    chosen = output if overwrite else output.free_for(made_with["identity"])
    if main and chosen != output:
        say(f"{output.folder} holds another run, which stays: this one goes to {chosen.folder}")
        chosen = Output.prepare(chosen.folder)
    if config.epochs == 0:
        fit(classifier, data, config, machine)
        return chosen
    if main:
        _begin(chosen, made_with)

    def look(tested: Classifier) -> bool:
        chosen.keep(tested)
        wants_to_stop = after_epoch is not None and is_yes(after_epoch(tested))
        if wants_to_stop:  # in a file, as this can be a fork of the process that has to know it
            _note(chosen.unfinished, made_with | {"status": STOPPED})
        return wants_to_stop

    try:
        fit(classifier, data, config, machine, checkpoints, look)
    except BaseException as error:
        if main:
            _fail(chosen.unfinished, made_with, error)
        raise
    return _end(chosen, classifier, config, machine, made_with) if main else chosen


def _begin(output: Output, made_with: manifest.Manifest) -> None:
    """Say in ``unfinished`` what is being made there; a run that goes on began when it began."""
    before = manifest.read(output.unfinished.folder) or {}
    if before.get("identity") == made_with["identity"]:
        made_with["started"] = before.get("started", made_with["started"])
    else:  # another run's, which may be replaced
        output.unfinished.remove()
    manifest.write(output.unfinished.folder, made_with)


def _note(output: Output, made_with: manifest.Manifest) -> None:
    """Write a manifest; a line says so where it cannot be written."""
    try:
        manifest.write(output.folder, made_with)
    except OSError as error:
        say(f"{output.folder / manifest.NAME} is not written: {error}")


def _fail(output: Output, made_with: manifest.Manifest, error: BaseException) -> None:
    """Say how a run ended, if there is anything of it; else leave nothing in the way of others."""
    if output.history.exists():
        _note(output, made_with | {"status": f"failed: {first_line(error)}"})
    else:
        output.remove()


def _end(
    output: Output,
    classifier: Classifier,
    config: TrainConfig,
    machine: Machine,
    made_with: manifest.Manifest,
) -> Output:
    """Write what was trained, and say what came out."""
    stopped = (manifest.read(output.unfinished.folder) or {}).get("status") == STOPPED
    whole = len(classifier.history.records) >= config.epochs
    written = output.write(classifier, None if stopped else config.epochs)
    made_with["machine"]["device"] = describe_hardware(make_fabric(machine))
    status = "finished" if whole else STOPPED if stopped else "interrupted"
    _note(
        written,
        made_with
        | {
            "status": status,
            "ended": manifest.now(),
            "figures": manifest.figures(classifier.history),
        },
    )
    if written is output:
        output.unfinished.remove()
    return written
