"""The albumentations pipelines that turn uint8 images into normalised tensors, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import albumentations as A
import numpy as np
import torch
from albumentations.pytorch import ToTensor3D, ToTensorV2
from pydantic import Field, field_validator

from pytorch_vision.runtime.checks import checked_dataclass

DONE_AFTER_THEM = (A.Normalize, ToTensorV2, ToTensor3D)


@checked_dataclass
class Augmentation:
    """How training images are varied.

    Raises:
        ValueError: a value is out of range, or a step is none of albumentations.
    """

    padding: Annotated[
        int,
        Field(
            ge=0,
            description="pixels of the mean colour added on every side, before a crop of the "
            "image's own size is taken at a random place; 0 for no crop",
        ),
    ] = 4
    flip: Annotated[
        Literal["alternating", "random", "none"],
        Field(
            description="how images are mirrored: random, with probability 1/2; alternating, each "
            "in every other epoch (arXiv 2404.00498); none, for letters or arrows"
        ),
    ] = "alternating"
    cutout: Annotated[
        int,
        Field(
            ge=0,
            multiple_of=2,
            description="pixels a side of the square hole filled with the mean colour, which may "
            "hang over the edge (CutOut, arXiv 1708.04552); 0 for none",
        ),
    ] = 16
    cutout_probability: Annotated[
        float, Field(ge=0, le=1, description="how often there is a hole")
    ] = 0.5
    steps: Annotated[
        Sequence[Any] | None,
        Field(
            description="albumentations steps of your own, in place of all that is above. They "
            "take a uint8 image (H, W, 3) and give one of the same size, on the CPU, one by one"
        ),
    ] = None

    @field_validator("steps", mode="plain")
    @classmethod
    def _check_steps(cls, steps: Any) -> Any:
        if steps is not None and not isinstance(steps, Sequence):
            raise ValueError(f"steps is {steps!r}, expected a list of albumentations' transforms")
        for step in steps or ():
            if not isinstance(step, (A.BasicTransform, A.BaseCompose)):
                raise ValueError(f"steps has {step!r}, expected transforms of albumentations")
            _check_leaves_pixels(step)
        return steps


def _check_leaves_pixels(step: Any) -> None:
    """Refuse a step, or one inside of it, that does what is done after all steps anyway.

    Raises:
        ValueError: it normalises, or makes a tensor; says which.
    """
    for inner in getattr(step, "transforms", ()):
        _check_leaves_pixels(inner)
    if isinstance(step, DONE_AFTER_THEM):
        raise ValueError(
            f"steps has {type(step).__name__}, which is done after them anyway, with the mean and "
            "the deviation of the classifier: leave it out"
        )


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, for pixels in [0, 1].

    Attributes:
        mean, std: three numbers each; a deviation is positive.

    Raises:
        ValueError: they are not twice three finite numbers, or a deviation is not positive.
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
                f"mean is {self.mean!r} and std {self.std!r}, expected three numbers each, the "
                "latter positive"
            )
        for name, values in zip(("mean", "std"), array.tolist(), strict=True):
            object.__setattr__(self, name, tuple(values))

    @classmethod
    def of(cls, images: np.ndarray) -> "Normalization":
        """Return that of uint8 images (N, H, W, 3); a channel that never changes has std 1."""
        if not len(images):
            raise ValueError("there are no images to compute mean and standard deviation of")
        counts = np.zeros((3, 256))
        for start in range(0, len(images), 1000):  # in parts: never a second copy of the data
            part = images[start : start + 1000]
            for channel in range(3):
                counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
        values, weights = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
        mean = weights @ values
        std = np.sqrt((weights @ values**2 - mean**2).clip(0))
        std[std < 1e-6] = 1.0  # of a channel that never changes only rounding is left
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    @property
    def fill(self) -> tuple[int, ...]:
        """The colour nearest to the mean, 0..255 for each channel."""
        return tuple(round(255 * value) for value in self.mean)


def train_transform(
    augmentation: Augmentation,
    size: tuple[int, int],
    normalization: Normalization,
) -> A.Compose:
    """Return the training pipeline: horizontal flip, RandomCrop, CutOut, Normalize, ToTensorV2.

    Steps of your own take the place of the first three.

    It draws by itself, for use on its own. In training, ``draws.Replay`` gives it draws that do
    not depend on the device or on the number of processes. An alternating flip depends on the
    epoch, which a pipeline does not know: ``loaders`` decides it.

    Args:
        augmentation: what to do.
        size: height and width of the images, in pixels.
        normalization: that of the network's images.

    Returns:
        A pipeline: ``pipeline(image=uint8 (H, W, 3))["image"]`` is a float32 (3, H, W) tensor.
    """
    if augmentation.steps is not None:
        return A.Compose([*augmentation.steps, *_to_tensor(normalization)])
    fill = normalization.fill
    steps: list[A.BasicTransform] = []
    if augmentation.flip == "random":
        steps += [A.HorizontalFlip(p=0.5)]
    if augmentation.padding:
        # albumentations' RandomCrop pads only images smaller than the crop: pad first.
        steps += [A.Pad(padding=augmentation.padding, fill=fill), A.RandomCrop(*size)]
    if augmentation.cutout and augmentation.cutout_probability:
        # CoarseDropout keeps its hole inside the picture; on a picture half a hole larger on
        # every side, cropped back afterwards, it hangs over the edge as CutOut's does.
        side = (augmentation.cutout, augmentation.cutout)
        steps += [
            A.Pad(padding=augmentation.cutout // 2, fill=fill),
            A.CoarseDropout(
                num_holes_range=(1, 1),
                hole_height_range=side,
                hole_width_range=side,
                fill=fill,
                p=augmentation.cutout_probability,
            ),
            A.CenterCrop(*size),
        ]
    return A.Compose([*steps, *_to_tensor(normalization)])


def eval_transform(normalization: Normalization) -> A.Compose:
    """Return the pipeline for images as they are: Normalize, ToTensorV2."""
    return A.Compose(_to_tensor(normalization))


def _to_tensor(normalization: Normalization) -> list[A.BasicTransform]:
    normalize = A.Normalize(mean=normalization.mean, std=normalization.std, max_pixel_value=255.0)
    return [normalize, ToTensorV2()]


class BatchNormalizer:
    """Normalises whole batches on a device, which is given mean and deviation once.

    Args:
        normalization: that of the network's images.
        device: where the batches are.
    """

    def __init__(self, normalization: Normalization, device: torch.device | str) -> None:
        self.mean, self.std = (
            255 * torch.tensor(values, dtype=torch.float32, device=device)
            for values in (normalization.mean, normalization.std)
        )
        self.fill = torch.tensor(normalization.fill, dtype=torch.uint8, device=device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 (N, H, W, 3) as ``eval_transform`` does: float32 (N, 3, H, W)."""
        return ((images - self.mean) / self.std).permute(0, 3, 1, 2)


def denormalize(images: torch.Tensor, normalization: Normalization) -> torch.Tensor:
    """Return a new tensor with normalisation undone and values clipped to [0, 1].

    Args:
        images: (..., 3, H, W), normalised; left as it is.
        normalization: with which they were normalised.
    """
    shape = (-1, 1, 1)
    mean, std = (
        images.new_tensor(values).reshape(shape)
        for values in (normalization.mean, normalization.std)
    )
    return (images * std + mean).clamp(0, 1)
