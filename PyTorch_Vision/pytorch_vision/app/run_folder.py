"""The folder of a run: its files, its manifest ``run.json``, and training into it."""

import contextlib
import hashlib
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytorch_vision import __version__
from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier, History
from pytorch_vision.runtime import Machine, atomic_write
from pytorch_vision.runtime.devices import describe_hardware, make_fabric
from pytorch_vision.runtime.files import RUN_MANIFEST, free_path, user_path
from pytorch_vision.runtime.processes import is_main_process
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import describe_os_error, first_line
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Custom, Loss
from pytorch_vision.training.fingerprint import describe_layers, describe_steps, identity
from pytorch_vision.training.fit import AfterEpoch, fit, is_yes
from pytorch_vision.training.optimizers import MakeOptimizer

STOPPED = "stopped early, as after_epoch asked for"
LARGEST_MANIFEST = 50_000_000  # bytes; with 1,000 classes it has 100 kB
LONGEST_NAME = 200  # bytes; file systems allow 255, and temporary names are longer
LIBRARIES = ("torchvision", "numpy", "albumentations", "lightning-fabric", "pillow")
SHORT_LIST = re.compile(r"[\[{]\n[^\[\]{}]{1,80}[\]}]")

Manifest = dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """A folder that a run writes into; ``RunFolder.prepare`` makes it.

    A folder is a run's if it holds ``run.json``, the run's manifest, and only then.

    Attributes:
        folder: its path.
    """

    folder: Path

    @classmethod
    def prepare(cls, folder: str | os.PathLike) -> "RunFolder":
        """Make the folder, and prove that a run can write its files there before it begins.

        Raises:
            OSError: it cannot.
        """
        run = cls(user_path(folder))
        run.plots.mkdir(parents=True, exist_ok=True)
        for place in (run.folder, run.plots):
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(b"proof")
        for path in (run.weights, run.history, run.page, run.manifest):
            if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
                raise OSError(f"{path} is in the way: it is not a file that can be replaced")
        return run

    @classmethod
    def check(cls, folder: str | os.PathLike) -> None:
        """Raise OSError where ``prepare`` would, without making anything."""
        folder = user_path(folder)
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise NotADirectoryError(f"cannot write to {folder}: {existing} is not a folder")
        if not os.access(existing, os.W_OK):
            raise PermissionError(f"cannot write to {folder}: {existing} is read-only")

    @property
    def plots(self) -> Path:
        """The folder of the pictures."""
        return self.folder / "plots"

    @property
    def weights(self) -> Path:
        """The trained classifier."""
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
    def manifest(self) -> Path:
        """What the run was made with, and what came out."""
        return self.folder / RUN_MANIFEST

    @property
    def unfinished(self) -> "RunFolder":
        """Where a run is written until it is finished."""
        return RunFolder(self.folder / "unfinished")

    def read(self) -> Manifest | None:
        """Return the manifest, or None where there is none.

        A damaged or foreign one is returned empty: the folder is a run's, of which nothing is
        known.

        Raises:
            OSError: it cannot be opened.
        """
        if not self.manifest.exists():
            return None
        if self.manifest.stat().st_size > LARGEST_MANIFEST:
            return {}
        try:
            found = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings in the manifest; empty where it does not say."""
        found = (self.read() or {}).get("settings")
        return found if isinstance(found, dict) else {}

    def describe(self, manifest: Manifest) -> None:
        """Write the manifest, whole or not at all; where that fails, print a line."""
        text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str)
        # one line for each short list: no text in it has a line break of its own
        text = SHORT_LIST.sub(lambda found: re.sub(r"\n\s*", " ", found[0]), text)
        try:
            with atomic_write(self.manifest) as file:
                file.write(f"{text}\n".encode(errors="backslashreplace"))
        except OSError as error:
            say(f"{self.manifest} is not written: {describe_os_error(error)}")

    def free_for(self, identity: str) -> "RunFolder":
        """Return this folder, or the first numbered one beside it that holds no other run.

        Beside ``runs/mine`` that is ``runs/mine-2``. A folder with weights but without a manifest
        holds another run.

        Args:
            identity: of the run that is to be written, as its manifest has it.
        """

        def is_free(folder: Path) -> bool:
            run = RunFolder(folder)
            return run._is_free_for(identity) and run.unfinished._is_free_for(identity)

        if is_free(self.folder):
            return self
        named = self.folder if self.folder.name not in ("", "..") else self.folder / "run"
        return RunFolder(free_path(named, is_free))

    def _is_free_for(self, identity: str) -> bool:
        found = self.read()
        return not self.weights.exists() if found is None else found.get("identity") == identity

    def write(self, classifier: Classifier) -> None:
        """Write the weights and the history.

        Raises:
            OSError: they cannot be written.
        """
        classifier.save(self.weights)
        classifier.history.to_csv(self.history)

    def remove(self) -> None:
        """Remove what a run has written here, and the folder, unless it holds something else.

        What cannot be removed stays.
        """
        for file in (self.weights, self.history, self.manifest):
            with contextlib.suppress(OSError):
                file.unlink()
        for folder in (self.plots, self.folder):
            with contextlib.suppress(OSError):  # missing, or not empty
                folder.rmdir()


Output = RunFolder  # its earlier name


def train_into(
    output: RunFolder,
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    machine: Machine | None = None,
    checkpoints: str | os.PathLike | None = None,
    after_epoch: AfterEpoch | None = None,
    loss: Loss | None = None,
    optimizer: MakeOptimizer | None = None,
    notes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> RunFolder:
    """Train a classifier, and write its weights, its history and its manifest into a folder.

    Where the folder holds another run, with other settings or other data, the run goes into the
    next free folder beside it, and a line says so. The same run, made again, replaces its own
    files once it is finished; until then, and after an interrupt, its files lie in ``unfinished``.

    Args:
        output: the folder, as ``RunFolder.prepare`` made it.
        classifier, data, config, machine, checkpoints, loss, optimizer: as for ``fit``. Without
            any epoch, the classifier is only tested, and nothing is written.
        after_epoch: as for ``fit``; a training that it ends early counts as finished.
        notes: more for the manifest; see ``describe_run``.
        overwrite: replace the files of another run.

    Returns:
        The folder that was written, which is its ``unfinished`` if the run was interrupted. After
        a mere test, a folder in which pictures of it replace no other run's.
    """
    machine = machine or Machine()
    manifest = describe_run(classifier, data, config, machine, Custom(loss, optimizer), notes)
    main = is_main_process()
    run = output if overwrite else output.free_for(manifest["identity"])
    if main and run != output:
        say(f"{output.folder} holds another run, which stays: this one goes to {run.folder}")
        run = RunFolder.prepare(run.folder)
    if config.epochs == 0:
        fit(classifier, data, config, machine, loss=loss, optimizer=optimizer)
        return run
    if main:
        _begin(run.unfinished, manifest)

    def keep_history(tested: Classifier) -> bool:
        """Write the history of the run that goes on, and ask the caller's ``after_epoch``."""
        try:
            tested.history.to_csv(run.unfinished.history)
        except OSError as error:
            say(f"The history is not kept in {run.unfinished.history}: {describe_os_error(error)}")
        wants_to_stop = after_epoch is not None and is_yes(after_epoch(tested))
        if wants_to_stop:
            manifest["status"] = STOPPED
        return wants_to_stop

    try:
        fit(classifier, data, config, machine, checkpoints, keep_history, loss, optimizer)
    except BaseException as error:
        if main:
            _fail(run.unfinished, manifest, error)
        raise
    return _end(run, classifier, config, machine, manifest) if main else run


def _begin(unfinished: RunFolder, manifest: Manifest) -> None:
    """Write the manifest of a run that begins, or goes on: then it keeps its start."""
    before = unfinished.read() or {}
    if before.get("identity") == manifest["identity"]:
        manifest["started"] = before.get("started", manifest["started"])
    else:  # another run's, which may be replaced
        unfinished.remove()
    unfinished.describe(manifest)


def _fail(unfinished: RunFolder, manifest: Manifest, error: BaseException) -> None:
    """Note how a run failed if an epoch of it is there; else leave nothing behind."""
    if unfinished.history.exists():
        unfinished.describe(manifest | {"status": f"failed: {first_line(error)}"})
    else:
        unfinished.remove()


def _end(
    run: RunFolder,
    classifier: Classifier,
    config: TrainConfig,
    machine: Machine,
    manifest: Manifest,
) -> RunFolder:
    """Write what was trained and what came out; return where."""
    status = manifest["status"]
    if status != STOPPED:
        whole = len(classifier.history.records) >= config.epochs
        status = "finished" if whole else "interrupted"
    written = run.unfinished if status == "interrupted" else run
    written.write(classifier)
    manifest["machine"]["device"] = describe_hardware(make_fabric(machine))
    ending = {"status": status, "ended": _now(), "figures": _figures(classifier.history)}
    written.describe(manifest | ending)
    if written is run:
        run.unfinished.remove()
    return written


def describe_run(
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    machine: Machine,
    custom: Custom | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Manifest:
    """Return the manifest of a run that is to begin: plain values, by name.

    Args:
        classifier, data, config, machine: as for ``fit``.
        custom: the caller's loss and optimizer.
        notes: more of it: the "command" that makes the same run, its "settings" beyond those of
            the recipe, the "sha256" of the weights that it "begins_with".
    """
    notes = dict(notes or {})
    begins_with = notes.pop("begins_with", None)
    known = identity(config, data, classifier) | (custom or Custom()).fingerprint()
    known["begins_with"] = begins_with and begins_with["sha256"]
    # sums on a CPU are rounded by how many threads share them
    on_cpu = machine.chosen_accelerator == "cpu"
    known["threads"] = torch.get_num_threads() if on_cpu else None
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    return {
        "command": notes.pop("command", None),
        "status": "running",
        "started": _now(),
        "ended": None,
        "identity": digest.hexdigest()[:32],
        "settings": _flat(config) | asdict(machine) | notes.pop("settings", {}),
        "data": _describe_data(data, known["data"]["fingerprint"]),
        "network": {
            "name": classifier.description,
            "made_by": getattr(classifier.network, "made_by", None),
            "layers": describe_layers(classifier.network),
            "begins_with": begins_with,
        },
        "images": {
            "size": list(classifier.size),
            "resize": classifier.resize,
            "mean": list(classifier.normalization.mean),
            "std": list(classifier.normalization.std),
        },
        "versions": _versions(),
        "machine": asdict(machine)
        | {"device": None, "threads": known["threads"], "system": platform.platform()},
        **notes,
        "figures": None,
    }


def _flat(config: TrainConfig) -> dict[str, Any]:
    """Return a recipe's settings in one flat dict, by the names of the command line."""
    settings = asdict(config)
    augmentation = settings.pop("augmentation")
    if (steps := augmentation.pop("steps")) is not None:
        augmentation["steps"] = describe_steps(steps)
    return settings | augmentation


def _describe_data(data: ImageData, fingerprint: str) -> dict[str, Any]:
    counts = [
        np.bincount(labels, minlength=len(data.class_names)).tolist()
        for labels in (data.train_labels, data.test_labels)
    ]
    return {
        "name": data.name,
        "training_images": len(data.train_labels),
        "test_images": len(data.test_labels),
        "fingerprint": fingerprint,
        "classes": [
            {"name": name, "training": train, "test": test}
            for name, train, test in zip(data.class_names, *counts, strict=True)
        ],
    }


def _versions() -> dict[str, str]:
    """Return the versions of this library, Python, and the libraries that numbers depend on."""
    found = {"pytorch_vision": __version__, "python": sys.version.split()[0]}
    found["torch"] = str(torch.__version__)  # with the device that it was built for
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # not installed by pip
            found[name] = metadata.version(name)
    return found


def _figures(history: History) -> dict[str, Any]:
    """Return the figures of the last epoch and the best one, and the seconds of all."""
    if not history.records:
        return {"epochs": 0}
    last = asdict(history.records[-1])
    best = max(history.records, key=lambda record: record.test_accuracy)
    return {
        "epochs": last.pop("epoch"),
        **{name: last[name] for name in last if not name.endswith("seconds")},
        "best_epoch": best.epoch,
        "best_test_accuracy": best.test_accuracy,
        "train_seconds": round(sum(history.column("train_seconds")), 3),
        "test_seconds": round(sum(history.column("test_seconds")), 3),
    }


def _now() -> str:
    """Return the time with its zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def short_name(name: str, ending: str = "") -> str:
    """Return a name for a file or a folder, cut to ``LONGEST_NAME`` bytes without its ending.

    File systems count bytes, and a Chinese character has three.
    """
    kept = name.encode(errors="backslashreplace")[:LONGEST_NAME]
    return kept.decode(errors="ignore") + ending
