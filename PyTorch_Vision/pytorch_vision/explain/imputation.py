"""Imputation: missing pixels are filled so that the shape of the hole tells a network nothing.

Yao Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods" (ROAD),
arXiv 2202.00449.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NOISE = 0.01  # standard deviation, in units of normalised pixels, as ROAD has it


def fill(images: Tensor, missing: Tensor, noise: torch.Generator | None = None) -> Tensor:
    """Fill missing pixels with the weighted mean of their eight neighbours, missing or not.

    That is the linear system of ROAD's imputation. Conjugate gradients solve it for a whole batch;
    ``pytorch_grad_cam.metrics.road`` solves it image by image on the CPU.

    Args:
        images: float32 (N, C, H, W); not changed.
        missing: bool (N, H, W), on the same device; at least one pixel of each image is there.
        noise: draws Gaussian noise of standard deviation ``NOISE``, which is added to the filled
            pixels; None adds nothing.

    Returns:
        float32 (N, C, H, W).
    """
    hole = missing[:, None].to(images.dtype)
    weights = _neighbours(torch.ones_like(images[:1]))  # less than 1 at the edge of the image
    known = images * (1 - hole)
    x = torch.zeros_like(images)
    residual = _neighbours(known) * hole
    direction, size = residual.clone(), residual.square().sum(dim=(2, 3), keepdim=True)
    limit = 1e-8 * size
    for step in range(500):
        if step % 10 == 0 and bool((size <= limit).all()):
            break
        moved = (weights * direction - _neighbours(direction)) * hole
        along = (direction * moved).sum(dim=(2, 3), keepdim=True)
        length = torch.where(size > limit, size / along.clamp(min=1e-30), 0)
        x += length * direction
        residual -= length * moved
        before, size = size, residual.square().sum(dim=(2, 3), keepdim=True)
        direction = residual + size / before.clamp(min=1e-30) * direction
    if noise is not None:
        x += NOISE * hole * torch.randn(images.shape, generator=noise).to(images)
    return known + x * hole


def _neighbours(x: Tensor) -> Tensor:
    """Return a sixth of each pixel's four neighbours plus a twelfth of the four at its corners.

    These are sums of shifted images, as a convolution of so few channels is slow on a CPU.
    """
    padded = F.pad(x, (1, 1, 1, 1))
    rows = torch.add(padded[..., :-2, :], padded[..., 2:, :]).add_(padded[..., 1:-1, :], alpha=2)
    both = torch.add(rows[..., :-2], rows[..., 2:]).add_(rows[..., 1:-1], alpha=2)
    return both.sub_(x, alpha=4).div_(12)
