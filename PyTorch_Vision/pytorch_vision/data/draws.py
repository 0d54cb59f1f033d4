"""What chance decides for a batch of images, and two ways of doing it: one by one, or all at once.

Both take the same draws, so that a CPU and a GPU train on the same crops and holes.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

import albumentations as A
import numpy as np
import torch

from pytorch_vision.data.augment import (
    Augmentation,
    BatchNormalizer,
    Normalization,
    eval_transform,
    train_transform,
)


@dataclass(frozen=True)
class Draws:
    """What chance decided for N images, in the order in which it is done to them.

    Attributes:
        mirrored: bool (N,).
        crop: int64 (N, 2), row and column at which the crop begins in the padded image.
        hole: int64 (N, 2), row and column at which the hole begins in the crop, from minus half
            its side on; below minus its side for no hole.
        seeds: int64 (N,), for steps of the caller's own, which draw by themselves.
    """

    mirrored: np.ndarray
    crop: np.ndarray
    hole: np.ndarray
    seeds: np.ndarray

    def __getitem__(self, part: slice) -> "Draws":
        """Return what was drawn for a part of the images."""
        return Draws(self.mirrored[part], self.crop[part], self.hole[part], self.seeds[part])


def draw(
    augmentation: Augmentation, count: int, size: tuple[int, int], seed: np.random.SeedSequence
) -> Draws:
    """Draw, for ``count`` images, what ``train_transform`` draws for each of its own.

    An alternating flip is nothing that is drawn here: no image is mirrored.
    """
    chance = np.random.default_rng(seed)
    half = augmentation.cutout // 2
    mirrored = chance.random(count) < (0.5 if augmentation.flip == "random" else 0.0)
    crop = chance.integers(0, 2 * augmentation.padding, (count, 2), endpoint=True)
    hole = chance.integers(-half, np.array(size) - half, (count, 2), endpoint=True)
    hole[chance.random(count) >= augmentation.cutout_probability] = -2 * augmentation.cutout - 1
    return Draws(mirrored, crop, hole, chance.integers(2**63, size=count))


class Replay:
    """``train_transform``, with what chance decides given: the same draws on every device.

    The random steps run in albumentations' own replay mode, in which a step takes its parameters
    from outside instead of drawing them.

    Args:
        augmentation, size, normalization: as for ``train_transform``.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        size: tuple[int, int],
        normalization: Normalization,
    ) -> None:
        self.size, self.cutout = size, augmentation.cutout
        if augmentation.flip == "alternating":  # replayed, it needs the step that "random" has
            augmentation = replace(augmentation, flip="random")
        self.pipeline = train_transform(augmentation, size, normalization)
        self.steps = {
            type(step): step
            for step in self.pipeline.transforms
            if isinstance(step, (A.HorizontalFlip, A.RandomCrop, A.CoarseDropout))
        }
        for step in self.steps.values():
            step.replay_mode = True

    def __call__(self, images: np.ndarray, draws: Draws) -> torch.Tensor:
        """Return uint8 (N, H, W, 3) images, augmented as drawn: float32 (N, 3, H, W)."""
        results = torch.empty(
            len(images), images.shape[-1], *self.size, dtype=torch.float32, device="cpu"
        )
        for result, image, mirrored, crop, hole in zip(
            results, images, draws.mirrored, draws.crop, draws.hole, strict=True
        ):
            self._set(A.HorizontalFlip, bool(mirrored), {})
            self._set(
                A.RandomCrop, True, {"crop_coords": _box(crop, self.size), "pad_params": None}
            )
            corner = hole + self.cutout // 2  # in the picture that is half a hole larger
            box = _box(corner, (self.cutout, self.cutout))
            self._set(A.CoarseDropout, corner[0] >= 0, {"holes": np.array([box]), "seed": 0})
            result.copy_(self.pipeline(image=image)["image"])
        return results

    def _set(self, kind: type, applied: bool, parameters: dict[str, Any]) -> None:
        if step := self.steps.get(kind):
            step.applied_in_replay, step.params = applied, parameters


class OwnSteps:
    """Steps of the caller's own, each image's with a seed of its own.

    So an image's view does not depend on the number of processes, nor on when a run was resumed.

    Args:
        augmentation, size, normalization: as for ``train_transform``.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        size: tuple[int, int],
        normalization: Normalization,
    ) -> None:
        self.steps = A.Compose(list(augmentation.steps or ()))
        self.normalize, self.size = eval_transform(normalization), size

    def __call__(self, images: np.ndarray, draws: Draws) -> torch.Tensor:
        """Return uint8 (N, H, W, 3) images, augmented: float32 (N, 3, H, W).

        Raises:
            ValueError: the steps change the size or the type.
        """
        results = torch.empty(
            len(images), images.shape[-1], *self.size, dtype=torch.float32, device="cpu"
        )
        for result, image, seed in zip(results, images, draws.seeds.tolist(), strict=True):
            # one state for all steps: a seed would give each of them the same one
            self.steps.set_random_state(np.random.default_rng(seed), random.Random(seed))
            made = self.steps(image=image)["image"]
            self._check(made, image)
            result.copy_(self.normalize(image=made)["image"])
        return results

    def _check(self, made: Any, image: np.ndarray) -> None:
        """Raise ValueError unless the steps made a picture of a picture."""
        if not isinstance(made, np.ndarray) or made.dtype != np.uint8:
            raise ValueError(
                f"the augmentation's steps make {getattr(made, 'dtype', type(made))} of an image, "
                "expected uint8, 0 to 255: leave out what scales or normalises it or makes it a "
                "tensor, all of which is done after them"
            )
        if made.shape != image.shape:
            shape, expected = (
                (*array.shape[2:], *array.shape[:2]) for array in (made, image)
            )  # as a tensor has them
            raise ValueError(
                f"the augmentation's steps make {shape} of an image, expected {expected}: end them "
                f"with a crop or a resize to {self.size}"
            )


def _box(corner: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the box whose corner is at (row, column)."""
    (top, left), (height, width) = corner.tolist(), size
    return left, top, left + width, top + height


def augment_batch(
    images: torch.Tensor, augmentation: Augmentation, draws: Draws, normalize: BatchNormalizer
) -> torch.Tensor:
    """Do to a whole batch, on its device, what ``train_transform`` does to each image.

    Args:
        images: uint8 (N, H, W, 3).
        draws: what chance decided, on the CPU.
        normalize: for the same device.

    Returns:
        float32 (N, 3, H, W), channels-last in memory.
    """
    device, (count, height, width) = images.device, images.shape[:3]

    def places(draw: np.ndarray, length: int) -> torch.Tensor:
        """Return, for each image, the positions 0..length - 1 counted from a drawn one."""
        start = torch.from_numpy(draw).to(device, non_blocking=True)
        return torch.arange(length, device=device) - start[:, None]

    # Where each pixel of the result comes from; what lies outside is padding.
    rows = places(augmentation.padding - draws.crop[:, 0], height)
    columns = places(augmentation.padding - draws.crop[:, 1], width)
    inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
    mirrored = torch.from_numpy(draws.mirrored).to(device, non_blocking=True)[:, None]
    columns = torch.where(mirrored, width - 1 - columns, columns)

    side = augmentation.cutout
    hole_rows = _within(places(draws.hole[:, 0], height), side)
    hole_columns = _within(places(draws.hole[:, 1], width), side)
    kept = inside & ~(hole_rows[:, :, None] & hole_columns[:, None, :])

    which = torch.arange(count, device=device)[:, None, None]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    pixels = images[which, rows[:, :, None], columns[:, None, :]]
    return normalize(torch.where(kept[..., None], pixels, normalize.fill))


def _within(positions: torch.Tensor, length: int) -> torch.Tensor:
    return (positions >= 0) & (positions < length)
