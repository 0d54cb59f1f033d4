"""Picture files of any format, brought to the size that a network wants."""

import os
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from pytorch_vision.runtime.files import is_system_error

Resize = Literal["crop", "pad", "squash"]
MAX_SIDE = 8192  # pixels: a larger photograph is refused before it fills the memory


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
    path: str | os.PathLike, size: tuple[int, int] = (32, 32), resize: Resize = "crop"
) -> tuple[np.ndarray, str]:
    """Read any image file and bring it to the size that a network was trained on.

    The picture is turned upright as its file says, and transparency is laid over white.

    Args:
        path: a file that Pillow can read, of any mode.
        size: height and width to bring it to.
        resize: how, as ``resized`` has it.

    Returns:
        The image, uint8 (H, W, 3), and a sentence that says what was done to it.

    Raises:
        ValueError: the file is no image, is damaged, or is larger than 8,192 pixels a side.
        OSError: it cannot be opened.
    """
    height, width = size
    check_resize(resize)
    try:
        with open(path, "rb") as file, Image.open(file, formats=_formats()) as picture:
            if max(picture.size) > MAX_SIDE:
                raise Image.DecompressionBombError
            mode, upright = picture.mode, ImageOps.exif_transpose(picture)
            image = np.asarray(resized(_to_rgb(upright), size, resize))
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path} is too large, expected at most {MAX_SIDE:,} pixels a side; make it smaller"
        ) from None
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow can read") from None
    except Exception as error:  # a damaged file can fail anywhere inside its decoder
        if is_system_error(error):
            raise
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is a damaged image ({reason})") from error
    summary = f"{Path(path).name}: {upright.width}x{upright.height} pixels, mode {mode}; "
    if resize == "crop":
        scale = min(upright.width / width, upright.height / height)
        summary += f"its central {scale * width:.0f}x{scale * height:.0f} pixels resized"
    else:
        summary += {"pad": "resized and padded with grey", "squash": "resized out of shape"}[resize]
    return image, f"{summary} to {width}x{height}"


def _formats() -> list[str]:
    """Return what Pillow reads by itself; for EPS it would start Ghostscript, a program."""
    Image.init()
    return [name for name in Image.ID if name != "EPS"]


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Bring any mode to RGB: 16 bits become 8, and transparency becomes white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        top = 1.0 if picture.mode == "F" else 65_535
        scaled = (255 * values / max(top, values.max())).clip(0, 255)
        picture = Image.fromarray(scaled.astype(np.uint8))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture.convert("RGB")
