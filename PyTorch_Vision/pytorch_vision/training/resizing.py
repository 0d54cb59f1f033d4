"""Images at a part of their size, for the first epochs of a run.

"Progressive resizing": Jeremy Howard, fast.ai's entry for DAWNBench, 2018.
"""

import torch.nn.functional as F
from torch import Tensor

from pytorch_vision.models import SMALLEST


def resized(images: Tensor, scale: float) -> Tensor:
    """Return images at a part of their height and width, by antialiased interpolation.

    No side becomes smaller than our networks take (``models.SMALLEST``), unless it was before.

    Args:
        images: float (N, C, H, W).
        scale: in (0, 1].
    """
    if scale == 1:
        return images
    height, width = (max(int(scale * side), min(side, SMALLEST)) for side in images.shape[2:])
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)
