"""Picture files of any format, brought to the size that a network wants."""

import functools
import mimetypes
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from PIL import Image, ImageCms, ImageOps

from pytorch_vision.runtime.files import is_system_error, user_path
from pytorch_vision.runtime.text import first_line, printable

Resize = Literal["crop", "pad", "squash"]
ImageFile = str | os.PathLike | bytes | IO[bytes]  # a path, the content, or an open binary file
MAX_SIDE = 8192  # pixels: a larger photograph is refused before it fills the memory
LONGEST = 32  # times as long as wide, of which "crop" and "pad" leave next to nothing
# EPS would start Ghostscript, a program; the others Pillow knows by name only
NOT_READ = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF")
ORIENTATION = 0x0112  # in EXIF
BITS_PER_SAMPLE, MAX_SAMPLE_VALUE, NO_DATA = 258, 281, 42113  # in TIFF
LARGEST = 1e30  # of the numbers that are values, and not marks for missing ones
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG = b"\x89PNG\r\n\x1a\n"
NEARLY_WHITE = 247  # of 255
LARGEST_CHUNK = 1 << 29  # bytes
UNKNOWN = "is not an image that Pillow can read"
PNG_KEPT = (b"tRNS", b"eXIf")  # of what a decoder need not know


@dataclass(frozen=True)
class Picture:
    """A picture that was read.

    Attributes:
        image: uint8 (H, W, 3), brought to the size that was asked for.
        size: height and width in pixels, as it came, upright.
        mode: Pillow's name of its kind.
    """

    image: np.ndarray
    size: tuple[int, int]
    mode: str


class _RefusedError(ValueError):
    """A picture that is whole, but cannot be used; says why, to go after its name."""


def check_resize(resize: str) -> Resize:
    """Return ``resize`` if ``resized`` knows it, else raise ValueError."""
    for known in get_args(Resize):
        if resize == known:
            return known
    raise ValueError(f"resize is {resize!r}, expected {', '.join(map(repr, get_args(Resize)))}")


def resized(picture: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """Bring an RGB picture to a size (Lanczos).

    Args:
        picture: of any size.
        size: height and width, in pixels.
        resize: "crop" cuts out the largest central part of the wanted shape: nothing is distorted,
            and no border is there to learn from, but what lies at the long ends is lost. "pad"
            keeps all of the picture, with grey beside it; "squash" keeps all of it, out of shape.
    """
    height, width = size
    if resize == "squash":
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    if resize == "pad":
        grey = (128, 128, 128)
        return ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS, color=grey)
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def read_image(
    path: ImageFile, size: tuple[int, int] = (32, 32), resize: Resize = "crop"
) -> tuple[np.ndarray, str]:
    """Read any image file and bring it to the size that a network was trained on.

    The picture is turned upright as its file says. Transparency is laid over white, or over black
    where all that is visible is white. Of an animation the first picture is read. Values of more
    than 8 bits are scaled, as ``scaled_to_8_bits`` does. Broken metadata costs nothing.

    Args:
        path: a file that Pillow can read, of any mode; or its bytes; or it, open for reading.
        size: height and width to bring it to.
        resize: how, as ``resized`` has it.

    Returns:
        The image, uint8 (H, W, 3), and a sentence that says what was done to it.

    Raises:
        ValueError: the file is no image, is damaged, is larger than 8,192 pixels a side, or is so
            long and narrow that nothing of it would be left.
        OSError: it cannot be opened.
    """
    picture = read_picture(path, size, resize)
    (height, width), (rows, columns) = size, picture.size
    summary = f"{_name(path, only_file=True)}: {columns}x{rows} pixels, mode {picture.mode}; "
    if (rows, columns) == size:
        return picture.image, f"{summary}as large as it is to be"
    if resize == "crop":
        scale = min(columns / width, rows / height)
        summary += f"its central {scale * width:.0f}x{scale * height:.0f} pixels resized"
    else:
        summary += {"pad": "resized and padded with grey", "squash": "resized out of shape"}[resize]
    return picture.image, f"{summary} to {width}x{height}"


def read_picture(path: ImageFile, size: tuple[int, int], resize: Resize) -> Picture:
    """Do what ``read_image`` does, and return what is known of the picture."""
    name = _name(path)
    check_resize(resize)
    try:
        with _opened(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what it can do without
            picture = _decoded(file)
            mode, upright = picture.mode, _upright(picture)
            image = _as_array(upright, size, resize)
    except _RefusedError as error:
        raise ValueError(f"{name} {error}") from None
    except Image.DecompressionBombError:
        raise ValueError(
            f"{name} is too large, expected at most {MAX_SIDE:,} pixels a side; make it smaller"
        ) from None
    except Image.UnidentifiedImageError:
        why = _why_unknown(user_path(path)) if isinstance(path, (str, os.PathLike)) else UNKNOWN
        raise ValueError(f"{name} {why}") from None
    except Exception as error:  # a damaged file can fail anywhere inside its decoder
        if is_system_error(error):
            raise
        raise ValueError(f"{name} is a damaged image ({first_line(error)})") from error
    return Picture(image, (upright.height, upright.width), mode)


def _name(path: ImageFile, only_file: bool = False) -> str:
    """Return what messages call an image file."""
    if not isinstance(path, (str, os.PathLike)):
        return "the image"
    return printable(Path(path).name if only_file else os.fspath(path))


def _opened(path: ImageFile) -> IO[bytes]:
    if isinstance(path, (str, os.PathLike)):
        return open(user_path(path), "rb")
    return BytesIO(path if isinstance(path, bytes) else path.read())


def as_array(picture: Image.Image, size: tuple[int, int], resize: Resize) -> np.ndarray:
    """Return a picture that is open already as ``read_image`` does one from a file.

    Raises:
        ValueError: it is empty, larger than 8,192 pixels a side or damaged, cannot be brought to
            RGB, or is so long and narrow that nothing of it would be left.
    """
    if not 1 <= min(picture.size) <= max(picture.size) <= MAX_SIDE:
        shown = f"{picture.width}x{picture.height}"
        raise ValueError(f"the picture has {shown} pixels, expected 1 to {MAX_SIDE:,} a side")
    try:
        return _as_array(_upright(picture), size, check_resize(resize))
    except _RefusedError as error:
        raise ValueError(f"the picture {error}") from None
    except Exception as error:  # Pillow decodes it only now, and it can be damaged in any way
        if is_system_error(error):
            raise
        raise ValueError(f"the picture is damaged ({first_line(error)})") from error


def _as_array(upright: Image.Image, size: tuple[int, int], resize: Resize) -> np.ndarray:
    _check_proportions(upright, size, resize)
    return np.asarray(resized(_to_rgb(upright), size, resize))


def pictures_of(files: list[str], looked_at: int = 20) -> list[str]:
    """Return those files that are meant to be pictures, by their names.

    If that says nothing of any, the first ones are looked at: pictures need no extension.
    """
    named = [one for one in files if _suffix(one) in _extensions() or "image/" in _kind(one)]
    return named or [one for one in files[:looked_at] if _is_picture(one)]


def _is_picture(path: str) -> bool:
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(file, formats=_formats()).close()
    except Exception:  # whatever it is, Pillow does not take it for a picture
        return False
    return True


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return what Pillow reads by itself."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_READ)


def _suffix(path: str | os.PathLike) -> str:
    return os.path.splitext(path)[1].lower()


def _kind(path: str | os.PathLike) -> str:
    """Return what a file's name says that it is, as in "image/heic", or nothing."""
    return mimetypes.guess_type(f"a{_suffix(path)}")[0] or ""


@functools.cache
def _extensions() -> frozenset[str]:
    return frozenset(
        suffix for suffix, name in Image.registered_extensions().items() if name in _formats()
    )


def _why_unknown(path: str | os.PathLike) -> str:
    if os.path.getsize(path) == 0:
        return "is empty"
    if _kind(path).startswith("image/") and _suffix(path) not in _extensions():
        return (
            f"is of a format that Pillow does not read ({_kind(path)}): convert it to PNG or JPEG"
        )
    return UNKNOWN


def _decoded(file: IO[bytes]) -> Image.Image:
    """Return a picture with its pixels, also where a PNG has damaged or very long texts."""
    try:
        return _loaded(file)
    except (ValueError, SyntaxError, OSError, zlib.error):
        file.seek(0)
        if file.read(len(PNG)) != PNG:
            raise
        without = _without_metadata(file)
        if without is None:
            raise
    return _loaded(without)


def _loaded(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    picture = Image.open(file, formats=_formats())
    if max(picture.size) > MAX_SIDE:
        raise Image.DecompressionBombError
    deep = any(";16" in str(tile[3]) for tile in picture.tile)
    picture.load()
    if deep and picture.mode in ("RGB", "RGBA", "LA"):  # of which Pillow keeps the upper 8 bits
        colours = np.asarray(picture)[..., : 1 if picture.mode == "LA" else 3]
        if colours.max() < 16:
            raise _RefusedError(
                "holds values of 12 bits or fewer in 16, of which Pillow would keep next to "
                "nothing: save it with 8 bits a channel"
            )
    return picture


def _without_metadata(file: IO[bytes]) -> BytesIO | None:
    """Return a PNG of which all is left out that is not pixels, transparency or whole EXIF data.

    Returns None if nothing had to go, as then it is not what is wrong.
    """
    kept, left_out = BytesIO(), False
    kept.write(PNG)
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name[:1].islower() and name not in PNG_KEPT:
            file.seek(length + 4, os.SEEK_CUR)
            left_out = True
            continue
        if length > LARGEST_CHUNK:
            return None
        content = file.read(length + 4)
        if name == b"eXIf" and content[-4:] != struct.pack(">I", zlib.crc32(name + content[:-4])):
            left_out = True
            continue
        kept.write(head + content)
    return kept if left_out else None


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF data says, if these can be read."""
    try:
        turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except Exception as error:  # they can be damaged in any way, and the picture is good
        if is_system_error(error):
            raise
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _check_proportions(picture: Image.Image, size: tuple[int, int], resize: Resize) -> None:
    """Refuse a picture of which next to nothing would be left."""
    across, down = picture.width / size[1], picture.height / size[0]
    longer = max(across, down) / min(across, down)
    if resize != "squash" and longer >= min(LONGEST, 2 * min(size)):
        raise _RefusedError(
            f"is {picture.width}x{picture.height} pixels, of which {resize!r} leaves one part in "
            f"{longer:,.0f}: cut it up, or take 'squash'"
        )


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Bring any mode to RGB."""
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = Image.fromarray(scaled_to_8_bits(np.asarray(picture), *_told(picture)))
    try:
        if picture.mode == "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
            assert converted is not None  # as it is not done in place
            return converted
        if picture.has_transparency_data:
            return _without_transparency(picture.convert("RGBA"))
        return picture.convert("RGB")
    except (ValueError, ImageCms.PyCMSError) as error:
        raise _RefusedError(
            f"has mode {picture.mode}, which cannot be brought to RGB ({first_line(error)})"
        ) from error


def _told(picture: Image.Image) -> tuple[float | None, float | None]:
    """Return what a TIFF says that white is, and which value stands for a missing one."""
    tags: Any = getattr(picture, "tag_v2", {})

    def told(tag: int) -> float | None:
        value = tags.get(tag)
        try:
            return float(value[0] if isinstance(value, tuple) else value)
        except (TypeError, ValueError, IndexError):
            return None

    bits, missing = told(BITS_PER_SAMPLE), told(NO_DATA)
    by_bits = 2**bits - 1 if bits and 8 < bits < 16 else None
    return told(MAX_SAMPLE_VALUE) or by_bits, missing


def _without_transparency(picture: Image.Image) -> Image.Image:
    """Lay a picture over white; over black if nothing would be seen, as of a white icon."""
    white, black = (Image.new("RGBA", picture.size, colour) for colour in ("white", "black"))
    laid = Image.alpha_composite(white, picture).convert("RGB")
    if np.asarray(laid).min() > NEARLY_WHITE and np.ptp(np.asarray(picture)[..., 3]) > 0:
        laid = Image.alpha_composite(black, picture).convert("RGB")
    return laid


def scaled_to_8_bits(
    values: np.ndarray, top: float | None = None, missing: float | None = None
) -> np.ndarray:
    """Bring the values of a picture of more than 8 bits to 0..255.

    White is what the file says. If that is nothing, or nearly all would be black, it is 1 for a
    float picture in 0..1, and for whole numbers the largest of 8, 10, 12 or 16 bits that holds
    them; and else, the largest value. Black is 0, or the smallest value if that is negative.

    Args:
        values: (H, W) of any type; those that are no numbers are black, infinite ones the nearest.
        top: what the file says that white is.
        missing: what it says that stands for a missing value.

    Returns:
        uint8 (H, W).

    Raises:
        ValueError: there is no value.
    """
    steps = (1.0,) if values.dtype.kind == "f" else (255.0, 1023.0, 4095.0, 65_535.0)
    values = values.astype(np.float64)
    known = (abs(values) < LARGEST) & (values != (np.nan if missing is None else missing))
    if not known.any():
        raise _RefusedError("has no finite value")
    low, high = min(0.0, values[known].min()), values[known].max()
    candidates = [top or 0.0, *(step for step in steps if low == 0)]
    white = next((one for one in candidates if high <= one < 16 * high), high)
    values = np.where(known | (values >= LARGEST), values.clip(low, high), low)
    return (255 * (values - low) / max(white - low, 1e-300)).clip(0, 255).astype(np.uint8)
