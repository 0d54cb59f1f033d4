"""Normalise images by the mean and standard deviation of pixels, and undo it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

AT_ONCE = 1 << 24  # values that are counted at once, as np.bincount needs 8 bytes for each


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, for pixels in [0, 1].

    Attributes:
        mean, std: three numbers each; all standard deviations are positive.

    Raises:
        ValueError: they are not three finite numbers each, or a standard deviation is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        try:
            array = np.array([self.mean, self.std], dtype=np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != (2, 3) or not np.isfinite(array).all() or not (array[1] > 0).all():
            raise ValueError(
                f"mean is {self.mean!r} and std is {self.std!r}, expected three numbers each, and "
                "a positive std"
            )
        for name, values in zip(("mean", "std"), array.tolist(), strict=True):
            object.__setattr__(self, name, tuple(values))

    @classmethod
    def of(cls, images: np.ndarray) -> "Normalization":
        """Return the normalisation of images, uint8 (N, H, W, 3).

        A channel in which all pixels are equal gets a standard deviation of 1.

        Raises:
            ValueError: there are no images.
        """
        if not len(images):
            raise ValueError("there are no images from which to compute mean and std")
        counts, step = np.zeros((3, 256)), max(AT_ONCE // images[0].size, 1)
        for start in range(0, len(images), step):
            chunk = images[start : start + step]
            for channel in range(3):
                counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
        values, weights = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
        mean = weights @ values
        std = np.sqrt((weights @ values**2 - mean**2).clip(0))
        std[std < 1e-6] = 1.0  # where all pixels are equal, only rounding errors remain
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    @property
    def fill(self) -> tuple[int, ...]:
        """The colour nearest to the mean, 0..255 for each channel."""
        return tuple(round(255 * value) for value in self.mean)


class Normalizer(nn.Module):
    """A module that normalises batches of images, on their device or as part of a network.

    Its results equal those of albumentations' ``Normalize`` bit by bit.

    Args:
        normalization: mean and standard deviation.

    Attributes:
        mean, scale: float32 (3,), mean and 1 / standard deviation for pixels in 0..255.
        fill: uint8 (3,), the colour nearest to the mean.
    """

    mean: Tensor
    scale: Tensor
    fill: Tensor

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        mean, std = (
            255 * torch.tensor(values, dtype=torch.float32, device="cpu")
            for values in (normalization.mean, normalization.std)
        )
        self.register_buffer("mean", mean)
        self.register_buffer("scale", std.reciprocal())
        self.register_buffer(
            "fill", torch.tensor(normalization.fill, dtype=torch.uint8, device="cpu")
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 (N, 3, H, W), channels-last in memory, for uint8 (N, H, W, 3)."""
        return ((images - self.mean) * self.scale).permute(0, 3, 1, 2)


def denormalize(images: Tensor, normalization: Normalization) -> Tensor:
    """Undo the normalisation of images, in a new tensor that is clipped to [0, 1].

    Args:
        images: normalised, (..., 3, H, W).
        normalization: the one with which they were normalised.
    """
    mean, std = (
        images.new_tensor(values).reshape(-1, 1, 1)
        for values in (normalization.mean, normalization.std)
    )
    return (images * std + mean).clamp(0, 1)
