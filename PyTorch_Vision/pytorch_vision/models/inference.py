"""One forward pass of images through a network, without augmentation."""

from collections.abc import Generator

import lightning_fabric
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.data import Normalization, eval_batches
from pytorch_vision.models.resnet import SMALLEST


def logits_of(
    fabric: lightning_fabric.Fabric,
    network: nn.Module,
    images: np.ndarray,
    normalization: Normalization,
    scale: float = 1.0,
) -> Generator[Tensor]:
    """Yield the logits of images, batch by batch.

    Args:
        fabric: of ``make_fabric``; its precision is used.
        network: stands on Fabric's device; in evaluation mode while this runs.
        images: uint8 (N, H, W, 3).
        normalization: of the network's images.
        scale: the part of their height and width at which they are shown.

    Yields:
        float32 (B, C), on the device.
    """
    training = network.training
    network.eval()
    try:
        for batch in eval_batches(images, normalization, fabric.device):
            # not around the loop: the caller's code runs in whatever is open at a yield
            with torch.inference_mode(), fabric.autocast():
                logits = network(scaled_down(batch, scale)).float()
            yield logits
    finally:
        network.train(training)


def scaled_down(images: Tensor, scale: float) -> Tensor:
    """Return images at a part of their height and width, by antialiased interpolation.

    No side becomes smaller than our networks take (``SMALLEST``), unless it was before.

    Args:
        images: float (N, C, H, W).
        scale: in (0, 1].
    """
    if scale == 1:
        return images
    height, width = (max(int(scale * side), min(side, SMALLEST)) for side in images.shape[2:])
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)
