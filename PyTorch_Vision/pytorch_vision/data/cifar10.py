"""CIFAR-10: all of it, or the sample that is bundled with the package."""

import json
import os
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image

from pytorch_vision.data.images import ImageData, fingerprint
from pytorch_vision.data.sources import DataError, fetch_cifar10

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

# what ``fingerprint`` returns for the bundled sample
SAMPLE_SHA256 = "096c3ed0ad10ea54b2b0c4389985f757075cd8daa9917199db1f0bc9bf30cb34"


def load_cifar10(root: str | os.PathLike = "data") -> ImageData:
    """Return CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels in ten classes.

    Downloads about 140 to 170 MB the first time and keeps them under ``root``; every array is
    checked against its SHA-256 (``sources.fetch_cifar10`` says where from and in what order).

    Raises:
        DataError: no source served, or a local copy is damaged.
    """
    arrays = fetch_cifar10(root)
    return ImageData(
        train_images=arrays["train_images"],
        train_labels=arrays["train_labels"].astype(np.int64),
        test_images=arrays["test_images"],
        test_labels=arrays["test_labels"].astype(np.int64),
        class_names=CIFAR10_CLASSES,
        name="CIFAR-10, 50,000 images",
    )


def load_sample() -> ImageData:
    """Return the bundled sample: 1,000 training and 500 test images of CIFAR-10, class-balanced.

    They are inside the package, so nothing is downloaded; ``make_sample.py`` made them.

    Raises:
        DataError: a file of it is damaged.
    """
    folder = resources.files("pytorch_vision.data") / "sample"
    try:
        sample = _read_sample(folder)
        if fingerprint(sample) != SAMPLE_SHA256:
            raise ValueError("its checksum does not fit")
    except Exception as error:  # a damaged file can fail anywhere inside its reader
        raise DataError(
            f"{folder} is damaged ({error}); install or clone PyTorch_Vision again"
        ) from error
    return sample


def _read_sample(folder: Any) -> ImageData:
    labels = json.loads((folder / "labels.json").read_text())
    arrays: dict[str, Any] = {}
    for part in ("train", "test"):
        with (folder / f"{part}.png").open("rb") as file, Image.open(file) as picture:
            arrays[f"{part}_images"] = untile(np.asarray(picture))
        arrays[f"{part}_labels"] = np.array(labels[part]["labels"], dtype=np.int64)
    name = "bundled sample, 1,000 images"
    return ImageData(class_names=CIFAR10_CLASSES, name=name, **arrays)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay uint8 (N, 32, 32, 3) images out in rows as one picture; N must fill the last row."""
    rows = images.reshape(-1, columns, 32, 32, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(len(rows) * 32, columns * 32, 3)


def untile(picture: np.ndarray) -> np.ndarray:
    """Undo ``tile``: uint8 (rows * 32, columns * 32, 3) becomes (rows * columns, 32, 32, 3)."""
    rows, columns = picture.shape[0] // 32, picture.shape[1] // 32
    tiles = picture.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiles.reshape(-1, 32, 32, 3))
