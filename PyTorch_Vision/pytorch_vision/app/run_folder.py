"""The folder of a run: its files, its manifest ``run.json``, and training into it."""

import contextlib
import hashlib
import importlib
import json
import math
import os
import platform
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from pytorch_vision import __version__
from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier, History
from pytorch_vision.models.registry import made_by_of
from pytorch_vision.runtime import Machine, atomic_write
from pytorch_vision.runtime.devices import describe_hardware, make_fabric
from pytorch_vision.runtime.files import RUN_MANIFEST, check_writable, free_path, user_path
from pytorch_vision.runtime.processes import is_main_process
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import describe_os_error, first_line
from pytorch_vision.training.checkpoint import load
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Custom, Loss
from pytorch_vision.training.fingerprint import identity
from pytorch_vision.training.fit import AfterEpoch, fit, is_yes
from pytorch_vision.training.optimizers import MakeOptimizer

# the status of a run, besides that of one that failed; "stopped" is one that after_epoch ended
RUNNING, FINISHED, STOPPED, INTERRUPTED = "running", "finished", "stopped", "interrupted"
LONGEST_NAME = 200  # bytes; file systems allow 255, and temporary names are longer
LIBRARIES = ("torch", "torchvision", "numpy", "albumentations", "lightning_fabric", "PIL")
# what may differ between runs of several seeds, and may not between those of one
NOT_OF_SEEDS = {"seed", "threads", "history"}
SHORT_LIST = re.compile(r"[\[{]\n[^\[\]{}]{1,80}[\]}]")

Manifest = dict[str, Any]


def _inside(name: str, what: str) -> Any:
    """Return a property of a folder: the path of a file or a folder inside."""
    return property(lambda run: run.folder / name, doc=what)


@dataclass(frozen=True)
class RunFolder:
    """The folder that a run writes into; ``RunFolder.prepare`` creates it.

    A folder belongs to a run if, and only if, it holds ``run.json``, the run's manifest.

    Attributes:
        folder: its path.
    """

    folder: Path

    weights = _inside("weights.safetensors", "The trained classifier.")
    manifest = _inside(RUN_MANIFEST, "The run's settings, data and results.")
    plots = _inside("plots", "The folder of the plots.")
    history = _inside("plots/history.csv", "The table of epochs.")
    explained = _inside("explained", "The plots of a trained run that are drawn later.")
    page = _inside("errors.html", "The page of errors.")
    training_page = _inside("training_errors.html", "The page of errors on the training images.")
    metrics = _inside("metrics.csv", "The metrics of each class.")
    test_predictions = _inside("test_predictions.csv", "The predicted class of each test image.")
    predictions = _inside("predictions.csv", "The predicted classes of new pictures.")
    submission = _inside("submission.csv", "These in the form of a sample submission.")
    duplicates = _inside("duplicates.csv", "Images of the data that are there twice.")
    onnx = _inside("model.onnx", "The classifier, for programs without PyTorch.")
    comparison = _inside("comparison.csv", "The table of several runs.")

    @classmethod
    def prepare(cls, folder: str | os.PathLike) -> "RunFolder":
        """Create the folder, and check before the run begins that its files can be written there.

        Raises:
            OSError: they cannot.
        """
        run = cls(user_path(folder))
        for place in (run.folder, run.plots):
            check_writable(place)
        run.plots.mkdir(parents=True, exist_ok=True)
        for path in (run.weights, run.history, run.page, run.manifest):
            if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
                raise OSError(f"{path} cannot be replaced, because it is not a writable file")
        return run

    def gradcam(self, picture: Path) -> Path:
        """Return the path of the plot that explains a picture."""
        return self.plots / f"{short_name(picture.stem)}_gradcam.png"

    @property
    def unfinished(self) -> "RunFolder":
        """The folder of a run that is not finished yet."""
        return RunFolder(self.folder / "unfinished")

    def read(self) -> Manifest | None:
        """Return the manifest: None if there is no such file, empty if its content is damaged.

        Raises:
            OSError: the file cannot be opened.
        """
        if not self.manifest.exists():
            return None
        try:
            found = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings in the manifest; empty if it has none."""
        found = (self.read() or {}).get("settings")
        return found if isinstance(found, dict) else {}

    def describe(self, manifest: Manifest) -> None:
        """Write the manifest atomically; print a line if that fails."""
        text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str)
        # each short list on one line; JSON escapes line breaks inside texts
        text = SHORT_LIST.sub(lambda found: re.sub(r"\n\s*", " ", found[0]), text)
        try:
            with atomic_write(self.manifest) as file:
                file.write(f"{text}\n".encode(errors="backslashreplace"))
        except OSError as error:
            say(f"{self.manifest} could not be written: {describe_os_error(error)}")

    def free_for(self, identity: str) -> "RunFolder":
        """Return this folder, or the first of ``mine-2``, ``mine-3``, … that holds no other run.

        The identity is that in a manifest. A folder with weights but without a manifest holds
        another run.
        """

        def is_free(folder: Path) -> bool:
            run = RunFolder(folder)
            return all(one._is_free_for(identity) for one in (run, run.unfinished))

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

    def keep(self, figure: Figure, name: str) -> Figure:
        """Save a figure among the plots, as NAME.png, and return it."""
        self.plots.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.plots / f"{name}.png")
        return figure

    def remove(self) -> None:
        """Remove the files of a run, and the folders if nothing else is in them."""
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

    If the folder holds another run, with other settings or other data, the run goes into the next
    free folder beside it, and a line says so. The same run, repeated, replaces its own files once
    it is finished; until then, and after an interrupt, its files are in ``unfinished``.

    Args:
        output: the folder, as ``RunFolder.prepare`` created it.
        classifier, data, config, machine, checkpoints, loss, optimizer: as for ``fit``. With 0
            epochs, the classifier is only tested, and nothing is written.
        after_epoch: as for ``fit``; a training that it ends early counts as finished.
        notes: further entries of the manifest; see ``describe_run``.
        overwrite: replace the files of another run.

    Returns:
        The folder that was written; its ``unfinished`` if the run was interrupted. With 0 epochs,
        a folder where plots of the test replace no other run's.
    """
    machine = machine or Machine()
    before = _epochs_before(classifier, checkpoints)
    custom, main = Custom(loss, optimizer), is_main_process()
    manifest = describe_run(classifier, data, config, machine, custom, notes, before)
    run = output if overwrite else output.free_for(manifest["identity"])
    if main and run != output:
        say(f"{output.folder} holds another run, which is kept: this one goes to {run.folder}")
        run = RunFolder.prepare(run.folder)
    if config.epochs == 0:
        fit(classifier, data, config, machine, loss=loss, optimizer=optimizer)
        return run
    if main:
        _begin(run.unfinished, manifest)

    def keep_history(tested: Classifier) -> bool:
        """Write the history so far, and ask the caller's ``after_epoch`` whether to stop."""
        try:
            tested.history.to_csv(run.unfinished.history)
        except OSError as error:
            path, reason = run.unfinished.history, describe_os_error(error)
            say(f"The history so far could not be written to {path}: {reason}")
        if after_epoch is not None and is_yes(after_epoch(tested)):
            manifest["status"] = STOPPED
        return manifest["status"] == STOPPED

    try:
        fit(classifier, data, config, machine, checkpoints, keep_history, loss, optimizer)
    except BaseException as error:
        if main:
            _fail(run.unfinished, manifest, error)
        raise
    if not main:
        return run
    if manifest["status"] != STOPPED:
        whole = len(classifier.history.records) >= before + config.epochs
        manifest["status"] = FINISHED if whole else INTERRUPTED
    return _end(run, classifier, machine, manifest)


def _epochs_before(classifier: Classifier, checkpoints: str | os.PathLike | None) -> int:
    """Return for how many epochs a classifier was trained before a run, which may be continued."""
    state = None if checkpoints is None else load(checkpoints)
    if state is None:
        return len(classifier.history.records)
    with contextlib.suppress(KeyError, TypeError):  # another's file, which ``fit`` refuses
        progress = state["run"]["progress"]
        return len(progress["history"]["records"]) - progress["epoch"]
    return 0


def _begin(unfinished: RunFolder, manifest: Manifest) -> None:
    """Write the manifest of a run that begins; a continued run keeps the time of its start."""
    before = unfinished.read() or {}
    if before.get("identity") == manifest["identity"]:
        manifest["started"] = before.get("started", manifest["started"])
    else:  # another run's, which may be replaced
        unfinished.remove()
    unfinished.describe(manifest)


def _fail(unfinished: RunFolder, manifest: Manifest, error: BaseException) -> None:
    """Record why a run failed if it completed an epoch; otherwise remove its files."""
    if unfinished.history.exists():
        unfinished.describe(manifest | {"status": f"failed: {first_line(error)}"})
    else:
        unfinished.remove()


def _end(run: RunFolder, classifier: Classifier, machine: Machine, manifest: Manifest) -> RunFolder:
    """Write the trained classifier and the completed manifest; return the folder.

    Raises:
        OSError: they cannot be written; the message says where the weights are instead.
    """
    written = run.unfinished if manifest["status"] == INTERRUPTED else run
    try:
        written.write(classifier)
    except OSError as error:  # such as a disk that is full by now
        rescued = Path(tempfile.mkdtemp(prefix="pytorch-vision-")) / run.weights.name
        classifier.save(rescued)
        raise OSError(f"{describe_os_error(error)}; the weights are in {rescued}") from error
    manifest["machine"]["device"] = describe_hardware(make_fabric(machine))
    results = results_of(classifier.history)
    # JSON has no NaN, the test's results without test images
    figures = {name: None if math.isnan(value) else value for name, value in results.items()}
    written.describe(manifest | {"ended": _now(), "figures": figures})
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
    epochs_before: int = 0,
) -> Manifest:
    """Return the manifest of a run that is about to begin: plain values, by name.

    Args:
        classifier, data, config, machine: as for ``fit``.
        custom: the caller's loss and optimizer.
        notes: further entries: the "command" that makes the same run, "settings" that are not in
            the recipe, and the file and "sha256" of the weights that it "begins_with".
        epochs_before: how many epochs of the classifier's history were before this run.
    """
    notes = dict(notes or {})
    begins_with = notes.pop("begins_with", None)
    # on a CPU, the number of threads decides how sums are rounded
    threads = torch.get_num_threads() if machine.chosen_accelerator == "cpu" else None
    known = identity(config, data, classifier)
    recipe = {one.name: known[one.name] for one in fields(config)}
    augmentation = {k: v for k, v in recipe.pop("augmentation").items() if v is not None}
    known |= (custom or Custom()).fingerprint()
    # in earlier manifests, begins_with is in the identity even if it is None
    known = {"begins_with": None} | known | {"threads": threads}
    if earlier := classifier.history.records[:epochs_before]:
        known["history"] = str(earlier)
    counts = [of_split.tolist() for of_split in data.class_counts]
    of_seeds = {name: value for name, value in known.items() if name not in NOT_OF_SEEDS}
    return {
        "command": notes.pop("command", None),
        "status": RUNNING,
        "started": _now(),
        "ended": None,
        "identity": _digest(known),
        "identity_over_seeds": _digest(of_seeds),
        "settings": recipe | augmentation | asdict(machine) | notes.pop("settings", {}),
        "data": {
            "name": data.name,
            "training_images": len(data.train_labels),
            "test_images": len(data.test_labels),
            "fingerprint": known["data"]["fingerprint"],
            "classes": [
                {"name": name, "training": train, "test": test}
                for name, train, test in zip(data.class_names, *counts, strict=True)
            ],
        },
        "network": {
            "name": classifier.description,
            "made_by": made_by_of(classifier.network),
            "layers": known["network"],
            "begins_with": begins_with,
        },
        "images": {"size": classifier.size, "resize": classifier.resize}
        | asdict(classifier.normalization),
        "versions": {"pytorch_vision": __version__, "python": platform.python_version()}
        | {name: str(importlib.import_module(name).__version__) for name in LIBRARIES},
        "machine": asdict(machine)
        | {"device": None, "threads": threads, "system": platform.platform()},
        **notes,
        "figures": None,
    }


def _digest(known: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:32]


def results_of(history: History) -> dict[str, float]:
    """Return the results of the last and the best epoch, and the seconds of all epochs.

    Without test images, those of the test are NaN; without an epoch, there is only "epochs", 0.
    """
    if not history.records:
        return {"epochs": 0}
    last = asdict(history.records[-1])
    best = history.best
    return {
        "epochs": last.pop("epoch"),
        **{name: last[name] for name in last if not name.endswith("seconds")},
        "best_epoch": math.nan if math.isnan(best.test_accuracy) else best.epoch,
        "best_test_accuracy": best.test_accuracy,
        "train_seconds": round(sum(history.column("train_seconds")), 3),
        "test_seconds": round(sum(history.column("test_seconds")), 3),
    }


def _now() -> str:
    """Return the time with its zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def short_name(name: str) -> str:
    """Return a file name, cut to ``LONGEST_NAME`` bytes: a Chinese character has three."""
    return name.encode(errors="backslashreplace")[:LONGEST_NAME].decode(errors="ignore")
