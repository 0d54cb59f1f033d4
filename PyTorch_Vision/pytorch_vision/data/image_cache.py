"""Read many picture files on all cores, and keep what was read, to be mapped the next time.

What is kept of a folder, at one size, is one file: the pixels of one image after another as plain
bytes, then a small index as npz, then the length of the index. The pixels are mapped into memory
and not loaded: the operating system reads what is asked for, keeps what it has room for, and lets
all processes share it.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import PIL
from PIL import Image, ImageFile, features

from pytorch_vision import __version__
from pytorch_vision.data.image_files import (
    DIGEST_LENGTH,
    Picture,
    Resize,
    Scales,
    decode_picture,
    formats_read,
)
from pytorch_vision.runtime.devices import available_memory
from pytorch_vision.runtime.files import atomic_write, user_path
from pytorch_vision.runtime.terminal import Bar, say
from pytorch_vision.runtime.text import printable

FILE = np.dtype(
    [
        ("facts", "S32"),  # hash of its path, size and times
        ("row", "i8"),  # its place among the images; -1: it could not be read
        ("size", "i4", 2),  # height and width in the file
        ("digest", f"U{DIGEST_LENGTH}"),
        ("one_colour", "?"),
        ("remark", "U100"),
        ("kind", "U8"),  # the type of values of more than 8 bits, or empty
        ("own_scale", "f8", 2),
        ("scale", "f8", 2),  # by which they were read
    ]
)
LIBRARIES = ("jpg", "libjpeg_turbo", "jpg_2000", "zlib", "libtiff", "webp", "avif", "littlecms2")
NAME = "pictures-"  # begins the names of the files that keep pictures
BATCH = 1 << 26  # bytes of images that are read or copied at once
SHARE_OF_MEMORY = 0.8  # of the available memory that images may take
SMALLEST = 32  # pixels a side that a refusal would propose
LIMIT = 20.0  # gigabytes


@dataclass(frozen=True)
class Request:
    """Picture files to read, and how.

    Attributes:
        files: their paths.
        size, resize: what they are brought to, and how, as in ``read_image``.
        name: what messages and the progress bar call them.
        scales: given scales for values of more than 8 bits, as in ``read_image``.
    """

    files: list[str]
    size: tuple[int, int]
    resize: Resize
    name: str
    scales: Scales = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A hash of all that decides how files are read, except the files and the scales."""
        versions = [(name, features.version(name)) for name in LIBRARIES]
        pillow = [PIL.__version__, versions, sorted(formats_read())]
        settings = [ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS]
        reader = [__version__, str(FILE), pillow, settings, self.size, self.resize]
        return hashlib.sha256(json.dumps(reader).encode()).hexdigest()

    def scales_for(self, table: np.ndarray) -> Scales:
        """Return one scale for each type of values in a table: the given one, or all values'."""
        found = {}
        for kind in np.unique(table["kind"][table["kind"] != ""]).tolist():
            own = table["own_scale"][table["kind"] == kind]
            found[kind] = (float(own[:, 0].min()), float(own[:, 1].max()))
        return {kind: self.scales.get(kind, scale) for kind, scale in found.items()}


@dataclass(frozen=True)
class Decoded:
    """The images of some picture files.

    Attributes:
        request: which files, and how they were read.
        images: uint8 (N, H, W, 3), of the N files that could be read; mapped from a file if they
            are kept.
        table: of type ``FILE``, one entry for each file.
        reasons: why the others could not be read, in order.
        kept: the file that keeps them, or None.
    """

    request: Request
    images: np.ndarray
    table: np.ndarray
    reasons: list[str]
    kept: Path | None = None

    @property
    def readable(self) -> np.ndarray:
        """Which files could be read, bool."""
        return self.table["row"] >= 0

    @property
    def pictures(self) -> np.ndarray:
        """The entries of the N files that could be read, in the order of the files."""
        return self.table[self.readable]

    @property
    def scales(self) -> Scales:
        """The scale of each type of values of more than 8 bits, as in ``read_image``."""
        kinds, scales = self.table["kind"].tolist(), self.table["scale"].tolist()
        found = dict(zip(kinds, scales, strict=True))
        return {kind: (black, white) for kind, (black, white) in found.items() if kind}


def decode_files(request: Request, cache: Path | None = None, limit: float = LIMIT) -> Decoded:
    """Read picture files, or map what was kept of them; only what has changed is read again.

    Values of more than 8 bits have one scale in all files: it spans those of every picture.

    Args:
        request: the files, and how to read them.
        cache: a file that keeps the result; None keeps nothing. A damaged one is written anew, and
            one that cannot be written is reported in a line.
        limit: gigabytes that all such files in its folder may take; the least recently used are
            deleted first.

    Raises:
        ValueError: they are not kept, and take more memory than is available.
    """
    size, count = request.size, len(request.files)
    facts = np.array([_facts(file) for file in request.files], FILE["facts"])
    if cache is not None:
        old = _mapped(cache, request)
        if old is not None and _is_current(old, facts):
            say(f"Read from {printable(str(cache))}, as no file has changed since")
            with contextlib.suppress(OSError):
                os.utime(cache)  # used last
            return old

        def fill(file: IO[bytes]) -> Decoded:
            _check_disk(cache.parent, 3 * count * size[0] * size[1])

            def store(row: int, images: np.ndarray) -> None:
                file.seek(row * math.prod(images.shape[1:]))
                file.write(images.tobytes())

            return _decode(request, facts, store, old)

        if (kept := _keep(cache, request, fill)) is not None:
            _tell_what_is_kept(cache, limit)
            return kept
    check_memory(request.name, count, size)
    images = np.empty((count, *size, 3), np.uint8)

    def store(row: int, some: np.ndarray) -> None:
        images[row : row + len(some)] = some

    found = _decode(request, facts, store)
    return replace(found, images=images[: len(found.pictures)])


def arranged(decoded: Decoded, order: np.ndarray) -> np.ndarray:
    """Return the images in another order, without a second copy in memory.

    Args:
        decoded: its images are rearranged in place, or in the file that keeps them.
        order: a permutation of 0..N-1: the k-th image becomes that of the ``order[k]``-th readable
            file.
    """
    rows, size = decoded.pictures["row"][order], decoded.request.size
    if np.array_equal(rows, np.arange(len(rows))):
        return decoded.images
    if decoded.kept is None:
        _rearrange(decoded.images, rows)
        return decoded.images
    table = decoded.table.copy()
    table["row"][np.flatnonzero(decoded.readable)[order]] = np.arange(len(rows))

    def fill(file: IO[bytes]) -> Decoded:
        for some in _batches(rows, size):
            file.write(decoded.images[some].tobytes())
        return replace(decoded, table=table)

    if (kept := _keep(decoded.kept, decoded.request, fill)) is not None:
        return kept.images
    check_memory(decoded.request.name, len(rows), size)
    return decoded.images[rows]


def empty_cache(root: str | os.PathLike) -> int:
    """Delete what is kept of pictures in a folder, and return how many bytes that frees."""
    freed = 0
    for path, size in _kept_files(user_path(root)):
        path.unlink()
        freed += size
    return freed


def cache_path(root: str | os.PathLike, folder: Path, size: tuple[int, int], resize: str) -> Path:
    """Return the file under ``root`` that keeps a folder's pictures at a size."""
    text = json.dumps([os.path.realpath(folder), size, resize])
    return Path(root) / f"{NAME}{hashlib.sha256(text.encode()).hexdigest()[:12]}.kept"


def check_memory(name: str, count: int, size: tuple[int, int]) -> None:
    """Raise ValueError if images take more memory than is available; name a size that would fit."""
    needed, available = 3 * count * size[0] * size[1], available_memory()
    if needed <= SHARE_OF_MEMORY * available:
        return
    side = int(math.sqrt(SHARE_OF_MEMORY * available / (3 * count)))
    advice = (
        f"size={side} would fit"
        if side >= SMALLEST
        else f"even size={SMALLEST} would not fit: take fewer pictures"
    )
    raise ValueError(
        f"{name}: {count:,} pictures of {size[0]}x{size[1]} pixels take {needed / 1e6:,.1f} MB of "
        f"memory, and {available / 1e6:,.0f} MB are available; {advice}. With a cache folder "
        "(cache=, --root) that has so much room they need no memory"
    )


def _check_disk(folder: Path, needed: int) -> None:
    """Raise OSError before much is read, if a folder has less room than is needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        told = f"{needed / 1e6:,.1f} MB are needed, and {free / 1e6:,.1f} MB are free"
        raise OSError(errno.ENOSPC, told)


def _decode(
    request: Request,
    facts: np.ndarray,
    store: Callable[[int, np.ndarray], None],
    old: Decoded | None = None,
) -> Decoded:
    """Read files on all cores, and hand their images to ``store`` with the first one's row.

    Pictures with values of more than 8 bits are read by the scale of those before them, and once
    more if that was not yet the scale of all.

    Args:
        request: the files, and how to read them.
        facts: of each file.
        store: called with a row and the images from there on.
        old: what was kept before, of which unchanged files are taken.
    """
    files, size = request.files, request.size
    table, reasons, row = np.zeros(len(files), FILE), list[str](), 0
    table["facts"], table["row"] = facts, -1
    taken = np.zeros(len(files), bool)
    if old is not None:
        places = dict(zip(old.pictures["facts"].tolist(), old.pictures, strict=True))
        for number, one in enumerate(facts.tolist()):
            if one in places:
                table[number], taken[number] = places[one], True
    with Bar(total=int((~taken).sum()), desc=request.name, unit=" files", mininterval=0.5) as bar:
        for some in _batches(np.arange(len(files)), size):
            images, first = np.empty((len(some), *size, 3), np.uint8), row
            new = [files[number] for number in some if not taken[number]]
            with contextlib.closing(_read_all(new, request, request.scales_for(table))) as read:
                for number in some.tolist():
                    if taken[number] and old is not None:
                        images[row - first] = old.images[table["row"][number]]
                    else:
                        found = next(read)
                        bar.update()
                        if isinstance(found, Exception):
                            reasons.append(_reason(files[number], found))
                            continue
                        images[row - first] = found.image
                        _fill_in(table[number : number + 1], found)
                    table["row"][number] = row
                    row += 1
            store(first, images[: row - first])
    scales = request.scales_for(table)
    again = [
        number
        for number in np.flatnonzero(table["kind"] != "").tolist()
        if tuple(table["scale"][number]) != scales[table["kind"][number]]
    ]
    read_again = _read_all([files[number] for number in again], request, scales)
    for number, found in zip(again, read_again, strict=True):
        if isinstance(found, Exception):
            raise found
        table["scale"][number] = found.scale
        store(int(table["row"][number]), found.image[None])
    return Decoded(request, np.empty((row, 0)), table, reasons)


def _fill_in(entry: np.ndarray, picture: Picture) -> None:
    """Write what is known about a picture into its entry, of type ``FILE`` (1,)."""
    for name in ("size", "digest", "remark", "kind", "own_scale", "scale"):
        entry[name] = getattr(picture, name)
    entry["one_colour"] = (picture.image == picture.image[0, 0]).all()


def _read_all(
    files: list[str], request: Request, scales: Scales
) -> Generator[Picture | Exception, None, None]:
    """Yield the picture of each file, or why it cannot be read, in order, read by all cores."""
    scales = {**scales, **request.scales}
    read = partial(_read_one, size=request.size, resize=request.resize, scales=scales)
    with warnings.catch_warnings(), ThreadPoolExecutor(_cores()) as pool:
        warnings.simplefilter("ignore")  # as read_picture does, for all threads
        yield from pool.map(read, files)


def _read_one(
    file: str, size: tuple[int, int], resize: Resize, scales: Scales
) -> Picture | Exception:
    try:
        return decode_picture(file, size, resize, scales)
    except (ValueError, OSError) as error:
        return error


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reason(file: str, error: Exception) -> str:
    shown, reason = printable(file), printable(str(error))
    return reason if shown in reason else f"{shown}: {reason}"


def _batches(numbers: np.ndarray, size: tuple[int, int]) -> Iterable[np.ndarray]:
    """Split numbers of images into those that are read or copied at once."""
    step = max(BATCH // (3 * size[0] * size[1]), 1)
    return (numbers[start : start + step] for start in range(0, len(numbers), step))


def _rearrange(images: np.ndarray, order: np.ndarray) -> None:
    """Put images in another order in place, by swapping: the k-th becomes the ``order[k]``-th."""
    for place, source in enumerate(order.tolist()):
        while source < place:  # it has been swapped away from there
            source = order[source]
        if source != place:
            images[[place, source]] = images[[source, place]]


def _facts(file: str) -> bytes:
    """Return a hash of a file's path, size and times, by which a change is seen."""
    facts: list[object]
    try:
        status = os.stat(file)
    except OSError as error:
        facts = [file, str(error)]
    else:
        facts = [os.path.abspath(file), status.st_size, status.st_mtime_ns]
        if os.name == "posix":  # the time of the last change of any kind, which nobody can set
            facts.append(status.st_ctime_ns)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32].encode()


def _is_current(old: Decoded, facts: np.ndarray) -> bool:
    """Return whether reading the files again would give the same.

    No file has changed, those that could not be read still cannot be, and the scales are the same.
    """
    request = old.request
    if not np.array_equal(facts, old.table["facts"]) or old.scales != request.scales_for(old.table):
        return False
    failed = [request.files[number] for number in np.flatnonzero(~old.readable)]
    return all(isinstance(one, Exception) for one in _read_all(failed, request, {}))


def _keep(cache: Path, request: Request, fill: Callable[[IO[bytes]], Decoded]) -> Decoded | None:
    """Write a file that keeps pictures, and map it.

    Args:
        cache: the file.
        request: which pictures, and how they are read.
        fill: writes the pixels into an open file, and returns what is known about them.

    Returns:
        The mapped pictures; None, after a printed line, if the file cannot be written.
    """
    try:
        with atomic_write(cache) as file:
            found = fill(file.file)
            index = io.BytesIO()
            np.savez(
                index, key=request.key, table=found.table, reasons=np.array(found.reasons, str)
            )
            file.file.seek(0, os.SEEK_END)
            file.write(index.getvalue() + len(index.getvalue()).to_bytes(8, "little"))
    except OSError as error:
        say(f"The pictures are not kept for the next time in {printable(str(cache))}: {error}")
        return None
    return _mapped(cache, request)


def _mapped(cache: Path, request: Request) -> Decoded | None:
    """Map what was kept; None if there is nothing, it was read in another way, or is damaged."""
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
    except Exception:  # a damaged file is written anew
        return None
    return Decoded(request, np.asarray(images), table, reasons.tolist(), cache)


def _kept_files(root: Path) -> list[tuple[Path, int]]:
    """Return the files in a folder that keep pictures, with their sizes, last used last."""
    files = [(path, path.stat()) for path in root.glob(f"{NAME}*") if path.is_file()]
    files.sort(key=lambda one: one[1].st_mtime_ns)
    return [(path, status.st_size) for path, status in files]


def _tell_what_is_kept(cache: Path, limit: float) -> None:
    """Say how much is kept in a folder, and delete the files used longest ago beyond the limit."""
    files = _kept_files(cache.parent)
    total = sum(size for _, size in files)
    own = sum(size for path, size in files if path == cache)
    deleted = 0
    for path, size in files:
        if total > limit * 1e9 and path != cache:
            path.unlink(missing_ok=True)
            total -= size
            deleted += size
    more = f"; deleted what was used longest ago, {deleted / 1e6:,.1f} MB" if deleted else ""
    say(
        f"Kept for the next time in {printable(str(cache))}: {own / 1e6:,.1f} MB, of "
        f"{total / 1e6:,.1f} MB kept there in all{more}"
    )
