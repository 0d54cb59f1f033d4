"""Labelled images in memory, a subset of them, and a single image from a file."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pytorch_vision.data.errors import is_of_the_system

MeanAndStd = tuple[tuple[float, ...], tuple[float, ...]]
MAX_SIDE = 8192  # pixels: a larger photograph is refused before it fills the memory


@dataclass(frozen=True, eq=False)
class ImageData:
    """A training and a test set of labelled images, checked when it is made.

    Attributes:
        train_images, test_images: uint8 (N, H, W, 3), RGB, 0..255; both of the same H and W.
        train_labels, test_labels: int64 (N,), each in 0..C-1; other whole numbers are converted.
        class_names: the C names, by label; a list becomes a tuple.
        name: what these images are, for print-outs and plot titles.
        mean_and_std: of each channel, for pixels in [0, 1], by which the images are normalised;
            computed from the training images if None. A channel that never changes has
            deviation 1.

    Raises:
        ValueError: an array has another shape, type or label; the message says which and what
            was expected.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    mean_and_std: MeanAndStd = None  # type: ignore[assignment]  # never None once it is made

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", check_class_names(self.class_names))
        for part in ("train", "test"):
            images = _as_array(getattr(self, f"{part}_images"), f"{part}_images")
            labels = _as_array(getattr(self, f"{part}_labels"), f"{part}_labels")
            check_images(images, f"{part}_images")
            if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{part}_labels is {labels.dtype} of shape {labels.shape}, "
                    f"expected int64 {images.shape[:1]}, one label for each image"
                )
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
            if wrong.size:
                raise ValueError(
                    f"{part}_labels[{wrong[0]}] is {labels[wrong[0]]}, expected a class in "
                    f"0..{len(self.class_names) - 1}"
                )
            object.__setattr__(self, f"{part}_images", images)
            object.__setattr__(self, f"{part}_labels", labels.astype(np.int64, copy=False))
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                f"test_images are {self.test_images.shape[1:]}, train_images "
                f"{self.train_images.shape[1:]}: both must have one size"
            )
        if self.mean_and_std is None:
            object.__setattr__(self, "mean_and_std", _mean_and_std(self.train_images))
        else:
            object.__setattr__(self, "mean_and_std", check_mean_and_std(self.mean_and_std))

    def __str__(self) -> str:
        height, width = self.train_images.shape[1:3]
        return (
            f"{self.name}: {len(self.train_images):,} training and {len(self.test_images):,} test "
            f"images of {height}x{width} pixels in {len(self.class_names)} classes"
        )


def _as_array(values: Any, name: str) -> np.ndarray:
    """Return values as an array, which is not copied if it is one."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}; all must have one shape") from None


def check_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple.

    Raises:
        ValueError: there are none, or they are no strings; a single string is not its letters.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"class_names is {names!r}, expected a sequence of names")
    if not len(names):
        raise ValueError("class_names is empty, expected the name of each class")
    return tuple(names)


def check_mean_and_std(values: Sequence[Sequence[float]]) -> MeanAndStd:
    """Return mean and standard deviation of three channels as tuples.

    Raises:
        ValueError: they are not twice three finite numbers, or a deviation is not positive.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (2, 3) or not np.isfinite(array).all() or not (array[1] > 0).all():
        raise ValueError(
            f"mean_and_std is {values!r}, expected three means and three positive deviations"
        )
    mean, std = array.tolist()
    return tuple(mean), tuple(std)


def _mean_and_std(images: np.ndarray) -> MeanAndStd:
    """Return mean and standard deviation of each channel of uint8 images, scaled to [0, 1]."""
    counts = np.zeros((3, 256))
    for start in range(0, len(images), 1000):  # in parts: never a second copy of the data
        part = images[start : start + 1000]
        for channel in range(3):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    values, weights = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt((weights @ values**2 - mean**2).clip(0))
    std[std < 1e-6] = 1.0  # of a channel that never changes only rounding is left
    return tuple(mean.tolist()), tuple(std.tolist())


def fingerprint(data: ImageData) -> str:
    """Return the SHA-256 of all images and labels, as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Raise ValueError unless ``images`` is uint8 of shape (N, H, W, 3) with N > 0."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise ValueError(
            f"{name} is {images.dtype} of shape {images.shape}, expected uint8 (N, H, W, 3) "
            "with at least one image"
        )


def balanced_indices(labels: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` indices into ``labels``, in order, the first ones of every class alike.

    Where ``count`` is no multiple of the number of classes, the lower labels have one more.

    Raises:
        ValueError: ``count`` is not in 1..len(labels).
    """
    if not 1 <= count <= len(labels):
        raise ValueError(f"count is {count}, expected 1 to {len(labels)} images")
    nth_of_its_class = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        nth_of_its_class[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, nth_of_its_class))[:count])


def subset(data: ImageData, count: int) -> ImageData:
    """Return the same data with only ``count`` training images, taken evenly from the classes.

    Raises:
        ValueError: ``count`` is not in 1..the number of training images.
    """
    indices = balanced_indices(data.train_labels, count)
    if len(indices) == len(data.train_labels):
        return data
    return replace(
        data,
        train_images=data.train_images[indices],
        train_labels=data.train_labels[indices],
        name=f"{count:,} of {data.name}",
        mean_and_std=None,  # type: ignore[arg-type]  # to be computed
    )


def read_image(path: str | os.PathLike, size: tuple[int, int] = (32, 32)) -> tuple[np.ndarray, str]:
    """Read any image file and bring it to the size that a network was trained on.

    The picture is turned upright as its file says, transparency is laid over white, the largest
    central part of the wanted shape is cut out, and that is resized (Lanczos).

    Args:
        path: a file that Pillow can read, of any mode.
        size: height and width to bring it to.

    Returns:
        The image, uint8 (H, W, 3), and a sentence that tells what was done to it.

    Raises:
        ValueError: the file is no image, is damaged, or is larger than 8,192 pixels a side.
        OSError: it cannot be opened.
    """
    height, width = size
    try:
        with open(path, "rb") as file, Image.open(file, formats=_formats()) as picture:
            if max(picture.size) > MAX_SIDE:
                raise Image.DecompressionBombError
            mode, upright = picture.mode, ImageOps.exif_transpose(picture)
            fitted = ImageOps.fit(_to_rgb(upright), (width, height), Image.Resampling.LANCZOS)
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path} is too large, expected at most {MAX_SIDE:,} pixels a side; make it smaller"
        ) from None
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow can read") from None
    except Exception as error:  # a damaged file can fail anywhere inside its decoder
        if is_of_the_system(error):
            raise
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is a damaged image ({reason})") from error
    scale = min(upright.width / width, upright.height / height)
    told = (
        f"{Path(path).name}: {upright.width}x{upright.height} pixels, mode {mode}; its central "
        f"{scale * width:.0f}x{scale * height:.0f} pixels resized to {width}x{height}"
    )
    return np.asarray(fitted), told


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
