"""A CIFAR-10 of sixty random images, in all the formats that the real one comes in."""

import hashlib
import io
import struct
import tarfile
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from pytorch_vision.data import formats, sources


def small_cifar10() -> tuple[sources.Arrays, dict[tuple[ModuleType, str], Any]]:
    """Return the arrays, and what must be set for the modules to take them for CIFAR-10."""
    random = np.random.default_rng(0)
    arrays = {
        "train_images": random.integers(0, 256, (50, 32, 32, 3), np.uint8),
        "train_labels": random.integers(0, 10, 50, np.uint8),
        "test_images": random.integers(0, 256, (10, 32, 32, 3), np.uint8),
        "test_labels": random.integers(0, 10, 10, np.uint8),
    }
    digests = {name: hashlib.sha256(a.tobytes()).hexdigest() for name, a in arrays.items()}
    known = {name: hashlib.md5(content).hexdigest() for name, content in batches(arrays).items()}
    return arrays, {
        (sources, "SHAPES"): {name: array.shape for name, array in arrays.items()},
        (sources, "SHA256"): digests,
        (sources, "MIRRORS"): (),
        (sources, "OFFICIAL"): "http://127.0.0.1:9/nobody-listens-here",
        (formats, "BATCH_MD5"): known,
        (formats, "NPM_ROWS"): 10,
    }


def python2_batch(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Write a batch opcode by opcode as Python 2 and its numpy did, which Python 3 cannot."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    data = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR("
    dtype += number(3) + text(b"|") + b"NNN" + number(-1) * 2 + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    array += number(0) + b"\x85" + text(b"b") + b"tR("
    array += number(1) + number(data.shape[0]) + number(data.shape[1]) + b"\x86"
    array += dtype + b"\x89" + text(data.tobytes()) + b"tb"
    label_list = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + label_list + b"u."


def batches(arrays: sources.Arrays) -> dict[str, bytes]:
    files = {"test_batch": python2_batch(arrays["test_images"], arrays["test_labels"])}
    for i in range(5):
        part = slice(10 * i, 10 * i + 10)
        files[f"data_batch_{i + 1}"] = python2_batch(
            arrays["train_images"][part], arrays["train_labels"][part]
        )
    return files


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def official(arrays: sources.Arrays) -> bytes:
    return archive({f"cifar-10-batches-py/{n}": c for n, c in batches(arrays).items()})


def npm_package(arrays: sources.Arrays) -> bytes:
    def png(images: np.ndarray) -> bytes:
        picture = io.BytesIO()
        Image.fromarray(images.reshape(len(images), 1024, 3)).save(picture, "png")
        return picture.getvalue()

    files = {f"package/data_batch_{i + 1}.png": b"" for i in range(5)}
    for i, name in enumerate(files):
        files[name] = png(arrays["train_images"][10 * i : 10 * i + 10])
    files["package/test_batch.png"] = png(arrays["test_images"])
    for part in ("train", "test"):
        labels = str(arrays[f"{part}_labels"].tolist()).encode()
        files[f"package/{part}_lables.json"] = labels
    return archive(files)
