"""``run.json``: all that a run was made with and what came out, for a person and for a program."""

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
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
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.fingerprint import describe_layers, describe_steps, identity

NAME = "run.json"
LARGEST = 50_000_000  # bytes; one of 1,000 classes has 100 kB
LIBRARIES = ("torchvision", "numpy", "albumentations", "lightning-fabric", "pillow")

SHORT = re.compile(r"[\[{]\n[^\[\]{}]{1,80}[\]}]")
Manifest = dict[str, Any]


def describe_run(
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    machine: Machine,
    notes: Mapping[str, Any] | None = None,
) -> Manifest:
    """Return what a run is made with, before it begins: plain values, by name.

    Args:
        classifier, data, config, machine: as for ``fit``.
        notes: more of it: the "command" that makes the same run, its "settings" beyond those of
            the recipe, the "sha256" of the weights that it "begins_with".
    """
    notes = dict(notes or {})
    begins_with = notes.pop("begins_with", None)
    known = identity(config, data, classifier)
    known["begins_with"] = begins_with and begins_with["sha256"]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    settings = flat(config) | asdict(machine) | notes.pop("settings", {})
    return {
        "command": notes.pop("command", None),
        "status": "running",
        "started": now(),
        "ended": None,
        "identity": digest.hexdigest()[:32],
        "settings": settings,
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
        "versions": versions(),
        "machine": asdict(machine) | {"device": None, "system": platform.platform()},
        **notes,
        "figures": None,
    }


def flat(config: TrainConfig) -> dict[str, Any]:
    """Return a recipe as one list of settings by name, as the command line has them."""
    settings = asdict(config)
    augmentation = settings.pop("augmentation")
    if (steps := augmentation.pop("steps")) is not None:
        augmentation["steps"] = describe_steps(steps)
    return settings | augmentation


def _describe_data(data: ImageData, fingerprint: str) -> dict[str, Any]:
    counts = {
        part: np.bincount(labels, minlength=len(data.class_names)).tolist()
        for part, labels in {"train": data.train_labels, "test": data.test_labels}.items()
    }
    return {
        "name": data.name,
        "training_images": len(data.train_labels),
        "test_images": len(data.test_labels),
        "fingerprint": fingerprint,
        "classes": {
            name: {"training": train, "test": test}
            for name, train, test in zip(data.class_names, *counts.values(), strict=True)
        },
    }


def versions() -> dict[str, str]:
    """Return the versions of this library, of Python and of what numbers can depend on."""
    found = {"pytorch_vision": __version__, "python": sys.version.split()[0]}
    found["torch"] = str(torch.__version__)  # with what it was built for
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # installed in some other way
            continue
    return found


def figures(history: History) -> dict[str, Any]:
    """Return what a training came to: its last epoch, its best one, and its seconds."""
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


def now() -> str:
    """Return the time as a person reads it, with its zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def read(folder: str | os.PathLike) -> Manifest | None:
    """Return a folder's manifest, or None where there is none.

    One that cannot be read, or that somebody else made, is empty: it belongs to no run of ours.

    Raises:
        OSError: it cannot be opened.
    """
    path = Path(folder) / NAME
    if not path.exists():
        return None
    if path.stat().st_size > LARGEST:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: str | os.PathLike, manifest: Manifest) -> None:
    """Write a folder's manifest, whole or not at all.

    Raises:
        OSError: it cannot be written; the one before is untouched.
    """
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str)
    # a line for what is short; no text in it has a line's end of its own
    text = SHORT.sub(lambda found: re.sub(r"\n\s*", " ", found[0]), text)
    with atomic_write(Path(folder) / NAME) as file:
        file.write(f"{text}\n".encode(errors="backslashreplace"))
