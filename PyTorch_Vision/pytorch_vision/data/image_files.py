"""Read picture files of any format, at the size that a network takes."""

import base64
import hashlib
import mimetypes
import os
import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from PIL import Image, ImageCms

from pytorch_vision.runtime.checks import height_and_width
from pytorch_vision.runtime.files import is_system_error, user_path
from pytorch_vision.runtime.text import first_line, printable

Resize = Literal["crop", "pad", "squash"]
Scales = dict[str, tuple[float, float]]  # by type, the values that become black and white
MAX_SIDE = 8192  # pixels: the largest image that a network may ask for
DRAFT = 2  # times the wanted size: a JPEG is decoded at no less, and resized from there
LONGEST = 32  # times as long as wide: "crop" and "pad" would leave next to nothing of more
DIGEST_LENGTH = 8  # characters
# EPS would start Ghostscript, a program; of the others Pillow knows the names alone
NOT_READ = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF")
ORIENTATION = 0x0112  # in EXIF
# tags of TIFF
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL, MAX_SAMPLE_VALUE = 258, 262, 277, 281
EXTRA_SAMPLES, NO_DATA = 338, 42113
RGB_TIFF = 2  # of PHOTOMETRIC
ALPHA = (1, 2, 999)  # of EXTRA_SAMPLES, as Pillow knows them
EXTRA_BANDS = "bands beyond red, green and blue are not declared as transparency, and not used"
LARGEST = 1e30  # larger numbers mark missing values
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
PNG_KEPT = (b"tRNS", b"eXIf")  # of the chunks that a decoder may ignore
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GIT_LFS = b"version https://git-lfs"
LARGEST_CHUNK = 1 << 29  # bytes
NEARLY_WHITE = 247  # of 255


@dataclass(frozen=True)
class Picture:
    """A picture that was read from a file.

    Attributes:
        image: uint8 (H, W, 3), RGB, at the wanted size.
        size: height and width of the upright picture in its file, in pixels.
        mode: Pillow's name of its pixel format.
        format: Pillow's name of the file's format, or empty if it is registered under no name.
        digest: a hash of its pixels, whatever its name, metadata, compression and wanted size.
        scales: where its values have more than 8 bits, their type, and the values that would
            become black and white if it were the only picture; else empty.
        remark: what was not used of it, or an empty text.
    """

    image: np.ndarray
    size: tuple[int, int]
    mode: str
    format: str
    digest: str
    scales: Scales
    remark: str = ""


class _RefusedError(ValueError):
    """An intact picture cannot be used; the message says why, to follow the file's name."""


def check_resize(resize: str) -> Resize:
    """Return ``resize`` if ``resized`` knows it, else raise ValueError."""
    for known in get_args(Resize):
        if resize == known:
            return known
    raise ValueError(f"resize is {resize!r}, expected {', '.join(map(repr, get_args(Resize)))}")


def resized(
    picture: Image.Image,
    size: tuple[int, int],
    resize: Resize,
    extent: tuple[float, float] | None = None,
) -> Image.Image:
    """Resize an RGB picture by Lanczos interpolation.

    Args:
        picture: of any size.
        size: height and width, in pixels.
        resize: "crop" takes the largest central part that has the wanted proportions. It neither
            distorts nor adds anything, but cuts off the ends of the longer side. "pad" keeps the
            whole picture between grey borders; "squash" keeps it whole and distorts it.
        extent: width and height of the picture in fractions of a pixel, where a scaled decode
            rounded them up.
    """
    height, width = size
    across, down = extent or picture.size
    if resize == "crop":
        scale = min(across / width, down / height)
        left, top = (across - scale * width) / 2, (down - scale * height) / 2
        box = (left, top, left + scale * width, top + scale * height)
        return picture.resize((width, height), Image.Resampling.LANCZOS, box)
    if resize == "squash":
        return picture.resize((width, height), Image.Resampling.LANCZOS, (0, 0, across, down))
    scale = min(width / across, height / down)
    inner = max(round(scale * across), 1), max(round(scale * down), 1)
    padded = Image.new("RGB", (width, height), (128, 128, 128))
    whole = picture.resize(inner, Image.Resampling.LANCZOS, (0, 0, across, down))
    padded.paste(whole, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return padded


def read_image(
    path: str | os.PathLike,
    size: int | tuple[int, int] = 32,
    resize: Resize = "crop",
    scales: Scales | None = None,
) -> tuple[np.ndarray, str]:
    """Read an image file at the size that a network takes.

    The picture is turned upright as its EXIF data say. Transparency is laid over white, or over
    black where all that is visible is white. The first picture of an animation is read. Values of
    more than 8 bits are scaled to 0..255 as ``value_scale`` says. Broken metadata do no harm.

    A JPEG of four times the wanted size or more is decoded at an eighth, a quarter or a half of
    its size, but at no less than twice the wanted one, and resized from there. On photographs,
    that changes pixels by 0.9 of 255 on average and by 18 at most; Lanczos and bicubic
    interpolation from the full size differ by 1.5 and 19.

    Args:
        path: a file of any format and mode that Pillow can read.
        size: height and width to bring it to, or one number for both, in pixels.
        resize: "crop", "pad" or "squash", as ``resized`` explains.
        scales: for each type of values of more than 8 bits, such as "uint16", those that become
            black and white; default: the picture's own.

    Returns:
        The image, uint8 (H, W, 3), and a sentence that says what was done to it.

    Raises:
        ValueError: the file is not an image, is damaged, has more pixels than Pillow allows
            (178,956,970, twice ``PIL.Image.MAX_IMAGE_PIXELS``), or is so long and narrow that next
            to nothing of it would be left.
        OSError: it cannot be opened.
    """
    height, width = height_and_width(size)
    picture = read_picture(path, (height, width), resize, scales)
    rows, columns = picture.size
    summary = f"{printable(Path(path).name)}: {columns}x{rows} pixels, mode {picture.mode}; "
    for kind, own in picture.scales.items():
        black, white = (scales or {}).get(kind, own)
        summary += f"values from {black:,.7g} to {white:,.7g} scaled to 8 bits; "
    if picture.remark:
        summary += f"{picture.remark}; "
    if (rows, columns) == (height, width):
        return picture.image, f"{summary}not resized"
    if resize == "crop":
        scale = min(columns / width, rows / height)
        summary += f"its central {scale * width:.0f}x{scale * height:.0f} pixels resized"
    else:
        summary += {"pad": "resized and padded with grey", "squash": "resized out of shape"}[resize]
    return picture.image, f"{summary} to {width}x{height}"


def read_picture(
    path: str | os.PathLike,
    size: tuple[int, int],
    resize: Resize,
    scales: Scales | None = None,
) -> Picture:
    """Read an image file as ``read_image`` does, and return what is known about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about metadata that it can do without
        return decode_picture(path, size, resize, scales)


def decode_picture(
    path: str | os.PathLike, size: tuple[int, int], resize: Resize, scales: Scales | None = None
) -> Picture:
    """Do as ``read_picture``, but let Pillow warn: threads share the filters of warnings."""
    name = printable(os.fspath(path))
    check_resize(resize)
    path = user_path(path)
    try:
        with open(path, "rb") as file:
            return _decoded(file, size, resize, scales or {})
    except _RefusedError as error:
        raise ValueError(f"{name} {error}") from None
    except Image.DecompressionBombError:
        raise ValueError(
            f"{name} is too large, expected at most {_most_pixels():,} pixels: make it smaller, or "
            "raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from None
    except Image.UnidentifiedImageError:
        raise ValueError(f"{name} {_why_unknown(path)}") from None
    except Exception as error:  # a damaged file can fail anywhere inside its decoder
        if is_system_error(error):
            raise
        raise ValueError(f"{name} is a damaged image ({first_line(error)})") from error


def as_array(picture: Image.Image, size: tuple[int, int], resize: Resize) -> np.ndarray:
    """Return an open Pillow picture as ``read_image`` returns one from a file.

    Raises:
        ValueError: it is empty, too large or damaged, cannot be converted to RGB, or is so long
            and narrow that next to nothing of it would be left.
    """
    if not 1 <= picture.width * picture.height <= _most_pixels():
        shown = f"{picture.width}x{picture.height}"
        raise ValueError(f"the picture has {shown} pixels, expected 1 to {_most_pixels():,}")
    try:
        return _brought(picture, None, size, check_resize(resize), {}, picture.size, "").image
    except _RefusedError as error:
        raise ValueError(f"the picture {error}") from None
    except Exception as error:  # Pillow decodes it only now, and it can be damaged in any way
        if is_system_error(error):
            raise
        raise ValueError(f"the picture is damaged ({first_line(error)})") from error


def pictures_of(files: list[str], looked_at: int = 20) -> list[str]:
    """Return the files whose names end as those of pictures.

    If none does, the first files are opened instead, because pictures need no extension.
    """
    extensions = _extensions()
    suffixes = {_suffix(file) for file in files}
    known = {one for one in suffixes if one in extensions or "image/" in _media_type(one)}
    named = [one for one in files if _suffix(one) in known]
    return named or [one for one in files[:looked_at] if _is_picture(one)]


def _is_picture(path: str) -> bool:
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(file, formats=formats_read()).close()
    except Exception:  # whatever it is, Pillow does not take it for a picture
        return False
    return True


def formats_read() -> list[str]:
    """Return the formats that Pillow reads by itself now; plugins can add some at any time."""
    Image.init()
    return [name for name in Image.ID if name not in NOT_READ]


def _extensions() -> frozenset[str]:
    formats = set(formats_read())
    registered = Image.registered_extensions()
    return frozenset(suffix for suffix, name in registered.items() if name in formats)


def _suffix(path: str | os.PathLike) -> str:
    return os.path.splitext(path)[1].lower()


def _media_type(suffix: str) -> str:
    """Return the media type of a suffix, such as "image/heic", or an empty text."""
    return mimetypes.guess_type(f"a{suffix}")[0] or ""


def _most_pixels() -> int:
    return 2 * (Image.MAX_IMAGE_PIXELS or 1 << 60)


def _why_unknown(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        start = file.read(len(GIT_LFS))
    kind = _media_type(_suffix(path))
    if not start:
        return "is empty"
    if start == GIT_LFS:
        return "is a pointer of Git LFS in place of the picture: git lfs pull fetches it"
    if start[:4] in TIFF:
        return (
            "is a TIFF whose bands or values Pillow cannot read: convert it to three bands of 8 "
            "bits, with tifffile or rasterio"
        )
    if kind.startswith("image/") and _suffix(path) not in _extensions():
        return f"is of a format that Pillow does not read ({kind}): convert it to PNG or JPEG"
    return "is not an image that Pillow can read"


def _decoded(file: IO[bytes], size: tuple[int, int], resize: Resize, scales: Scales) -> Picture:
    """Read a picture, also from a PNG with damaged or very long texts.

    Pillow can only be told to ignore those (``ImageFile.LOAD_TRUNCATED_IMAGES``) together with
    missing pixels, and for the whole process.
    """
    try:
        return _read(file, size, resize, scales)
    except (ValueError, SyntaxError, OSError, zlib.error) as error:
        file.seek(0)
        if isinstance(error, _RefusedError) or file.read(len(PNG)) != PNG:
            raise
        without = _without_metadata(file)
        if without is None:
            raise
    return _read(without, size, resize, scales)


def _read(file: IO[bytes], size: tuple[int, int], resize: Resize, scales: Scales) -> Picture:
    file.seek(0)
    picture = Image.open(file, formats=formats_read())
    whole, pixels_at = picture.size, file.tell()
    side = DRAFT * max(size)
    drafted = picture.draft(picture.mode, (side, side))
    extent = whole if drafted is None else drafted[1][2:]
    colours_of_16_bits = any(";16" in str(tile[3]) for tile in picture.tile)
    picture.load()
    values = _deep_colours(picture, file) if colours_of_16_bits else None
    digest = ""
    if picture.format in ("JPEG", "MPO"):  # of the compressed pixels: it suits every scale
        file.seek(pixels_at)
        tables = repr((whole, getattr(picture, "quantization", None), _orientation(picture)))
        digest = _digest(tables.encode(), file.read())
    return _brought(picture, values, size, resize, scales, whole, digest, extent)


def _brought(
    picture: Image.Image,
    values: np.ndarray | None,
    size: tuple[int, int],
    resize: Resize,
    scales: Scales,
    whole: tuple[int, int],
    digest: str,
    extent: tuple[float, float] | None = None,
) -> Picture:
    """Convert a decoded picture to RGB, resize it and turn it upright.

    Args:
        picture: decoded.
        values: its values of 16 bits, where Pillow has kept the upper 8 alone.
        size, resize, scales: as in ``read_image``.
        whole: its width and height in its file.
        digest: its hash, or an empty text if its pixels are to be hashed.
        extent: as in ``resized``.
    """
    turn = TURNS.get(_orientation(picture))
    sideways = _orientation(picture) >= 5
    target, upright = (size[::-1], whole) if sideways else (size, whole[::-1])
    _check_proportions(whole, target, resize)
    mode, known_format = picture.mode, ""
    if picture.format in formats_read():  # all but MPO, which is opened as JPEG
        known_format = picture.format or ""
    remark = EXTRA_BANDS if _has_extra_bands(picture) else ""
    own: Scales = {}
    if values is None and (picture.mode.startswith("I") or picture.mode == "F"):
        values = np.asarray(picture)
    if values is not None:
        declared, missing = _declared(picture)
        own = {values.dtype.name: value_scale(_colours(values), declared, missing)}
        scale = {**own, **scales}[values.dtype.name]
        digest = _digest(repr((values.shape, turn)).encode(), values.tobytes())
        picture = _in_8_bits(values, scale, missing, mode in ("RGBA", "LA") and not remark)
    rgb = _to_rgb(picture, remark)
    if not digest:
        turned = rgb if turn is None else rgb.transpose(turn)
        digest = _digest(repr(turned.size).encode(), turned.tobytes())
    image = resized(rgb, target, resize, extent)
    image = image if turn is None else image.transpose(turn)
    return Picture(np.asarray(image), upright, mode, known_format, digest, own, remark)


def _digest(*contents: bytes) -> str:
    """Return a hash of 48 bits as 8 characters; a million pictures hardly share one by chance."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return base64.b64encode(digest.digest()[:6]).decode()


def _without_metadata(file: IO[bytes]) -> BytesIO | None:
    """Return a PNG without all that is not pixels, transparency or intact EXIF data.

    Returns None if there is nothing to leave out, as then something else is wrong.
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


def _orientation(picture: Image.Image) -> int:
    """Return how a picture is to be turned, as EXIF numbers it; 1, not at all, if unreadable."""
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception as error:  # it can be damaged in any way, while the pixels are good
        if is_system_error(error):
            raise
        return 1


def _check_proportions(whole: tuple[int, int], size: tuple[int, int], resize: Resize) -> None:
    """Refuse a picture of which next to nothing would be left."""
    across, down = whole[0] / size[1], whole[1] / size[0]
    longer = max(across, down) / min(across, down)
    if resize != "squash" and longer >= min(LONGEST, 2 * min(size)):
        raise _RefusedError(
            f"is {whole[0]}x{whole[1]} pixels, of which {resize!r} leaves one part in "
            f"{longer:,.0f}: cut it up, or take 'squash'"
        )


def _to_rgb(picture: Image.Image, remark: str) -> Image.Image:
    """Convert a picture of any 8-bit mode to RGB; with a remark, its fourth band is no alpha."""
    try:
        if picture.mode == "RGB":
            return picture
        if picture.mode == "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
            assert converted is not None  # as it is not done in place
            return converted
        if picture.has_transparency_data and not remark:
            return _without_transparency(picture.convert("RGBA"))
        return picture.convert("RGB")
    except (ValueError, ImageCms.PyCMSError) as error:
        raise _RefusedError(
            f"has mode {picture.mode}, which cannot be converted to RGB ({first_line(error)})"
        ) from error


def _without_transparency(picture: Image.Image) -> Image.Image:
    """Lay a picture over white, or over black if it is white itself, as some icons are."""
    white, black = (Image.new("RGBA", picture.size, colour) for colour in ("white", "black"))
    laid = Image.alpha_composite(white, picture).convert("RGB")
    if np.asarray(laid).min() > NEARLY_WHITE and np.ptp(np.asarray(picture)[..., 3]) > 0:
        laid = Image.alpha_composite(black, picture).convert("RGB")
    return laid


def _tiff_numbers(picture: Image.Image, tag: int) -> tuple[float, ...]:
    """Return the numbers of a TIFF's tag; none if it has no such tag, or is of another format."""
    tags: Any = getattr(picture, "tag_v2", {})
    value = tags.get(tag)
    try:
        return tuple(float(one) for one in (value if isinstance(value, tuple) else (value,)))
    except (TypeError, ValueError):
        return ()


def _has_extra_bands(picture: Image.Image) -> bool:
    """Return whether a TIFF has bands beyond RGB that it does not declare as transparency."""
    samples = _tiff_numbers(picture, SAMPLES_PER_PIXEL)
    extra = _tiff_numbers(picture, EXTRA_SAMPLES)
    is_rgb = _tiff_numbers(picture, PHOTOMETRIC) == (RGB_TIFF,)
    return is_rgb and max(samples, default=0) > 3 and not set(extra) & set(ALPHA)


def _declared(picture: Image.Image) -> tuple[float | None, float | None]:
    """Return the value that a TIFF declares to be white, and the one that marks missing values."""
    bits, white, missing = (
        next(iter(_tiff_numbers(picture, tag)), None)
        for tag in (BITS_PER_SAMPLE, MAX_SAMPLE_VALUE, NO_DATA)
    )
    by_bits = 2**bits - 1 if bits and 8 < bits < 16 else None
    return white or by_bits, missing


def _deep_colours(picture: Image.Image, file: IO[bytes]) -> np.ndarray | None:
    """Return colours of 16 bits, uint16 (H, W, 3 or 4), of which Pillow keeps the upper 8 bits.

    Returns None where OpenCV cannot read them either.
    """
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return None
    import cv2  # here, as few pictures need it

    file.seek(0)
    content = np.frombuffer(file.read(), np.uint8)
    values = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    shape = (picture.height, picture.width)
    if values is None or values.dtype != np.uint16 or values.shape[:2] != shape or values.ndim != 3:
        return None
    return values[..., [2, 1, 0, 3][: values.shape[2]]]  # OpenCV has BGR


def value_scale(
    values: np.ndarray, declared: float | None = None, missing: float | None = None
) -> tuple[float, float]:
    """Return which values of a picture of more than 8 bits become black and white.

    White is the value that the file declares, unless that is too small, or so large that the
    picture would be nearly black; else the largest value. Black is 0, or the smallest value if
    that is negative. Pictures that are to be compared need one scale: ``common_scales``.

    Args:
        values: of any shape and type; NaN and infinite ones count as missing.
        declared: the value that the file declares to be white.
        missing: the value that marks missing ones.

    Raises:
        ValueError: all values are missing.
    """
    known = values[_known(values, missing)]
    if not known.size:
        raise _RefusedError("has no finite value")
    low, high = min(0.0, float(known.min())), float(known.max())
    if declared is not None and high <= declared < 16 * high:
        high = declared
    return low, high


def common_scales(scales: Iterable[Scales]) -> Scales:
    """Return for each type of values the one scale that spans those of all pictures."""
    common: Scales = {}
    for own in scales:
        for kind, (black, white) in own.items():
            low, high = common.get(kind, (black, white))
            common[kind] = min(low, black), max(high, white)
    return common


def _colours(values: np.ndarray) -> np.ndarray:
    """Return the values without those of a fourth band."""
    return values[..., :3] if values.ndim == 3 else values


def _known(values: np.ndarray, missing: float | None) -> np.ndarray:
    if values.dtype.kind == "f":
        return (abs(values) < LARGEST) & (values != (np.nan if missing is None else missing))
    return np.full(values.shape, True) if missing is None else values != missing


def _in_8_bits(
    values: np.ndarray, scale: tuple[float, float], missing: float | None, has_alpha: bool
) -> Image.Image:
    """Scale values to 0..255; missing ones become black, infinite ones the nearest value."""
    black, white = scale
    colours = _colours(values).astype(np.float64)
    usable = _known(colours, missing) | (colours >= LARGEST)
    colours = np.where(usable, colours.clip(black, white), black)
    scaled = (255 * (colours - black) / max(white - black, 1e-300)).clip(0, 255).astype(np.uint8)
    if has_alpha and values.ndim == 3 and values.shape[2] == 4:
        scaled = np.dstack([scaled, (values[..., 3] // 257).astype(np.uint8)])
    return Image.fromarray(scaled)
