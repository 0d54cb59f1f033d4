"""Checkpoints: files from which a stopped run continues.

They are written atomically, and loading one runs no code from it.
"""

import contextlib
import os
import pickle
import pickletools
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import CheckpointError, Processes, atomic_write
from pytorch_vision.runtime.files import (
    InUseError,
    check_writable,
    is_lack_of_memory,
    is_system_error,
    locked,
    user_path,
)
from pytorch_vision.runtime.terminal import Bar, Screen, say
from pytorch_vision.runtime.text import checked_text, describe_os_error, first_line
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Custom
from pytorch_vision.training.fingerprint import identity
from pytorch_vision.training.state import restore_training, state_of_training
from pytorch_vision.training.trainer import Trainer

NAME = "checkpoint.pt"
FORMAT = 5  # version of the file; raise it with its fields
SAVE_SECONDS = 60.0
NAMES = re.compile(  # the only globals that a pickled tensor needs
    r"torch [A-Za-z0-9]+Storage|torch\._utils _rebuild_tensor_v2|collections OrderedDict"
)
LONGER = (
    " A run cannot be made longer or shorter, because its learning rate falls to zero in its last "
    "epoch: to train further, start a new run from its weights."
)


def check_identity(path: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Raise CheckpointError that names each difference between a checkpoint's run and this one."""
    names = sorted(saved.keys() | current.keys())
    pairs = [(name, saved.get(name, "missing"), current.get(name, "missing")) for name in names]
    differences = [f"{name} was {was!r} and is {now!r}" for name, was, now in pairs if was != now]
    if differences:
        longer = saved.get("epochs") != current.get("epochs")
        raise CheckpointError(
            f"{path} belongs to another run: {'; '.join(differences)}. The file was left "
            "unchanged: restore the old values, move the file away, or choose another folder."
            + (LONGER if longer else "")
        )


def load(folder: str | os.PathLike) -> dict[str, Any] | None:
    """Return the state in ``folder/checkpoint.pt``, with tensors on the CPU; None without a file.

    Raises:
        CheckpointError: the file is damaged, is no checkpoint, or refers to code.
    """
    path = user_path(folder) / NAME
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not verify the checksums
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} in it is damaged")
            _check_names(archive)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's message suggests running the code
        raise _foreign(path, "it refers to code, or is damaged") from error
    except Exception as error:  # a damaged or foreign file can fail anywhere in the reader
        if is_system_error(error):
            raise
        raise _foreign(path, first_line(error)) from error
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT:
        raise _foreign(path, f"it is not in format {FORMAT}, which this version reads and writes")
    return state


def _check_names(archive: zipfile.ZipFile) -> None:
    """Raise UnpicklingError if a checkpoint refers to a global that no tensor needs.

    torch allows a few more; one of them, bytearray, could allocate any number of gigabytes.
    """
    (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    for operation, argument, _ in pickletools.genops(archive.read(pickled)):
        # torch refuses all other operations that load a global
        if operation.name == "GLOBAL" and not NAMES.fullmatch(str(argument)):
            raise pickle.UnpicklingError(f"it refers to {argument}")


def _foreign(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a valid checkpoint ({reason}). It was left unchanged: move it away to "
        "start from the beginning, or choose another folder."
    )


class Checkpoints:
    """A folder in which a run saves its state, after every epoch and at least once a minute.

    A ``folder`` of None saves nothing. The other arguments describe the run, which a checkpoint
    must match.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None,
        config: TrainConfig,
        data: ImageData,
        classifier: Classifier,
        custom: Custom,
    ) -> None:
        self.folder = None if folder is None else user_path(folder)
        if folder is not None:
            self.identity = identity(config, data, classifier) | custom.fingerprint()
        self.saved_at = time.monotonic()

    @contextlib.contextmanager
    def locked(self, processes: Processes) -> Iterator[None]:
        """Lock the folder against other runs.

        Raises:
            CheckpointError: another run uses it; the message says which.
            OSError: the folder cannot be made or written.
        """
        with contextlib.ExitStack() as stack:
            if (folder := self.folder) is not None:
                try:
                    processes.on_main(lambda: check_writable(folder))
                    processes.on_main(lambda: stack.enter_context(locked(folder)))
                except InUseError as error:
                    message = f"{error}: wait for it, or choose another folder"
                    raise CheckpointError(message) from None
            yield

    @property
    def found(self) -> bool:
        """Whether there is a file to continue from, of this run or another."""
        return self.folder is not None and (self.folder / NAME).exists()

    def is_due(self) -> bool:
        """Tell whether the last save was more than a minute ago."""
        return self.folder is not None and time.monotonic() - self.saved_at > SAVE_SECONDS

    def save(self, trainer: Trainer) -> None:
        """Save from the first process, unless a loss was infinite or NaN; the others wait.

        If the file cannot be written, print a line that says so and let training continue.
        """
        if (folder := self.folder) is None or trainer.metrics.first_bad_batch() is not None:
            return
        state = {
            "format": FORMAT,
            "identity": self.identity,
            "hardware": trainer.hardware,
            "run": state_of_training(trainer),
        }
        trainer.processes.on_main(lambda: self._write(folder, state))
        self.saved_at = time.monotonic()

    def _write(self, folder: Path, state: dict[str, Any]) -> None:
        try:
            with atomic_write(folder / NAME) as file:
                torch.save(state, file)
        except OSError as error:
            Bar.write(
                f"No checkpoint saved in {folder} ({describe_os_error(error)}); the previous one, "
                "if any, is unchanged. Training continues.",
                file=Screen(),
            )

    def resume(self, trainer: Trainer) -> None:
        """Restore the trainer from the checkpoint, if any, and reprint what its epochs printed.

        Raises:
            CheckpointError: the file is damaged or belongs to another run.
        """
        if (folder := self.folder) is None:
            return
        state = trainer.processes.on_main(lambda: load(folder))
        if state is None:
            return
        path = folder / NAME
        try:
            check_identity(path, state["identity"], self.identity)
            checked_text(state["hardware"], 500)
            restore_training(trainer, state["run"])
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            if is_lack_of_memory(error):
                raise
            name = type(error).__name__
            raise _foreign(path, f"{name}: {first_line(error)}") from error
        hardware = None
        for entry in trainer.progress.log:
            if entry["hardware"] != hardware:
                hardware = entry["hardware"]
                say(f"From the checkpoint, run on {hardware}:")
            say(entry["text"])
        if trainer.progress.epoch == self.identity["epochs"]:
            return
        say(
            f"Continuing from the checkpoint at epoch {trainer.progress.epoch + 1}, "
            f"batch {trainer.progress.batch}"
        )
        if state["hardware"] != trainer.hardware:
            say(
                f"It was run on {state['hardware']}: the images will be the same, but the weights "
                "will differ a little from those of a run on the same hardware throughout."
            )
