"""Many picture files as one array; what was read once is kept, and read again in a moment."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from pytorch_vision import __version__
from pytorch_vision.data.image_files import Resize, read_picture
from pytorch_vision.runtime.files import atomic_write
from pytorch_vision.runtime.terminal import Bar, say
from pytorch_vision.runtime.text import printable

DIGEST = "U8"  # as an array has it
HEADER = 4096  # bytes, more than the header of an array in a file has


@dataclass
class Decoded:
    """The pictures among some files.

    Attributes:
        images: uint8 (N, H, W, 3), of those files that could be read, in order.
        sizes: int32 (N, 2), height and width of each in pixels, as it came.
        readable: bool, for each file.
        reasons: why the others could not be read, in order.
        digests: str (N,), of each of the N a short hash of its file: whatever its name, and
            wherever it lies, it is known again by that.
    """

    images: np.ndarray
    sizes: np.ndarray
    readable: np.ndarray
    reasons: list[str]
    digests: np.ndarray


def decode_files(
    files: list[str],
    size: tuple[int, int],
    resize: Resize,
    title: str,
    cache: Path | None = None,
) -> Decoded:
    """Read picture files, or what was kept of them if none has changed since.

    Args:
        files: paths.
        size, resize: what they are brought to, and how, as ``read_image`` has it.
        title: of the bar.
        cache: a file that keeps the result; None keeps nothing. One that is damaged is written
            anew, and one that cannot be written costs a line.
    """
    key = _key(files, size, resize) if cache is not None else ""
    if cache is not None and (kept := _read(cache, key, len(files), size)) is not None:
        say(f"Read from {printable(str(cache))}, as no file has changed since")
        return kept
    decoded, lasting = _decode(files, size, resize, title)
    if cache is not None and lasting:
        _write(cache, key, decoded)
    return decoded


def _decode(
    files: list[str], size: tuple[int, int], resize: Resize, title: str
) -> tuple[Decoded, bool]:
    """Read the files; also tell whether it will be so again, whatever the system has to say."""
    images = np.empty((len(files), *size, 3), np.uint8)
    sizes: list[tuple[int, int]] = []
    digests: list[str] = []
    readable, reasons, lasting = np.zeros(len(files), bool), [], True
    for number, file in enumerate(Bar(files, desc=title, unit=" files", mininterval=0.5)):
        try:
            picture = read_picture(file, size, resize)
            digests.append(_digest(file))
        except (ValueError, OSError) as error:
            shown, reason = printable(file), printable(str(error))
            reasons.append(reason if shown in reason else f"{shown}: {reason}")
            lasting = lasting and isinstance(error, ValueError)
        else:
            images[len(sizes)] = picture.image
            sizes.append(picture.size)
            readable[number] = True
    found = Decoded(
        images[: len(sizes)],
        np.array(sizes, np.int32).reshape(-1, 2),
        readable,
        reasons,
        np.array(digests, DIGEST),
    )
    return found, lasting


def _digest(file: str) -> str:
    with open(file, "rb") as stream:
        whole = hashlib.file_digest(stream, "sha256").digest()
    return base64.b64encode(whole[:6]).decode()  # of a million files, hardly two by chance the same


def cache_path(root: str | os.PathLike, folder: Path, size: tuple[int, int], resize: str) -> Path:
    """Return the file under ``root`` that keeps a folder's pictures in a size."""
    text = json.dumps([os.path.realpath(folder), size, resize])
    return Path(root) / f"pictures-{hashlib.sha256(text.encode()).hexdigest()[:12]}.npz"


def _key(files: list[str], size: tuple[int, int], resize: str) -> str:
    """Return a hash of all that the result depends on."""
    facts: list[object] = [__version__, PIL.__version__, size, resize]
    for file in files:
        try:
            status = os.stat(file)
            facts.append([os.path.abspath(file), status.st_size, status.st_mtime_ns])
            if os.name == "posix":  # of the last change of any kind, which nobody can set
                facts.append(status.st_ctime_ns)
        except OSError as error:
            facts.append([file, str(error)])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read(cache: Path, key: str, count: int, size: tuple[int, int]) -> Decoded | None:
    """Return what was kept, or None if it is not there, is of other files, or is damaged."""
    largest = count * (3 * size[0] * size[1]) + HEADER
    try:
        with open(cache, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            member = file.zip.getinfo("images.npy")
            if member.file_size > largest or member.compress_size > largest:
                return None
            found = Decoded(
                file["images"],
                file["sizes"],
                file["readable"],
                file["reasons"].tolist(),
                file["digests"],
            )
    except Exception:  # a damaged file can fail anywhere inside its reader, and is written anew
        return None
    read = int(found.readable.sum())
    fits = (
        found.images.shape == (read, *size, 3)
        and found.images.dtype == np.uint8
        and found.sizes.shape == (read, 2)
        and found.readable.shape == (count,)
        and len(found.reasons) == count - read
        and (found.digests.shape, found.digests.dtype) == ((read,), np.dtype(DIGEST))
    )
    return found if fits else None


def _write(cache: Path, key: str, decoded: Decoded) -> None:
    """Keep what was read; where that cannot be done, a line says so."""
    reasons = np.array(decoded.reasons, dtype=np.str_)
    try:
        with atomic_write(cache) as file:
            np.savez(
                file.file,
                key=key,
                images=decoded.images,
                sizes=decoded.sizes,
                readable=decoded.readable,
                reasons=reasons,
                digests=decoded.digests,
            )
    except OSError as error:
        say(f"The pictures are not kept for the next time in {printable(str(cache))}: {error}")
    else:
        say(f"Kept for the next time in {printable(str(cache))}")
