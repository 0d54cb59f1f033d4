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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import PIL
from PIL import ImageFile, features

from pytorch_vision import __version__
from pytorch_vision.data.image_files import (
    DIGEST_LENGTH,
    Picture,
    Resize,
    Scales,
    common_scales,
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
        ("format", "U16"),  # Pillow's name
        ("one_colour", "?"),
        ("remark", "U100"),
        ("kind", "U8"),  # the type of values of more than 8 bits, or empty
        ("own", "f8", 2),  # their own scale
    ]
)
LIBRARIES = ("jpg", "libjpeg_turbo", "jpg_2000", "zlib", "libtiff", "webp", "avif", "littlecms2")
NAME = "pictures-"  # begins the names of the files that keep pictures
BATCH = 1 << 26  # bytes of images that are read or copied at once
SHARE_OF_MEMORY = 0.8  # of the available memory that images may take
SMALLEST = 32  # pixels a side that a refusal would propose
LIMIT = 20.0  # gigabytes


@dataclass(frozen=True)
class Decoded:
    """The images of some picture files.

    Attributes:
        images: uint8 (N, H, W, 3), of the N files that could be read; mapped from a file if they
            are kept.
        table: of type ``FILE``, one entry for each file.
        reasons: why the others could not be read, in order.
        scales: what the values of more than 8 bits were scaled by, as in ``read_image``.
        kept: the file that keeps them, or None.
    """

    images: np.ndarray
    table: np.ndarray
    reasons: list[str]
    scales: Scales
    kept: Path | None = None

    @property
    def readable(self) -> np.ndarray:
        """Which files could be read, bool."""
        return self.table["row"] >= 0

    @property
    def pictures(self) -> np.ndarray:
        """The entries of the N files that could be read, in the order of the files."""
        return self.table[self.readable]


def decode_files(
    files: list[str],
    size: tuple[int, int],
    resize: Resize,
    title: str,
    cache: Path | None = None,
    scales: Scales | None = None,
    limit: float = LIMIT,
) -> Decoded:
    """Read picture files, or map what was kept of them; only what has changed is read again.

    Values of more than 8 bits have one scale in all files: it spans those of every picture.

    Args:
        files: paths.
        size, resize: what they are brought to, and how, as in ``read_image``.
        title: of the progress bar.
        cache: a file that keeps the result; None keeps nothing. A damaged one is written anew, and
            one that cannot be written is reported in a line.
        scales: given scales for values of more than 8 bits, as in ``read_image``.
        limit: gigabytes that all such files in its folder may take; the least recently used go
            first.

    Raises:
        ValueError: they are not kept, and take more memory than is available.
    """
    given = scales or {}
    if cache is not None:
        key = _key(size, resize)
        facts = np.array([_facts(file) for file in files], FILE["facts"])
        old = _mapped(cache, key, size)
        if old is not None and _is_current(old, files, facts, size, resize, given):
            say(f"Read from {printable(str(cache))}, as no file has changed since")
            with contextlib.suppress(OSError):
                os.utime(cache)  # used last
            return old
        try:
            with atomic_write(cache) as file:
                _check_disk(cache.parent, 3 * len(files) * size[0] * size[1])

                def store(row: int, images: np.ndarray) -> None:
                    file.file.seek(row * math.prod(images.shape[1:]))
                    file.write(images.tobytes())

                found = _decode(files, facts, size, resize, title, store, given, old)
                _write_index(file.file, key, found)
            _tell_what_is_kept(cache, limit)
            if (mapped := _mapped(cache, key, size)) is not None:
                return mapped
        except OSError as error:
            say(f"The pictures are not kept for the next time in {printable(str(cache))}: {error}")
    check_memory(title, len(files), size)
    images = np.empty((len(files), *size, 3), np.uint8)

    def keep(row: int, some: np.ndarray) -> None:
        images[row : row + len(some)] = some

    no_facts = np.zeros(len(files), FILE["facts"])
    found = _decode(files, no_facts, size, resize, title, keep, given, None)
    return replace(found, images=images[: len(found.pictures)])


def arranged(decoded: Decoded, order: np.ndarray) -> np.ndarray:
    """Return the images in another order, without a second copy in memory.

    Args:
        decoded: its images are rearranged in place, or in the file that keeps them.
        order: a permutation of 0..N-1: the k-th image becomes that of the ``order[k]``-th readable
            file.
    """
    rows = decoded.pictures["row"][order]
    if np.array_equal(rows, np.arange(len(rows))):
        return decoded.images
    if decoded.kept is None:
        _rearrange(decoded.images, rows)
        return decoded.images
    table = decoded.table.copy()
    table["row"][np.flatnonzero(decoded.readable)[order]] = np.arange(len(rows))
    key, size = _read_key(decoded.kept), decoded.images.shape[1:3]
    try:
        with atomic_write(decoded.kept) as file:
            for some in _batches(rows, size):
                file.write(decoded.images[some].tobytes())
            _write_index(file.file, key, replace(decoded, table=table))
        if (mapped := _mapped(decoded.kept, key, size)) is not None:
            return mapped.images
    except OSError as error:
        say(f"{printable(str(decoded.kept))} cannot be rearranged: {error}")
    check_memory("The folder", len(rows), size)
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
    files: list[str],
    facts: np.ndarray,
    size: tuple[int, int],
    resize: Resize,
    title: str,
    store: Callable[[int, np.ndarray], None],
    scales: Scales,
    old: Decoded | None,
) -> Decoded:
    """Read files on all cores, and hand their images to ``store`` from row to row.

    Pictures with values of more than 8 bits are read by the scale of those before them, and once
    more if that was not yet the scale of all.
    """
    table = np.zeros(len(files), FILE)
    table["facts"], table["row"] = facts, -1
    reasons: list[str] = []
    reusable = _reusable(old)
    taken = [reusable.get(one, -1) for one in facts.tolist()]
    common: Scales = {}
    used: dict[int, tuple[float, float]] = {}  # the scale by which each such file was read
    if old is not None:
        common = common_scales(_own_scales(old.table[place]) for place in taken if place >= 0)
    row = 0
    with Bar(total=taken.count(-1), desc=title, unit=" files", mininterval=0.5) as bar:
        for some in _batches(np.arange(len(files)), size):
            new = [files[number] for number in some if taken[number] < 0]
            images, start = np.empty((len(some), *size, 3), np.uint8), row
            applied = {**common, **scales}
            with contextlib.closing(_read_all(new, size, resize, applied)) as read:
                for number in some:
                    entry = table[number : number + 1]
                    if old is not None and (place := taken[number]) >= 0:
                        images[row - start] = old.images[old.table["row"][place]]
                        entry[:] = old.table[place]
                        before = old.scales
                    else:
                        found = next(read)
                        bar.update()
                        if isinstance(found, Exception):
                            reasons.append(_reason(files[number], found))
                            continue
                        images[row - start] = found.image
                        _fill_in(entry, found)
                        before = {**found.scales, **applied}
                    entry["row"] = row
                    row += 1
                    for kind in _own_scales(entry[0]):
                        used[number] = before[kind]
            store(start, images[: row - start])
            common = common_scales([common, *(_own_scales(one) for one in table[some])])
    common = {kind: scales.get(kind, scale) for kind, scale in common.items()}
    again = [number for number, scale in used.items() if scale != common[table["kind"][number]]]
    read = _read_all([files[number] for number in again], size, resize, common)
    for number, found in zip(again, read, strict=True):
        if isinstance(found, Exception):
            raise found
        store(table["row"][number], found.image[None])
    return Decoded(np.empty((row, 0)), table, reasons, common)


def _fill_in(entry: np.ndarray, picture: Picture) -> None:
    """Write what is known about a picture into its entry, of type ``FILE`` (1,)."""
    for name, value in {
        "size": picture.size,
        "digest": picture.digest,
        "format": picture.format,
        "one_colour": (picture.image == picture.image[0, 0]).all(),
        "remark": picture.remark,
    }.items():
        entry[name] = value
    for kind, own in picture.scales.items():
        entry["kind"], entry["own"] = kind, own


def _own_scales(entry: np.ndarray) -> Scales:
    black, white = entry["own"].tolist()
    return {str(entry["kind"]): (black, white)} if entry["kind"] else {}


def _read_all(
    files: list[str], size: tuple[int, int], resize: Resize, scales: Scales
) -> Generator[Picture | Exception, None, None]:
    """Yield the picture of each file, or why it cannot be read, in order, read by all cores."""
    read = partial(_read_one, size=size, resize=resize, scales=scales)
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
    """Put images in another order in place.

    Args:
        images: (N, ...); the k-th becomes what was the ``order[k]``-th.
        order: a permutation of 0..N-1.
    """
    done = np.zeros(len(order), bool)
    for start in np.flatnonzero(order != np.arange(len(order))):
        if done[start]:
            continue
        first, place = images[start].copy(), start
        while order[place] != start:
            images[place] = images[order[place]]
            done[place] = True
            place = order[place]
        images[place] = first
        done[place] = True


def _key(size: tuple[int, int], resize: str) -> str:
    """Return a hash of all that decides how files are read, except the files."""
    versions = [(name, features.version(name)) for name in LIBRARIES]
    reader = [__version__, PIL.__version__, versions, ImageFile.LOAD_TRUNCATED_IMAGES]
    return hashlib.sha256(json.dumps([reader, size, resize]).encode()).hexdigest()


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


def _reusable(old: Decoded | None) -> dict[bytes, int]:
    """Return by their facts the entries of files that Pillow has read, and still can read."""
    if old is None:
        return {}
    usable = old.readable & np.isin(old.table["format"], [*formats_read(), ""])
    return dict(zip(old.table["facts"][usable].tolist(), np.flatnonzero(usable), strict=True))


def _is_current(
    old: Decoded,
    files: list[str],
    facts: np.ndarray,
    size: tuple[int, int],
    resize: Resize,
    scales: Scales,
) -> bool:
    """Return whether reading the files again would give the same.

    No file has changed, those that could not be read still cannot be, and the scales are the same.
    """
    if not np.array_equal(facts, old.table["facts"]) or len(_reusable(old)) != len(old.pictures):
        return False
    common = common_scales(map(_own_scales, old.pictures[old.pictures["kind"] != ""]))
    if old.scales != {kind: scales.get(kind, scale) for kind, scale in common.items()}:
        return False
    failed = [files[number] for number in np.flatnonzero(~old.readable)]
    return all(isinstance(one, Exception) for one in _read_all(failed, size, resize, {}))


def _write_index(file: IO[bytes], key: str, found: Decoded) -> None:
    """Write what is known about the images behind them."""
    index = io.BytesIO()
    scales = json.dumps(found.scales)
    reasons = np.array(found.reasons, dtype=np.str_)
    np.savez(index, key=key, table=found.table, reasons=reasons, scales=scales)
    file.seek(0, os.SEEK_END)
    file.write(index.getvalue() + len(index.getvalue()).to_bytes(8, "little"))


def _read_index(cache: Path) -> tuple[dict[str, np.ndarray], int]:
    """Return the index of a file that keeps pictures, and where it begins.

    Raises:
        Exception: the file is damaged; anything inside its reader can fail.
    """
    with open(cache, "rb") as file:
        end = file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(8), "little")
        start = file.seek(end - length)
        with np.load(io.BytesIO(file.read(length)), allow_pickle=False) as index:
            return dict(index), start


def _read_key(cache: Path) -> str:
    return str(_read_index(cache)[0]["key"])


def _mapped(cache: Path, key: str, size: tuple[int, int]) -> Decoded | None:
    """Map what was kept; return None if there is nothing, or it is of other use, or damaged."""
    try:
        index, length = _read_index(cache)
        table, reasons = index["table"], index["reasons"].tolist()
        scales = {
            name: (low, high) for name, (low, high) in json.loads(str(index["scales"])).items()
        }
        rows = np.sort(table["row"][table["row"] >= 0])
        fits = (
            str(index["key"]) == key
            and table.dtype == FILE
            and np.array_equal(rows, np.arange(len(rows)))
            and len(reasons) == len(table) - len(rows)
            and length == len(rows) * 3 * size[0] * size[1]
        )
        if not fits:
            return None
        if not len(rows):
            return Decoded(np.empty((0, *size, 3), np.uint8), table, reasons, scales, cache)
        images = np.memmap(cache, np.uint8, "r", shape=(len(rows), *size, 3))
    except Exception:  # a damaged file is written anew
        return None
    return Decoded(np.asarray(images), table, reasons, scales, cache)


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
