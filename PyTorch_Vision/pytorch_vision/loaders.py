"""Batches for training and for evaluation.

Everything random is drawn from (seed, epoch, batch) alone, so that a training run that was
stopped goes on with the very batches it would have had.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pytorch_vision.data import ImageData
from pytorch_vision.transforms import (
    Augmentation,
    eval_transform,
    seed_pipeline,
    train_transform,
)

Batch = tuple[Tensor, Tensor]


class TrainLoader:
    """Shuffled, augmented training batches, made on the CPU by albumentations.

    Args:
        data: the images; they are not copied.
        augmentation: how they are varied.
        batch_size: images a batch; an epoch's last batch has what is left.
        seed: of the order and of the augmentation.
    """

    def __init__(
        self, data: ImageData, augmentation: Augmentation, batch_size: int, seed: int
    ) -> None:
        self.images, self.labels = data.train_images, data.train_labels
        self.batch_size, self.seed = batch_size, seed
        self.mirrored = None
        if augmentation.flip == "alternating":
            # a stream that no (seed, epoch, batch) below can have
            self.mirrored = np.random.default_rng([seed]).random(len(self.images)) < 0.5
        self.pipeline = train_transform(augmentation, self.images.shape[1:3], *data.mean_and_std)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.images) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, from the batch ``start`` on.

        Yields:
            images float32 (N, 3, H, W), normalised; labels int64 (N,).
        """
        order = epoch_order(len(self.images), self.seed, epoch)
        for batch in range(start, len(self)):
            indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield self.augment(indices, epoch, batch), torch.from_numpy(self.labels[indices])

    def augment(self, indices: np.ndarray, epoch: int, batch: int) -> Tensor:
        """Return the chosen images as an epoch's batch shows them: float32 (N, 3, H, W)."""
        images = self.images[indices]
        if self.mirrored is not None:
            mirrored = self.mirrored[indices] ^ bool(epoch % 2)
            images[mirrored] = images[mirrored, :, ::-1]
        seed_pipeline(self.pipeline, np.random.SeedSequence([self.seed, epoch, batch]))
        return torch.stack([self.pipeline(image=image)["image"] for image in images])


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order, int64 (count,), in which an epoch goes through the training images."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def eval_batches(
    images: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch_size: int = 500,
) -> Iterator[Tensor]:
    """Yield uint8 (N, H, W, 3) images in order, unaugmented, as normalised float32 batches."""
    pipeline = eval_transform(mean, std)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        yield torch.stack([pipeline(image=image)["image"] for image in part])
