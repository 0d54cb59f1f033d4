"""The file formats that CIFAR-10 comes in, each decoded to the same four arrays.

A foreign file is read without running anything that it names, and nothing is unpacked on disk.
"""

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Arrays = dict[str, np.ndarray]

LAYOUT_NAME = "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
NPM_ROWS = 10_000  # images in each picture of the npm package
LARGEST_MEMBER = 64_000_000  # bytes; the largest file inside a genuine archive has 31 MB


def read_layout(folder: Path) -> Arrays:
    """Decode the unpacked official archive, the layout that torchvision keeps."""
    return _assembled(lambda name: (folder / name).read_bytes())


def read_archive(path: Path) -> Arrays:
    """Decode the official archive, ``cifar-10-python.tar.gz``."""
    with tarfile.open(path, "r:gz") as tar:
        members = _members(tar, {*TRAIN_BATCHES, TEST_BATCH})
    return _assembled(lambda name: members[name])


def _members(tar: tarfile.TarFile, names: set[str]) -> dict[str, bytes]:
    """Read the named regular files into memory; nothing is unpacked on disk."""
    members = {}
    for member in tar:
        name = Path(member.name).name
        if name in names and member.isfile():
            if member.size > LARGEST_MEMBER:
                raise ValueError(f"{member.name} is too large: {member.size:,} bytes")
            members[name] = tar.extractfile(member).read()
    if missing := sorted(names - members.keys()):
        raise ValueError(f"the archive lacks {', '.join(missing)}")
    return members


def _assembled(read: Callable[[str], bytes]) -> Arrays:
    """Put the official batches together: CHW rows of 3072 bytes become HWC images."""

    def decode(name: str) -> tuple[np.ndarray, np.ndarray]:
        batch = _BatchUnpickler(io.BytesIO(read(name)), encoding="bytes").load()
        images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        return images.transpose(0, 2, 3, 1), np.asarray(batch[b"labels"], dtype=np.uint8)

    images, labels = zip(*map(decode, TRAIN_BATCHES), strict=True)
    test_images, test_labels = decode(TEST_BATCH)
    return {
        "train_images": np.concatenate(images),
        "train_labels": np.concatenate(labels),
        "test_images": np.ascontiguousarray(test_images),
        "test_labels": test_labels,
    }


class _BatchUnpickler(pickle.Unpickler):
    """Reads dictionaries of plain values and numpy arrays, which is all a CIFAR-10 batch holds.

    A pickle runs whatever callable it names; this one knows only the three that build an array.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return np.empty(0).__reduce__()[0]
        elif module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"refused to run {module}.{name}")


def read_npm(path: Path) -> Arrays:
    """Decode the npm package: PNG files of 1024 x 10000 pixels, one CIFAR-10 image a row."""
    labels = {"train_labels": "train_lables.json", "test_labels": "test_lables.json"}  # sic
    pictures = [f"{name}.png" for name in (*TRAIN_BATCHES, TEST_BATCH)]
    with tarfile.open(path, "r:gz") as tar:
        members = _members(tar, {*pictures, *labels.values()})

    def decode(name: str) -> np.ndarray:
        with Image.open(io.BytesIO(members[name])) as picture:
            if picture.size != (1024, NPM_ROWS):
                raise ValueError(f"{name} has {picture.size} pixels, expected (1024, {NPM_ROWS})")
            return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)

    return {
        "train_images": np.concatenate([decode(name) for name in pictures[:-1]]),
        "test_images": decode(pictures[-1]),
        **{
            array: np.asarray(json.loads(members[name]), dtype=np.uint8)
            for array, name in labels.items()
        },
    }
