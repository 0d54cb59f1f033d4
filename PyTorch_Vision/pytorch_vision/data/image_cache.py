"""Read many picture files on all cores into a file of pixels: a cache, or a temporary file.

The cache of a folder, at one size, is one file: the pixels of one image after another as plain
bytes, then a small index as npz, then the length of the index. The pixels are mapped into memory,
not loaded: the operating system reads the pages that are used, keeps as many as fit, and shares
them between processes.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageFile

from pytorch_vision import __version__
from pytorch_vision.data.image_files import (
    DIGEST_LENGTH,
    WHOLE,
    Picture,
    PictureError,
    Resize,
    Scales,
    decode_picture,
    formats_read,
    quiet,
)
from pytorch_vision.runtime.files import atomic_write, user_path
from pytorch_vision.runtime.terminal import Bar, say
from pytorch_vision.runtime.text import describe_os_error, printable

FACTS_LENGTH = 32  # characters
FILE = np.dtype(
    [
        ("facts", f"S{FACTS_LENGTH}"),  # hash of its path, size and times
        ("row", "i8"),  # its index among the images; -1: it could not be read
        ("size", "i4", 2),  # height and width in the file
        ("digest", f"U{DIGEST_LENGTH}"),
        ("remark", "U160"),
        ("kind", "U8"),  # the type of values of more than 8 bits, or empty
        ("value_range", "f8", 2),
        ("scale", "f8", 2),  # with which they were read
    ]
)
NAME, HASHED = "pictures-", 12  # the beginning of a cache file's name, and the digits after it
BATCH = 1 << 26  # bytes of images that are read or copied at once
LIMIT = 20.0  # gigabytes


@dataclass(frozen=True)
class Request:
    """Picture files to read, and how.

    Attributes:
        files: their paths.
        size, resize: to which size they are resized, and how, as in ``read_image``.
        name: the name of the pictures in messages and in the progress bar.
        scales: given scales for values of more than 8 bits, as in ``read_image``.
    """

    files: list[str]
    size: tuple[int, int]
    resize: Resize
    name: str
    scales: Scales = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A hash of everything that affects how files are read, except the files and the scales."""
        settings = [ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, WHOLE]
        pillow = [PIL.__version__, sorted(formats_read()), settings]
        reader = [__version__, str(FILE), pillow, self.size, self.resize]
        return hashlib.sha256(json.dumps(reader).encode()).hexdigest()

    def scales_for(self, table: np.ndarray) -> Scales:
        """Return a scale for each type of values in a table: the given one, or that of all values.

        The smallest value becomes black, as that of some cameras is far from 0.
        """
        scales = {}
        for kind in sorted({*table["kind"].tolist()} - {""}):
            own = table["value_range"][table["kind"] == kind]
            whole = float(own[:, 0].min()), float(own[:, 1].max())
            scales[kind] = self.scales.get(kind, whole)
        return scales


@dataclass(frozen=True)
class Decoded:
    """The images of some picture files.

    Attributes:
        request: which files, and how they were read.
        images: uint8 (N, H, W, 3), of the N readable files; mapped from a file.
        table: one entry of type ``FILE`` for each file.
        reasons: why each other file could not be read, in order, to follow its name.
        is_kept: whether the images come from the cache.
    """

    request: Request
    images: np.ndarray
    table: np.ndarray
    reasons: list[str]
    is_kept: bool = False

    @property
    def readable(self) -> np.ndarray:
        """Which files could be read, bool, one for each."""
        return self.table["row"] >= 0

    @property
    def pictures(self) -> np.ndarray:
        """The entries of the N readable files, in the order of the files."""
        return self.table[self.readable]

    @property
    def scales(self) -> Scales:
        """The scale of each type of values of more than 8 bits, as in ``read_image``."""
        rows = zip(self.table["kind"].tolist(), self.table["scale"].tolist(), strict=True)
        return {kind: (black, white) for kind, (black, white) in rows if kind}


def decode_files(request: Request, cache: Path | None = None) -> Decoded:
    """Read picture files, or map their cache; only files that have changed are read again.

    Values of more than 8 bits are scaled alike in all files, by a scale that spans all of them.

    Args:
        request: the files, and how to read them.
        cache: the file that an earlier call of ``arranged`` may have written.

    Raises:
        OSError: the disk has no room for the images.
    """
    facts = np.array([_facts(file) for file in request.files], FILE["facts"])
    old = None if cache is None else _mapped(cache, request)
    if cache is None or old is None or not _is_current(old, facts):
        images = _temporary(len(request.files), request.size, cache)
        return _decode(request, facts, images, old)
    say(f"Read from {printable(str(cache))}, as no file has changed since")
    with contextlib.suppress(OSError):
        os.utime(cache, ns=(time.time_ns(),) * 2)  # its last use; by default, as coarse as 10 ms
    return old


def arranged(
    decoded: Decoded, order: np.ndarray, cache: Path | None = None, limit: float = LIMIT
) -> np.ndarray:
    """Return the images in another order, and write them into the cache in that order.

    Args:
        decoded: what ``decode_files`` returned.
        order: a permutation of 0..N-1: the k-th image becomes that of the ``order[k]``-th readable
            file.
        cache: the cache file, or None. If it cannot be written, a printed line says so.
        limit: gigabytes that all caches in its folder may take; the least recently used are deleted
            first.
    """
    rows, request = decoded.pictures["row"][order], decoded.request
    in_order = np.array_equal(rows, np.arange(len(rows)))
    if in_order and (decoded.is_kept or cache is None):
        return decoded.images
    table = decoded.table.copy()
    table["row"][np.flatnonzero(decoded.readable)[order]] = np.arange(len(rows))
    if cache is not None:
        try:
            with atomic_write(cache) as file:
                for chunk in _chunks(len(rows), request.size):
                    file.write(decoded.images[rows[chunk]].tobytes())
                index = io.BytesIO()
                reasons = np.array(decoded.reasons, str)
                np.savez(index, key=request.key, table=table, reasons=reasons)
                file.write(index.getvalue() + len(index.getvalue()).to_bytes(8, "little"))
            _keep_within(cache, limit)
            if (kept := _mapped(cache, request)) is not None:
                return kept.images
        except OSError as error:
            reason = describe_os_error(error)
            say(f"The pictures cannot be cached in {printable(str(cache))}: {reason}")
    return rows_of(decoded.images, rows)


def empty_cache(root: str | os.PathLike) -> int:
    """Delete the picture caches in a folder, and return the number of bytes freed."""
    kept = _kept_files(user_path(root))
    for path in kept:
        path.unlink()
    return sum(kept.values())


def cache_path(root: str | os.PathLike, folder: Path, size: tuple[int, int], resize: str) -> Path:
    """Return the path of the cache, in ``root``, of a folder's pictures at one size."""
    text = json.dumps([os.path.realpath(folder), size, resize])
    return Path(root) / f"{NAME}{hashlib.sha256(text.encode()).hexdigest()[:HASHED]}.kept"


def rows_of(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return images by index; those that are mapped from a file stay so, in a temporary one.

    Raises:
        OSError: the disk has no room for them.
    """
    source: Any = images
    while source is not None and not isinstance(source, np.memmap):
        source = getattr(source, "base", None)
    if source is None:
        return images[rows]
    height, width = images.shape[1:3]
    beside = Path(source.filename) if source.filename else None
    kept = _temporary(len(rows), (height, width), beside)
    for chunk in _chunks(len(rows), (height, width)):
        kept[chunk] = images[rows[chunk]]
    return kept


def _chunks(count: int, size: tuple[int, int]) -> list[slice]:
    """Divide ``count`` images into chunks that are read or copied at once."""
    step = max(BATCH // (3 * math.prod(size)), 1)
    return [slice(start, start + step) for start in range(0, count, step)]


def _temporary(count: int, size: tuple[int, int], cache: Path | None) -> np.ndarray:
    """Return an array for images in a temporary file, in the cache's folder if possible.

    The file has no name, and disappears with the array.

    Raises:
        OSError: the disk has no room for the images.
    """
    shape = (count, *size, 3)
    if not count:
        return np.empty(shape, np.uint8)
    folders = [*([cache.parent] if cache else []), Path(tempfile.gettempdir())]
    problem = ""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process later
                    os.posix_fallocate(file.fileno(), 0, math.prod(shape))
                return np.asarray(np.memmap(file, np.uint8, "w+", shape=shape))
        except OSError as error:
            problem = f"{folder}: {error.strerror}"
    raise OSError(
        f"the images need {math.prod(shape) / 1e6:,.1f} MB of disk ({problem}): choose another "
        "folder (cache=, --root), or smaller images"
    )


def _decode(
    request: Request, facts: np.ndarray, images: np.ndarray, old: Decoded | None
) -> Decoded:
    """Read files on all cores, but copy unchanged ones from an earlier cache.

    Fills ``images``, uint8 (N, H, W, 3), from the start. Pictures with values of more than 8 bits
    are read twice, unless the scale of all pictures is their own.
    """
    files, table, reasons, row = request.files, np.zeros(len(facts), FILE), list[str](), 0
    table["facts"], table["row"] = facts, -1
    known = {one["facts"]: one for one in (old.pictures if old is not None else ())}
    new = [file for file, fact in zip(files, facts.tolist(), strict=True) if fact not in known]
    with (
        Bar(total=len(new), desc=request.name, unit=" files", mininterval=0.5) as bar,
        contextlib.closing(read_all(new, request)) as read,
    ):
        for number, fact in enumerate(facts.tolist()):
            if old is not None and fact in known:
                table[number] = known[fact]
                images[row] = old.images[known[fact]["row"]]
            else:
                found = next(read)
                bar.update()
                if isinstance(found, OSError):
                    reasons.append(f"cannot be opened ({found.strerror or found})")
                    continue
                if isinstance(found, PictureError):
                    reasons.append(printable(found.reason))
                    continue
                images[row] = found.image
                for name in ("size", "digest", "remark", "kind", "value_range", "scale"):
                    table[name][number] = getattr(found, name)
            table["row"][number] = row
            row += 1
    scales = request.scales_for(table)
    again = [
        number
        for number in np.flatnonzero(table["kind"] != "").tolist()
        if tuple(table["scale"][number]) != scales[table["kind"][number]]
    ]
    read_again = read_all([files[number] for number in again], request, scales)
    for number, found in zip(again, read_again, strict=True):
        if isinstance(found, Exception):
            raise found
        table["scale"][number] = found.scale
        images[table["row"][number]] = found.image
    return Decoded(request, images[:row], table, reasons)


def read_all(
    files: list[str], request: Request, scales: Scales | None = None
) -> Generator[Picture | PictureError | OSError, None, None]:
    """Read files on all cores; yield each picture in order, or the error that it raised.

    Values of more than 8 bits are scaled by ``scales``; default: the request's.
    """
    scales = request.scales if scales is None else scales

    def read(file: str) -> Picture | PictureError | OSError:
        try:
            return decode_picture(file, request.size, request.resize, scales)
        except (PictureError, OSError) as error:
            return error

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with quiet(), ThreadPoolExecutor(cores) as pool:
        for chunk in _chunks(len(files), request.size):
            yield from pool.map(read, files[chunk])


def _facts(file: str) -> bytes:
    """Return a hash of a file's path, size and times, which shows whether it has changed."""
    facts: list[object] = [os.path.abspath(file)]
    with contextlib.suppress(OSError):  # reading it will say why
        status = os.stat(file)
        # on POSIX, ctime is that of the last change, which no program can set
        facts += [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:FACTS_LENGTH].encode()


def _is_current(old: Decoded, facts: np.ndarray) -> bool:
    """Return whether reading the files again would give the same result.

    True if no file and no scale has changed, and unreadable files still cannot be read.
    """
    request = old.request
    if not np.array_equal(facts, old.table["facts"]) or old.scales != request.scales_for(old.table):
        return False
    failed = [request.files[number] for number in np.flatnonzero(~old.readable)]
    return all(isinstance(one, Exception) for one in read_all(failed, request))


def _mapped(cache: Path, request: Request) -> Decoded | None:
    """Map a cache; return None if there is none, it was read in another way, or it is damaged."""
    try:
        with open(cache, "rb") as file:
            end = file.seek(-8, os.SEEK_END)
            length = int.from_bytes(file.read(8), "little")
            pixels = file.seek(end - length)
            with np.load(io.BytesIO(file.read(length)), allow_pickle=False) as index:
                key, table, reasons = (index[name] for name in ("key", "table", "reasons"))
        shape = (int((table["row"] >= 0).sum()), *request.size, 3)
        if str(key) != request.key or pixels != math.prod(shape):
            return None
        images = (
            np.memmap(cache, np.uint8, "r", shape=shape) if pixels else np.empty(shape, np.uint8)
        )
    except Exception:  # a damaged cache is written again
        return None
    return Decoded(request, np.asarray(images), table, reasons.tolist(), is_kept=True)


def _kept_files(root: Path) -> dict[Path, int]:
    """Return the caches in a folder with their sizes in bytes, the last used last."""
    found = root.glob(f"{NAME}{'[0-9a-f]' * HASHED}.kept")
    status = {path: path.stat() for path in found if path.is_file()}
    by_use = sorted(status, key=lambda path: status[path].st_mtime_ns)
    return {path: status[path].st_size for path in by_use}


def _keep_within(cache: Path, limit: float) -> None:
    """Print how large a folder's caches are; delete the least recently used beyond the limit."""
    sizes, deleted = _kept_files(cache.parent), 0
    own, total = sizes.get(cache, 0), sum(sizes.values())
    for path, size in sizes.items():
        if total > limit * 1e9 and path != cache:
            path.unlink(missing_ok=True)
            total, deleted = total - size, deleted + size
    more = f"; deleted the least recently used, {deleted / 1e6:,.1f} MB" if deleted else ""
    say(
        f"Cached in {printable(str(cache))}: {own / 1e6:,.1f} MB, of {total / 1e6:,.1f} MB in all "
        f"caches there{more}"
    )
