"""One forward pass of images through a network, without augmentation."""

from collections.abc import Generator

import lightning_fabric
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch_vision.data import Normalization, eval_batches
from pytorch_vision.models.adapter import Adapter
from pytorch_vision.models.module_utils import evaluating
from pytorch_vision.models.resnet import SMALLEST

BATCH, CPU_BATCH = 500, 64  # images at once, at most
PIXELS = 2**20  # of all of them


def images_at_once(size: tuple[int, int], device: torch.device, batch_size: int = BATCH) -> int:
    """Return how many images are shown at once where nothing is trained.

    Their first maps take a quarter of a gigabyte at most, in 64 channels of float32; on a CPU,
    more than ``CPU_BATCH`` at once are no faster. Whoever trains in small batches for want of
    memory has small ones here: a test keeps no maps for the way back, and takes four times as
    many.

    Args:
        size: height and width of the images.
        device: that they are shown on.
        batch_size: of the training.
    """
    most = CPU_BATCH if device.type == "cpu" else BATCH
    return max(1, min(most, PIXELS // (size[0] * size[1]), 4 * batch_size))


def logits_of(
    fabric: lightning_fabric.Fabric,
    adapter: Adapter,
    images: np.ndarray,
    normalization: Normalization,
    scale: float = 1.0,
    batch_size: int = BATCH,
) -> Generator[Tensor]:
    """Yield the logits of images, batch by batch.

    Args:
        fabric: of ``make_fabric``; its precision is used.
        adapter: of a network on Fabric's device, which is in evaluation mode while this runs.
        images: uint8 (N, H, W, 3).
        normalization: of the network's images.
        scale: the part of their height and width at which they are shown.
        batch_size: how many are shown at once.

    Yields:
        float32 (B, C), on the device.
    """
    with evaluating(adapter.network):
        for batch in eval_batches(images, normalization, fabric.device, batch_size):
            # not around the loop: the caller's code runs in whatever is open at a yield; and not
            # in inference mode: what a network keeps for later must do for training, too
            with torch.no_grad(), fabric.autocast():
                logits = adapter(scaled_down(batch, scale))
            yield logits


def scaled_down(images: Tensor, scale: float) -> Tensor:
    """Return images at a part of their height and width, by antialiased interpolation.

    No side becomes smaller than our networks take (``SMALLEST``), unless it was before.

    Args:
        images: float (N, C, H, W).
        scale: in (0, 1].
    """
    if scale == 1:
        return images
    size = scaled_size((images.shape[2], images.shape[3]), scale)
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return the size of images that ``scaled_down`` makes of such of another size."""
    if scale == 1:
        return size
    height, width = (max(int(scale * side), min(side, SMALLEST)) for side in size)
    return height, width
