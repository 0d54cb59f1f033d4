"""Random views of training images: mirrored, cropped, with a hole.

Each view is one class. It draws its parameters for a batch, and applies them in two ways: to one
image after another on the CPU, with albumentations; and to a whole batch on a GPU, by computing
where each pixel comes from. Both ways take the same parameters and give the same pixels. To add a
view, write such a class, and add it to ``make_views``.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import albumentations as A
import numpy as np
import torch
from torch import Tensor

from pytorch_vision.data.augment import Augmentation
from pytorch_vision.data.normalization import Normalizer
from pytorch_vision.runtime.devices import to_device

Size = tuple[int, int]


@dataclass(frozen=True)
class PixelSources:
    """Where the pixels of N views come from in their images.

    Attributes:
        rows: int64 (N, H), the image's row for each row of the view.
        columns: int64 (N, W), the image's column for each column of the view.
        filled: bool, broadcastable to (N, H, W), the pixels that have the mean colour instead.
    """

    rows: Tensor
    columns: Tensor
    filled: Tensor


class View(ABC):
    """A random transform of images of one size."""

    @abstractmethod
    def draw(self, chance: np.random.Generator, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Draw the parameters of N images, as an array (N, ...).

        Args:
            chance: the batch's random generator, from which all views draw in turn.
            indices: int64 (N,), the images' indices among the training images.
            epoch: the epoch that shows them, counted from 0.
        """

    @abstractmethod
    def apply(self, image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Return the view of one image, uint8 (H, W, 3), with its drawn parameters."""

    def sources(self, sources: PixelSources, drawn: Tensor) -> PixelSources:
        """Return where pixels come from in the images before this view.

        Args:
            sources: where the pixels come from in the images after this view.
            drawn: the parameters of N images, on the device of ``sources``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot vary a whole batch on a GPU")


class Flip(View):
    """Mirror images horizontally.

    Args:
        kind: as ``Augmentation.flip``.
        seed: decides which half of the images an alternating flip mirrors first.
        count: the number of training images.
    """

    def __init__(self, kind: str, seed: int, count: int) -> None:
        self.kind, self.step = kind, A.HorizontalFlip()
        # its own random stream: those of batches come from (seed, epoch, batch)
        self.mirrored_first = np.random.default_rng([seed]).random(count) < 0.5

    def draw(self, chance: np.random.Generator, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Draw whether each image is mirrored: bool (N,)."""
        # drawn for every kind, so that the views after it draw the same numbers
        drawn = chance.random(len(indices)) < (0.5 if self.kind == "random" else 0.0)
        if self.kind == "alternating":
            return self.mirrored_first[indices] ^ bool(epoch % 2)
        return drawn

    def apply(self, image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        return self.step.apply(image) if drawn else image

    def sources(self, sources: PixelSources, drawn: Tensor) -> PixelSources:
        last = sources.columns.shape[1] - 1
        columns = torch.where(drawn[:, None], last - sources.columns, sources.columns)
        return replace(sources, columns=columns)


class Crop(View):
    """Pad images on every side, and take a random crop of the original size.

    Args:
        padding: pixels on every side.
        size: height and width of the images.
        fill: the colour of the padding.
    """

    def __init__(self, padding: int, size: Size, fill: tuple[int, ...]) -> None:
        self.padding, self.size = padding, size
        # albumentations' RandomCrop pads only images smaller than the crop: pad first
        self.pad, self.step = A.Pad(padding=padding, fill=fill), A.RandomCrop(*size)

    def draw(self, chance: np.random.Generator, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Draw the row and column at which each crop begins in the padded image: int64 (N, 2)."""
        return chance.integers(0, 2 * self.padding, (len(indices), 2), endpoint=True)

    def apply(self, image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        if not self.padding:
            return image
        (top, left), (height, width) = drawn.tolist(), self.size
        box = (left, top, left + width, top + height)
        return self.step.apply(self.pad(image=image)["image"], crop_coords=box)

    def sources(self, sources: PixelSources, drawn: Tensor) -> PixelSources:
        height, width = self.size
        start = drawn - self.padding
        rows, columns = sources.rows + start[:, :1], sources.columns + start[:, 1:]
        inside = _boxes(_within(rows, height), _within(columns, width))
        return PixelSources(
            rows.clamp(0, height - 1), columns.clamp(0, width - 1), sources.filled | ~inside
        )


class CutOut(View):
    """Fill a square hole, which may extend over the edge of the image.

    Args:
        side: the side of the hole, an even number of pixels.
        probability: the probability that an image has a hole.
        size: height and width of the images.
        fill: the colour of the hole.
    """

    def __init__(self, side: int, probability: float, size: Size, fill: tuple[int, ...]) -> None:
        self.side, self.probability, self.size = side, probability, size
        self.step = A.CoarseDropout(fill=fill)

    def draw(self, chance: np.random.Generator, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Draw the row and column at which each hole begins: int64 (N, 2).

        The hole's centre lies anywhere in the image. An image that gets no hole has one outside.
        """
        count, half = len(indices), self.side // 2
        drawn = chance.integers(-half, np.array(self.size) - half, (count, 2), endpoint=True)
        drawn[chance.random(count) >= self.probability] = -self.side
        return drawn

    def apply(self, image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        top, left = np.maximum(drawn, 0).tolist()
        bottom, right = np.minimum(drawn + self.side, self.size).tolist()
        if top >= bottom or left >= right:
            return image
        return self.step.apply(image, holes=np.array([[left, top, right, bottom]]), seed=0)

    def sources(self, sources: PixelSources, drawn: Tensor) -> PixelSources:
        rows = _within(sources.rows - drawn[:, :1], self.side)
        columns = _within(sources.columns - drawn[:, 1:], self.side)
        return replace(sources, filled=sources.filled | _boxes(rows, columns))


class CustomSteps(View):
    """Apply a user's albumentations transforms, with a seed for each image.

    So an image's view depends neither on the number of processes nor on where a run was resumed.

    Args:
        steps: albumentations transforms.
    """

    def __init__(self, steps: Sequence[A.BasicTransform | A.BaseCompose]) -> None:
        self.pipeline = A.Compose(list(steps))

    def draw(self, chance: np.random.Generator, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Draw a seed for each image: int64 (N,)."""
        return chance.integers(2**63, size=len(indices))

    def apply(self, image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Raise ValueError if the steps change the image's size or its type."""
        # one state for all steps, as setting a seed would give each step the same state
        seed = int(drawn)
        self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        made = self.pipeline(image=image)["image"]
        if not isinstance(made, np.ndarray) or made.dtype != np.uint8:
            raise ValueError(
                f"the augmentation's steps return {getattr(made, 'dtype', type(made))}, expected "
                "uint8, 0 to 255: leave out steps that scale, normalise or make a tensor, as the "
                "loader does so afterwards"
            )
        if made.shape != image.shape:
            raise ValueError(
                f"the augmentation's steps return an image of shape {made.shape}, expected "
                f"{image.shape}: end them with a crop or a resize to {image.shape[:2]}"
            )
        return made


def make_views(
    augmentation: Augmentation, size: Size, fill: tuple[int, ...], seed: int, count: int
) -> list[View]:
    """Return the views of an augmentation, in the order of their application.

    Args:
        augmentation: the settings.
        size: height and width of the images, in pixels.
        fill: the colour of padding and of holes, 0..255 for each channel.
        seed: the random seed of the training.
        count: the number of training images.
    """
    if augmentation.steps is not None:
        return [CustomSteps(augmentation.steps)]
    return [
        Flip(augmentation.flip, seed, count),
        Crop(augmentation.padding, size, fill),
        CutOut(augmentation.cutout, augmentation.cutout_probability, size, fill),
    ]


def view_one_by_one(
    views: Sequence[View], images: np.ndarray, drawn: Sequence[np.ndarray]
) -> np.ndarray:
    """Apply views in order to one image after another, uint8 (N, H, W, 3), with albumentations.

    ``drawn`` holds for each view the parameters of the N images. Returns uint8 (N, H, W, 3).
    """
    results = np.empty_like(images)
    for number, image in enumerate(images):
        for view, parameters in zip(views, drawn, strict=True):
            image = view.apply(image, parameters[number])
        results[number] = image
    return results


def view_batch(
    views: Sequence[View], images: Tensor, drawn: Sequence[np.ndarray], normalizer: Normalizer
) -> Tensor:
    """Apply views in order to a whole batch, uint8 (N, H, W, 3), on its device; normalise it.

    ``drawn`` holds for each view the parameters of the N images, on the CPU; ``normalizer`` is on
    the batch's device. Returns float32 (N, 3, H, W), channels-last in memory.
    """
    count, height, width = images.shape[:3]
    rows = torch.arange(height, device=images.device).expand(count, -1)
    columns = torch.arange(width, device=images.device).expand(count, -1)
    filled = torch.zeros((1, 1, 1), dtype=torch.bool, device=images.device)
    sources = PixelSources(rows, columns, filled)
    for view, parameters in zip(reversed(views), reversed(drawn), strict=True):
        sources = view.sources(sources, to_device(torch.from_numpy(parameters), images.device))
    which = torch.arange(count, device=images.device)[:, None, None]
    pixels = images[which, sources.rows[:, :, None], sources.columns[:, None, :]]
    return normalizer(torch.where(sources.filled[..., None], normalizer.fill, pixels))


def _within(positions: Tensor, length: int) -> Tensor:
    return (positions >= 0) & (positions < length)


def _boxes(rows: Tensor, columns: Tensor) -> Tensor:
    """Return bool (N, H, W): the pixels whose row, (N, H), and column, (N, W), are both True."""
    return rows[:, :, None] & columns[:, None, :]
