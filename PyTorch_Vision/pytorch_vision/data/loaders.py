"""Batches for training and for evaluation.

Everything random is drawn from (seed, epoch, batch) alone, so that a training run that was
stopped continues with the batches that it would have had on the same kind of device.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pytorch_vision.data.images import ImageData
from pytorch_vision.data.transforms import (
    Augmentation,
    Normalization,
    augment_batch,
    draw,
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
        self.augmentation, self.batch_size, self.seed = augmentation, batch_size, seed
        self.mean_and_std = data.mean_and_std
        self.pipeline = train_transform(augmentation, self.images.shape[1:3], *data.mean_and_std)
        # the stream of an alternating flip, which no (seed, epoch, batch) below can have
        self.first_mirrored = np.random.default_rng([seed]).random(len(self.images)) < 0.5

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
        mirrored = self.mirrored(indices, epoch)
        images[mirrored] = images[mirrored, :, ::-1]
        seed_pipeline(self.pipeline, np.random.SeedSequence([self.seed, epoch, batch]))
        return torch.stack([self.pipeline(image=image)["image"] for image in images])

    def mirrored(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Tell, bool (N,), which of the images an alternating flip mirrors in an epoch."""
        if self.augmentation.flip != "alternating":
            return np.zeros(len(indices), dtype=bool)
        return self.first_mirrored[indices] ^ bool(epoch % 2)


class DeviceTrainLoader(TrainLoader):
    """The same batches, augmented as a whole on a device that holds all images as uint8.

    A fast GPU trains on more images a second than albumentations makes on a core. Crops, flips
    and holes are of the same distribution, drawn from (seed, epoch, batch) on the CPU.
    """

    def __init__(
        self,
        data: ImageData,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(data, augmentation, batch_size, seed)
        self.on_device = torch.from_numpy(data.train_images).to(device)
        self.normalize = Normalization(*data.mean_and_std, device)

    def augment(self, indices: np.ndarray, epoch: int, batch: int) -> Tensor:
        """Return the chosen images as an epoch's batch shows them: float32 (N, 3, H, W)."""
        seed = np.random.SeedSequence([self.seed, epoch, batch])
        draws = draw(self.augmentation, len(indices), self.images.shape[1:3], seed)
        draws = replace(draws, mirrored=draws.mirrored | self.mirrored(indices, epoch))
        chosen = torch.from_numpy(indices).to(self.on_device.device, non_blocking=True)
        images = self.on_device[chosen]
        return augment_batch(images, self.augmentation, draws, self.normalize)


def train_loader(
    data: ImageData,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    device: torch.device,
) -> TrainLoader:
    """Return the loader for a device: on it, if it is a GPU; with albumentations on a CPU."""
    if device.type == "cpu":
        return TrainLoader(data, augmentation, batch_size, seed)
    return DeviceTrainLoader(data, augmentation, batch_size, seed, device)


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order, int64 (count,), in which an epoch goes through the training images."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def eval_batches(
    images: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | str = "cpu",
    batch_size: int = 500,
) -> Iterator[Tensor]:
    """Yield uint8 (N, H, W, 3) images in order, unaugmented, as normalised float32 batches.

    As in training, albumentations normalises for a CPU, and a GPU normalises by itself.
    """
    device, pipeline = torch.device(device), eval_transform(mean, std)
    normalize = Normalization(mean, std, device)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        if device.type == "cpu":
            yield torch.stack([pipeline(image=image)["image"] for image in part])
        else:
            yield normalize(torch.from_numpy(part).to(device, non_blocking=True))
