"""Read picture files of any format, at the size of a network's images."""

import base64
import contextlib
import hashlib
import logging
import math
import mimetypes
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin
from PIL.ExifTags import Base

from pytorch_vision.runtime.checks import height_and_width
from pytorch_vision.runtime.files import is_system_error, user_path
from pytorch_vision.runtime.text import first_line, printable

Resize = Literal["crop", "pad", "squash"]
ImageFile = str | os.PathLike | bytes | IO[bytes]  # a path, the content, or an open binary file
ImageLike = ImageFile | Image.Image
Scale = tuple[float, float]  # the values that become black and white
Scales = dict[str, Scale]  # by their type, such as "uint16"
MAX_SIDE = 8192  # pixels: the largest image that a network may ask for
WHOLE = 1 << 20  # pixels above which a JPEG may be decoded smaller, and is hashed compressed
DRAFT = 2  # a larger JPEG is decoded at this many times the target size or more
LONGEST = 32  # "crop" and "pad" refuse aspect ratios this many times the target's
DIGEST_LENGTH = 8  # characters of base64, with 6 bits each
LOOKED_AT = 20  # files that are opened to find out whether they are pictures
# EPS would start Ghostscript, a program; of the others Pillow knows only the names
NOT_READ = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF")
NO_DATA = 42113  # GDAL's tag of TIFF: the number that marks missing values
MPO_ENTRIES = 0xB002  # tag of the pictures in a file of several JPEGs
RGB_TIFF, APART = 2, 2  # of PhotometricInterpretation, and of PlanarConfiguration
ALPHA = (1, 2, 999)  # of ExtraSamples, as Pillow knows them
PAGES = "only the first of several pages is read"
EXTRA_BANDS = "bands beyond red, green and blue are not declared as transparency, and not used"
TRANSPARENT = "transparency (the alpha band) is composited over white or black"
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
DEEP_CODECS = ("ppm", "ppm_plain", "jpeg2k")  # Pillow's decoders that may reduce 16 bits to 8
HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GIT_LFS = b"version https://git-lfs"
NEARLY_WHITE = 247  # of 255


@dataclass(frozen=True)
class Picture:
    """A picture that was read from a file.

    Attributes:
        image: uint8 (H, W, 3), RGB, at the target size.
        size: height and width of the upright picture in its file, in pixels.
        mode: Pillow's name for its pixel format.
        digest: a hash of its pixels, whatever its name, metadata, format, compression and target
            size; of a JPEG of more than a million pixels, a hash of the compressed pixels.
        kind: the type of its values if they have more than 8 bits, such as "uint16"; else empty.
        value_range: the smallest and the largest of such values in this picture.
        scale: the values made black and white.
        remark: what was done to bands beyond the colours, or empty.
    """

    image: np.ndarray
    size: tuple[int, int]
    mode: str
    digest: str
    kind: str = ""
    value_range: Scale = (0.0, 0.0)
    scale: Scale = (0.0, 0.0)
    remark: str = ""


@dataclass(frozen=True)
class _Decoded:
    """A picture at full size or as its decoder scaled it, not yet turned upright.

    Attributes:
        picture: in any mode.
        whole: width and height in its file.
        extent: its width and height before a scaled decode rounded them up to whole pixels.
        values: its colours of more than 8 bits, (H, W, C), if ``picture`` lacks them.
        digest: its hash, or empty if its pixels are still to be hashed.
    """

    picture: Image.Image
    whole: tuple[int, int]
    extent: tuple[float, float]
    values: np.ndarray | None = None
    digest: str = ""


class PictureError(ValueError):
    """A picture cannot be read, or not be used; ``reason`` follows its name in the message."""

    def __init__(self, reason: str, name: str = "the image") -> None:
        super().__init__(reason, name)  # by which it is made again in another process
        self.reason, self.name = reason, name

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


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
    extent: tuple[float, float],
) -> Image.Image:
    """Resize an RGB picture by Lanczos interpolation.

    Args:
        picture: of any size.
        size: target height and width, in pixels.
        resize: "crop" takes the largest central part with the proportions of ``size``. It neither
            distorts nor adds anything, but cuts off the ends of the longer side. "pad" keeps the
            whole picture between grey borders; "squash" keeps it whole and distorts it.
        extent: width and height, before a scaled decode rounded them up.
    """
    (height, width), (across, down) = size, extent
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
    path: ImageLike,
    size: int | tuple[int, int] = 32,
    resize: Resize = "crop",
    scales: Scales | None = None,
) -> tuple[np.ndarray, str]:
    """Read an image file, and resize it for a network.

    The picture is turned upright by its EXIF orientation. Transparency is composited over white,
    or over black if all visible pixels are white. An animation gives its first frame. Values of
    more than 8 bits are scaled to 0..255. Broken metadata are ignored.

    A JPEG of more than a million pixels, and at least four times the target size, is decoded at an
    eighth, a quarter or a half of its size, but at no less than twice the target size, and resized
    from there. On photographs, that changes pixels by 0.9 of 255 on average and by 18 at most; for
    comparison, Lanczos and bicubic interpolation from the full size differ by 1.5 and 19.

    Args:
        path: a file of any format and mode that Pillow can read; its bytes; the file, opened for
            reading in binary mode; or a Pillow image.
        size: target height and width, or one number for both, in pixels.
        resize: "crop", "pad" or "squash", as ``resized`` explains.
        scales: for each type of values of more than 8 bits, such as "uint16", those that become
            black and white; default: from 0, or a negative smallest value, to the picture's
            largest.

    Returns:
        The image, uint8 (H, W, 3), and a sentence that says what was done to it.

    Raises:
        ValueError: the file is not an image, is damaged, has more pixels than Pillow allows
            (178,956,970, twice ``PIL.Image.MAX_IMAGE_PIXELS``), or is so long and narrow that
            "crop" or "pad" would leave almost nothing of it.
        OSError: it cannot be opened.
    """
    height, width = height_and_width(size)
    with quiet():
        picture = decode_picture(path, (height, width), resize, scales)
    rows, columns = picture.size
    summary = f"{_name(path, only_file=True)}: {columns}x{rows} pixels, mode {picture.mode}; "
    if picture.kind:
        black, white = picture.scale
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow: ignore warnings, and drop log records that no handler takes."""
    logger, handler = logging.getLogger("PIL"), logging.NullHandler()
    with warnings.catch_warnings(action="ignore"):
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)


def decode_picture(
    path: ImageLike, size: tuple[int, int], resize: Resize, scales: Scales | None = None
) -> Picture:
    """Read an image file as ``read_image`` does, and return what is known about it.

    Call it inside one ``quiet`` for all threads.
    """
    name = _name(path)
    check_resize(resize)
    try:
        if isinstance(path, Image.Image):
            return _brought(_decode_pillow(path), size, resize, scales or {})
        with _opened(path) as file:
            return _brought(_decode(file, size), size, resize, scales or {})
    except PictureError as error:
        raise PictureError(error.reason, name) from None
    except Image.DecompressionBombError:
        reason = (
            f"is too large, expected at most {_most_pixels():,} pixels: make it smaller, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS"
        )
        raise PictureError(reason, name) from None
    except Image.UnidentifiedImageError:
        raise PictureError(_why_unknown(path), name) from None
    except Exception as error:  # a damaged file can fail anywhere inside its decoder
        if is_system_error(error):
            raise
        raise PictureError(f"is a damaged image ({first_line(error)})", name) from error


def _name(path: ImageLike, only_file: bool = False) -> str:
    """Return the name of an image file for messages."""
    if not isinstance(path, (str, os.PathLike)):
        return "the image"
    return printable(Path(path).name if only_file else os.fspath(path))


def _opened(path: ImageFile) -> IO[bytes]:
    if isinstance(path, (str, os.PathLike)):
        return open(user_path(path), "rb")
    if isinstance(path, bytes):
        return BytesIO(path)
    if not hasattr(path, "read"):
        raise PictureError(
            f"is of type {type(path).__name__}, expected a path, bytes, an open binary file or a "
            "Pillow image"
        )
    return BytesIO(path.read())


def pictures_of(files: list[str]) -> list[str]:
    """Return the files with the extension of a picture format.

    It also opens the first files without an extension, or the first of all if none has a picture's,
    and returns all files with the extension (or lack of it) of a picture found.
    """
    extensions = _extensions()
    suffixes = {_suffix(file) for file in files}
    known = {one for one in suffixes if one in extensions or "image/" in _media_type(one)}
    tried = [one for one in files if not known or not _letters(one)]
    found = {_letters(one) for one in tried[:LOOKED_AT] if _is_picture(one)}
    return [one for one in files if _suffix(one) in known or _letters(one) in found]


def _letters(file: str) -> str:
    """Return a file's suffix, or an empty string if it is a number, as in scan.0001."""
    suffix = _suffix(file)
    return suffix if suffix[1:2].isalpha() else ""


def _is_picture(path: str) -> bool:
    try:
        with open(path, "rb") as file, quiet():
            Image.open(file, formats=formats_read()).close()
    except Exception:  # whatever it is, Pillow cannot open it as a picture
        return False
    return True


def formats_read() -> list[str]:
    """Return the formats that Pillow can read now; plugins can add some at any time."""
    Image.init()
    return [name for name in Image.ID if name not in NOT_READ]


def _extensions() -> frozenset[str]:
    formats = set(formats_read())
    registered = Image.registered_extensions()
    return frozenset(suffix for suffix, name in registered.items() if name in formats)


def _suffix(path: str | os.PathLike) -> str:
    return os.path.splitext(path)[1].lower()


def _media_type(suffix: str) -> str:
    """Return the media type of a suffix, such as "image/heic", or an empty string."""
    return mimetypes.guess_type(f"a{suffix}")[0] or ""


def _most_pixels() -> int:
    return 2 * (Image.MAX_IMAGE_PIXELS or 1 << 60)


def _why_unknown(path: ImageLike) -> str:
    if not isinstance(path, (str, os.PathLike)):
        return "is not an image that Pillow can read"
    with open(user_path(path), "rb") as file:
        start = file.read(len(GIT_LFS))
    kind = _media_type(_suffix(path))
    if not start:
        return "is empty"
    if start == GIT_LFS:
        return "is a Git LFS pointer in place of the picture: git lfs pull fetches the picture"
    if start[:4] in TIFF:
        return (
            "is a TIFF whose bands or values Pillow cannot read, or a camera's raw file, which "
            "begins with a thumbnail: convert it to three bands of 8 bits, with tifffile or "
            "rasterio, or rawpy"
        )
    if start[4:12] in HEIC:
        return (
            "is HEIC, which Pillow cannot read: convert it to PNG or JPEG, or register pillow-heif"
        )
    if kind.startswith("image/") and _suffix(path) not in _extensions():
        return f"has a format that Pillow cannot read ({kind}): convert it to PNG or JPEG"
    return "is not an image that Pillow can read"


def _decode(file: IO[bytes], size: tuple[int, int]) -> _Decoded:
    """Decode a picture, even a PNG with damaged or very long text chunks.

    Pillow's own setting, ``ImageFile.LOAD_TRUNCATED_IMAGES``, would also ignore missing pixels, and
    applies to the whole process.
    """
    try:
        return _decode_file(file, size)
    except (ValueError, SyntaxError, OSError, zlib.error):
        file.seek(0)
        if file.read(len(PNG)) != PNG:
            raise
    return _decode_file(BytesIO(_without_metadata(PNG + file.read())), size)


def _decode_file(file: IO[bytes], size: tuple[int, int]) -> _Decoded:
    file.seek(0)
    picture = Image.open(file, formats=formats_read())
    whole, pixels_at = picture.size, file.tell()
    if _is_misread(picture):
        raise Image.UnidentifiedImageError
    side, is_large = DRAFT * max(size), math.prod(whole) > WHOLE
    drafted = picture.draft(picture.mode, (side, side)) if is_large else None
    extent = whole if drafted is None else drafted[1][2:]
    may_have_deep_colours = any(
        tile[0] in DEEP_CODECS or ";16" in str(tile[3]) for tile in picture.tile
    )
    picture.load()
    digest, values = "", None
    if is_large and picture.format in ("JPEG", "MPO"):
        # hash the compressed pixels, the same at every scale
        if mpo := getattr(picture, "mpinfo", None):  # several pictures; the first is read
            file.seek(0)
            JpegImagePlugin.JpegImageFile(file)
            pixels_at = file.tell()
        file.seek(pixels_at)
        length = mpo[MPO_ENTRIES][0]["Size"] - pixels_at if mpo else -1
        pixels = file.read(length if length > 0 else -1)  # ignore an invalid size
        facts = (whole, getattr(picture, "quantization", None), _orientation(picture))
        digest = _digest(repr(facts).encode(), pixels)
    elif may_have_deep_colours and picture.mode in ("RGB", "RGBA", "LA"):
        file.seek(0)
        values = _deep_colours(file.read(), picture.size)
    return _Decoded(picture, whole, extent, values, digest)


def _orientation(picture: Image.Image) -> int:
    """Return the orientation in EXIF's numbers; 1, upright, if it is missing or unreadable."""
    try:
        return int(picture.getexif().get(Base.Orientation, 1))
    except Exception:  # EXIF can be damaged in any way while the pixels are good
        return 1


def _decode_pillow(picture: Image.Image) -> _Decoded:
    if not 1 <= picture.width * picture.height <= _most_pixels():
        shown = f"{picture.width}x{picture.height}"
        raise PictureError(f"has {shown} pixels, expected 1 to {_most_pixels():,}")
    return _Decoded(picture, picture.size, picture.size)


def _without_metadata(content: bytes) -> bytes:
    """Return a PNG with only its pixels, palette and transparency: critical chunks, and tRNS."""
    kept, start = [PNG], len(PNG)
    while start < len(content):
        length, name = struct.unpack(">I4s", content[start : start + 8].ljust(8, b"\0"))
        end = start + length + 12
        if name[:1].isupper() or name == b"tRNS":
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _brought(decoded: _Decoded, size: tuple[int, int], resize: Resize, scales: Scales) -> Picture:
    """Convert a decoded picture to RGB, resize it and turn it upright."""
    picture, whole, values = decoded.picture, decoded.whole, decoded.values
    orientation = _orientation(picture)
    turn, sideways = TURNS.get(orientation), orientation >= 5
    target, upright = (size[::-1], whole) if sideways else (size, whole[::-1])
    _check_proportions(whole, target, resize)
    mode, digest = picture.mode, decoded.digest
    has_extra_bands = _has_extra_bands(picture)
    value_range, scale = (0.0, 0.0), (0.0, 0.0)
    if mode.startswith(("I", "F")):
        values = np.asarray(picture)
    kind = "" if values is None else values.dtype.name
    if values is not None:
        missing = (*_tiff_numbers(picture, NO_DATA), np.nan)[0]
        scaled, value_range, scale = _in_8_bits(values, missing, scales.get(kind))
        digest = _digest(repr((values.shape, turn)).encode(), values.tobytes())
        if mode in ("RGBA", "LA") and not has_extra_bands:
            scaled = np.dstack([scaled, (values[..., 3:] // 257).astype(np.uint8)])
        picture = Image.fromarray(scaled)
    rgb, remark = _to_rgb(picture, has_extra_bands)
    if decoded.picture.format == "TIFF" and getattr(decoded.picture, "is_animated", False):
        remark = PAGES + (f"; {remark}" if remark else "")
    if not digest:
        turned = rgb if turn is None else rgb.transpose(turn)
        digest = _digest(repr(turned.size).encode(), turned.tobytes())
    image = resized(rgb, target, resize, decoded.extent)
    image = image if turn is None else image.transpose(turn)
    return Picture(np.asarray(image), upright, mode, digest, kind, value_range, scale, remark)


def _digest(*contents: bytes) -> str:
    """Return a hash of 48 bits, which a million pictures are unlikely to share."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return base64.b64encode(digest.digest()).decode()[:DIGEST_LENGTH]


def _check_proportions(whole: tuple[int, int], size: tuple[int, int], resize: Resize) -> None:
    """Refuse a picture of which almost nothing would be left."""
    across, down = whole[0] / size[1], whole[1] / size[0]
    longer = max(across, down) / min(across, down)
    if resize != "squash" and longer >= min(LONGEST, 2 * min(size)):
        raise PictureError(
            f"is {whole[0]}x{whole[1]} pixels, of which {resize!r} leaves one part in "
            f"{longer:,.0f}: cut it up, or set resize to 'squash'"
        )


def _to_rgb(picture: Image.Image, has_extra_bands: bool) -> tuple[Image.Image, str]:
    """Convert a picture of any 8-bit mode to RGB; also return what was done to further bands."""
    if picture.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only in place
        return converted, ""
    if picture.mode != "RGB" and picture.has_transparency_data and not has_extra_bands:
        layers = picture.convert("RGBA")
        opacity = layers.getchannel("A").getextrema()
        if opacity in ((255, 255), (0, 0)):  # many programs leave an unused band at zero
            return layers.convert("RGB"), ""
        return _without_transparency(layers), TRANSPARENT
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    return rgb, EXTRA_BANDS if has_extra_bands else ""


def _without_transparency(picture: Image.Image) -> Image.Image:
    """Composite a picture over white, or over black if it is white itself, as some icons are."""
    white, black = (Image.new("RGBA", picture.size, colour) for colour in ("white", "black"))
    laid = Image.alpha_composite(white, picture).convert("RGB")
    if np.asarray(laid).min() > NEARLY_WHITE and np.ptp(np.asarray(picture)[..., 3]) > 0:
        laid = Image.alpha_composite(black, picture).convert("RGB")
    return laid


def _tiff_numbers(picture: Image.Image, tag: int) -> tuple[float, ...]:
    """Return the numbers in a TIFF's tag; empty without this tag, or in another format."""
    tags: Any = getattr(picture, "tag_v2", {})
    value = tags.get(tag)
    try:
        return tuple(float(one) for one in (value if isinstance(value, tuple) else (value,)))
    except (TypeError, ValueError):
        return ()


def _has_extra_bands(picture: Image.Image) -> bool:
    """Return whether a TIFF has bands beyond RGB that it does not declare as transparency."""
    samples = _tiff_numbers(picture, Base.SamplesPerPixel)
    extra = _tiff_numbers(picture, Base.ExtraSamples)
    is_rgb = _tiff_numbers(picture, Base.PhotometricInterpretation) == (RGB_TIFF,)
    return is_rgb and max(samples, default=0) > 3 and not set(extra) & set(ALPHA)


def _is_misread(picture: Image.Image) -> bool:
    """Return whether Pillow would misread a TIFF.

    Camera raw files begin with a thumbnail. If 16-bit bands are stored one after the other, Pillow
    takes their bytes for colours.
    """
    is_thumbnail = any(int(kind) & 1 for kind in _tiff_numbers(picture, Base.NewSubfileType))
    is_deep = max(_tiff_numbers(picture, Base.BitsPerSample), default=0) > 8
    is_apart = _tiff_numbers(picture, Base.PlanarConfiguration) == (APART,)
    return is_thumbnail or (is_deep and is_apart and len(picture.getbands()) > 1)


def _deep_colours(content: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """Return 16-bit colours, uint16 (H, W, 3 or 4), of which Pillow keeps only the upper 8 bits.

    Returns None if the colours have 8 bits, or OpenCV cannot read them.
    """
    import cv2  # here, as few pictures need it

    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        return None
    if values.shape[1::-1] != size:
        return None
    return values[..., [2, 1, 0, 3][: values.shape[2]]]  # OpenCV has BGR


def _in_8_bits(
    values: np.ndarray, missing: float, scale: Scale | None
) -> tuple[np.ndarray, Scale, Scale]:
    """Scale values to 0..255; NaN and ``missing`` become black, infinite ones black or white.

    Returns:
        uint8 (H, W) or (H, W, 3), without a fourth band; the smallest and the largest finite value;
        and the scale, by default from 0, or a negative smallest value, to the largest.
    """
    colours = values[..., :3] if values.ndim == 3 else values
    colours = np.where(colours == missing, np.nan, colours).astype(np.float64)
    known = colours[abs(colours) < LARGEST]
    if not known.size:
        raise PictureError("has no finite value")
    low, high = float(known.min()), float(known.max())
    black, white = scale = scale or (min(0.0, low), high)
    colours = np.where(np.isnan(colours), black, colours.clip(black, white))
    scaled = 255 * (colours - black) / max(white - black, 1e-300)
    return scaled.clip(0, 255).astype(np.uint8), (low, high), scale
