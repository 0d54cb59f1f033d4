"""Inference: from images to logits, without augmentation, in float32 by default."""

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pytorch_vision.data import Normalization, eval_batches, read_image
from pytorch_vision.data.image_files import ImageLike, Resize, Scales
from pytorch_vision.models.adapter import Adapter, Autocast
from pytorch_vision.models.module_utils import device_of, evaluating
from pytorch_vision.models.resnet import SMALLEST
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.devices import cudnn_settings, device_settings
from pytorch_vision.runtime.files import user_path

BATCH, CPU_BATCH = 500, 64  # images per batch, at most
PIXELS, CPU_PIXELS = 2**20, 2**18  # per batch, at most
IMAGE_TYPES = (str, os.PathLike, bytes, Image.Image)  # and open binary files


def inference_machine(machine: Machine | None = None) -> Machine:
    """Return the machine for predictions and tests, in float32 unless a precision is set.

    In lower precision, an image's probabilities would depend on the size of its batch, as kernels
    round in different orders.
    """
    machine = machine or Machine()
    return replace(machine, precision="32-true") if machine.precision == "auto" else machine


def precision_of(machine: Machine) -> Autocast:
    """Return a function that returns the autocast context for a machine's precision."""
    if machine.chosen_precision == "32-true":
        return contextlib.nullcontext
    dtype = torch.float16 if machine.chosen_precision == "16-mixed" else torch.bfloat16
    return lambda: torch.autocast(machine.chosen_accelerator, dtype)


@contextlib.contextmanager
def inference_settings(device: torch.device) -> Iterator[None]:
    """Compute in full float32 and with fixed kernels, for batches of any size."""
    with device_settings(device, tf32=False), cudnn_settings(benchmark=False, tf32=False):
        yield


def images_at_once(size: tuple[int, int], device: torch.device, batch_size: int = BATCH) -> int:
    """Return the batch size for a forward pass without training.

    The first feature maps take at most a quarter of a gigabyte, in 64 channels of float32. On a
    CPU, larger batches than ``CPU_BATCH`` are no faster, and than ``CPU_PIXELS`` slower, as maps
    leave the cache: EfficientNet-Lite0 at 128 pixels takes 5.2 ms an image in batches of 16, and
    7.7 in batches of 64. Small training batches (``batch_size``) mean that memory is scarce:
    without a backward pass, four times as many images fit.
    """
    cpu = device.type == "cpu"
    most, pixels = (CPU_BATCH, CPU_PIXELS) if cpu else (BATCH, PIXELS)
    return max(1, min(most, pixels // (size[0] * size[1]), 4 * batch_size))


def logits_of(
    adapter: Adapter,
    images: np.ndarray,
    normalization: Normalization,
    precision: Autocast = contextlib.nullcontext,
    scale: float = 1.0,
    batch_size: int = BATCH,
) -> Generator[Tensor]:
    """Yield the logits of images, batch by batch.

    Args:
        adapter: holds the network, which is in evaluation mode meanwhile.
        images: uint8 (N, H, W, 3).
        normalization: that of the network's images.
        precision: returns the context in which the network runs, such as autocast.
        scale: the fraction of height and width to which the images are scaled down.
        batch_size: how many images go through the network at once.

    Yields:
        float32 (B, C), on the network's device.
    """
    batches = eval_batches(images, normalization, device_of(adapter.network), batch_size)
    with evaluating(adapter.network):
        for batch in batches:
            # not around the loop, as the caller's code would run in this context, too; and not in
            # inference mode, as a network may store a tensor that training needs later
            with torch.no_grad(), precision():
                logits = adapter(scaled_down(batch, scale))
            yield logits


def check_finite(is_nan: bool, name: str) -> None:
    """Raise FloatingPointError if a classifier's outputs are NaN, whose argmax is arbitrary."""
    if is_nan:
        raise FloatingPointError(
            f"the outputs of {name} are not finite: its weights have diverged, or the precision is "
            "too low. Train again at a lower learning rate, or set precision to '32-true'"
        )


def as_pixels(
    images: np.ndarray | ImageLike | Sequence[ImageLike],
    size: tuple[int, int],
    resize: Resize,
    scales: Scales,
) -> np.ndarray:
    """Return images as an array, uint8 (N, H, W, 3); files are read by ``read_image``.

    Raises:
        ValueError: a file cannot be read as an image, or a value is not an image.
        OSError: a file cannot be opened.
    """
    if isinstance(images, np.ndarray):
        return images
    several: Any = [images] if is_image(images) else images
    found = list(several) if isinstance(several, Iterable) else []
    if not found or not all(map(is_image, found)):
        raise ValueError(
            "images are neither an array uint8 (N, H, W, 3) nor image files, given as paths, "
            "bytes, open binary files or Pillow images"
        )
    return np.stack([_read(one, size, resize, scales) for one in found])


def is_image(value: Any) -> bool:
    """Return whether a value is a single image: a path, bytes, an open file or a Pillow image."""
    return isinstance(value, IMAGE_TYPES) or hasattr(value, "read")


def _read(image: Any, size: tuple[int, int], resize: Resize, scales: Scales) -> np.ndarray:
    if isinstance(image, (str, os.PathLike)) and user_path(image).is_dir():
        raise ValueError(f"{image} is a folder: use app.file_predictions.classify_files")
    return read_image(image, size, resize, scales)[0]


def scaled_down(images: Tensor, scale: float) -> Tensor:
    """Return images, float (N, C, H, W), at a fraction of their height and width, antialiased.

    No side becomes smaller than ``SMALLEST``, which the built-in networks need, unless it already
    is.
    """
    size = scaled_size((images.shape[2], images.shape[3]), scale)
    same = size == images.shape[2:]
    return images if same else F.interpolate(images, size, mode="bilinear", antialias=True)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return the height and width to which ``scaled_down`` scales images of a size."""
    height, width = (max(int(scale * side), min(side, SMALLEST)) for side in size)
    return height, width
