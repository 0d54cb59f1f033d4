"""The albumentations pipelines that turn uint8 images into normalised tensors, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import albumentations as A
import torch
from albumentations.pytorch import ToTensorV2

Flip = Literal["alternating", "random", "none"]


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied.

    Attributes:
        padding: pixels added on every side, filled with the mean colour, before a crop of the
            image's own size is taken at a uniformly random place; 0 for no crop.
        flip: "random" mirrors each image with probability 1/2; "alternating" draws that once for
            each image and then mirrors it in every other epoch, so that two epochs show both
            sides of every image (arXiv 2404.00498); "none" never mirrors.
        cutout: the side, in pixels, of the square hole filled with the mean colour. Its centre is
            uniform over the image, so the hole may hang over the edge (arXiv 1708.04552); 0 for
            no hole.
        cutout_probability: how often there is a hole, in [0, 1].
        steps: albumentations steps of your own, in place of all that is above. They take a uint8
            image (H, W, 3) and give one of the same size. They run on the CPU, image by image.

    Raises:
        ValueError: a value is out of range, or a step is none of albumentations.
    """

    padding: int = 4
    flip: Flip = "alternating"
    cutout: int = 16
    cutout_probability: float = 0.5
    steps: Sequence[A.BasicTransform | A.BaseCompose] | None = None

    def __post_init__(self) -> None:
        for step in self.steps or ():
            if not isinstance(step, (A.BasicTransform, A.BaseCompose)):
                raise ValueError(f"steps has {step!r}, expected transforms of albumentations")
        if self.padding < 0:
            raise ValueError(f"padding is {self.padding}, expected 0 or more pixels")
        if self.flip not in ("alternating", "random", "none"):
            raise ValueError(f"flip is {self.flip!r}, expected 'alternating', 'random' or 'none'")
        if self.cutout < 0 or self.cutout % 2:
            raise ValueError(f"cutout is {self.cutout}, expected an even number of pixels")
        if not 0 <= self.cutout_probability <= 1:
            raise ValueError(f"cutout_probability is {self.cutout_probability}, expected 0 to 1")


def train_transform(
    augmentation: Augmentation,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> A.Compose:
    """Return the training pipeline: horizontal flip, RandomCrop, CutOut, Normalize, ToTensorV2.

    Steps of your own take the place of the first three.

    It draws by itself, for use on its own. In training, ``draws.Replay`` gives it draws that do
    not depend on the device or on the number of processes. An alternating flip depends on the
    epoch, which a pipeline does not know: ``loaders`` decides it.

    Args:
        augmentation: what to do.
        size: height and width of the images, in pixels.
        mean, std: of each channel, for pixels in [0, 1].

    Returns:
        A pipeline: ``pipeline(image=uint8 (H, W, 3))["image"]`` is a float32 (3, H, W) tensor.
    """
    if augmentation.steps is not None:
        return A.Compose([*augmentation.steps, *_to_tensor(mean, std)])
    fill = fill_colour(mean)
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
    return A.Compose([*steps, *_to_tensor(mean, std)])


def eval_transform(mean: Sequence[float], std: Sequence[float]) -> A.Compose:
    """Return the pipeline for images as they are: Normalize, ToTensorV2."""
    return A.Compose(_to_tensor(mean, std))


def _to_tensor(mean: Sequence[float], std: Sequence[float]) -> list[A.BasicTransform]:
    return [A.Normalize(mean=tuple(mean), std=tuple(std), max_pixel_value=255.0), ToTensorV2()]


def fill_colour(mean: Sequence[float]) -> tuple[int, ...]:
    """Return the colour, 0..255 for each channel, nearest to a mean in [0, 1]."""
    return tuple(round(255 * value) for value in mean)


class Normalization:
    """Normalises whole batches on a device, which is given mean and deviation once.

    Args:
        mean, std: of each channel, for pixels in [0, 1].
        device: where the batches are.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], device: torch.device | str
    ) -> None:
        self.mean, self.std = (
            255 * torch.tensor(values, dtype=torch.float32, device=device) for values in (mean, std)
        )
        self.fill = torch.tensor(fill_colour(mean), dtype=torch.uint8, device=device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 (N, H, W, 3) as ``eval_transform`` does: float32 (N, 3, H, W)."""
        return ((images - self.mean) / self.std).permute(0, 3, 1, 2)


def denormalize(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return a new tensor with normalisation undone and values clipped to [0, 1].

    Args:
        images: (..., 3, H, W), normalised; left as it is.
        mean, std: of each channel, as they were used to normalise.
    """
    shape = (-1, 1, 1)
    mean_, std_ = (images.new_tensor(values).reshape(shape) for values in (mean, std))
    return (images * std_ + mean_).clamp(0, 1)
