"""Labelled images in memory, a subset of them, and a single image from a file."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MAX_SIDE = 8192  # pixels: a larger photograph is refused before it fills the memory


@dataclass(frozen=True, eq=False)
class ImageData:
    """A training and a test set of labelled images, checked when it is made.

    Attributes:
        train_images, test_images: uint8 (N, H, W, 3), RGB, 0..255; both of the same H and W.
        train_labels, test_labels: int64 (N,), each in 0..C-1.
        class_names: the C names, by label.
        name: what these images are, for print-outs and plot titles.
        mean_and_std: of each channel, for pixels in [0, 1], by which the images are normalised;
            computed from the training images if None.

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
    mean_and_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            check_images(images, f"{part}_images")
            if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
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
        if not self.class_names:
            raise ValueError("class_names is empty, expected the name of each class")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                f"test_images are {self.test_images.shape[1:]}, train_images "
                f"{self.train_images.shape[1:]}: both must have one size"
            )
        if self.mean_and_std is None:
            object.__setattr__(self, "mean_and_std", _mean_and_std(self.train_images))

    def __str__(self) -> str:
        height, width = self.train_images.shape[1:3]
        return (
            f"{self.name}: {len(self.train_images):,} training and {len(self.test_images):,} test "
            f"images of {height}x{width} pixels in {len(self.class_names)} classes"
        )


def _mean_and_std(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of uint8 images, scaled to [0, 1]."""
    counts = np.zeros((3, 256))
    for start in range(0, len(images), 1000):  # in parts: never a second copy of the data
        part = images[start : start + 1000]
        for channel in range(3):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    values, weights = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt(weights @ values**2 - mean**2)
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
        mean_and_std=None,
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
        with open(path, "rb") as file, Image.open(file) as picture:
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
    except (OSError, SyntaxError, EOFError) as error:  # what Pillow raises in the middle of a file
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is a damaged image ({error})") from error
    scale = min(upright.width / width, upright.height / height)
    told = (
        f"{Path(path).name}: {upright.width}x{upright.height} pixels, mode {mode}; its central "
        f"{scale * width:.0f}x{scale * height:.0f} pixels resized to {width}x{height}"
    )
    return np.asarray(fitted), told


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
