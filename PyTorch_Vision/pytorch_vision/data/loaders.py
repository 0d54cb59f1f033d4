"""Batches for training and for evaluation.

Everything random is drawn from (seed, epoch, batch) alone, for the whole batch at once. So a run
that was stopped continues with the images that it would have had, on whatever device; and several
processes that share a batch show the same images as one.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pytorch_vision.data.augment import (
    Augmentation,
    BatchNormalizer,
    Normalization,
    eval_transform,
)
from pytorch_vision.data.draws import Draws, OwnSteps, Replay, augment_batch, draw
from pytorch_vision.data.images import ImageData
from pytorch_vision.runtime.checks import whole_number
from pytorch_vision.runtime.processes import part_of

Batch = tuple[Tensor, Tensor]
IGNORED = -100  # the label that torch's cross-entropy leaves out


class TrainLoader:
    """Shuffled, augmented training batches, made on the CPU by albumentations.

    Args:
        data: the images; they are not copied.
        normalization: that of the network's images.
        augmentation: how they are varied.
        batch_size: images a batch; an epoch's last batch has what is left, and is joined to the
            one before if that is a single image, which not all networks can be trained on.
        seed: of the order and of the augmentation.
        rank, world_size: which of how many processes this is. Each has its part of every batch,
            near to equal in size.

    Attributes:
        chosen: int64, the indices of the images that an epoch shows: all, unless it is changed.
    """

    def __init__(
        self,
        data: ImageData,
        normalization: Normalization,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not len(data.train_images):
            raise ValueError(f"{data.name} has no images to train on, but only to test on")
        self.images, self.labels = data.train_images, data.train_labels
        self.batch_size = whole_number(batch_size, "batch_size")
        self.seed = whole_number(seed, "seed")
        self.rank, self.world_size = rank, world_size
        self.chosen = np.arange(len(data.train_images))
        self.size = data.train_images.shape[1:3]
        self.normalization = normalization
        # the stream of an alternating flip, which no (seed, epoch, batch) below can have
        self.first_mirrored = np.random.default_rng([self.seed]).random(len(self.images)) < 0.5
        self.vary(augmentation)

    def vary(self, augmentation: Augmentation) -> None:
        """Vary the images in this way from now on."""
        self.augmentation = augmentation
        kind = Replay if augmentation.steps is None else OwnSteps
        self._pipeline = kind(augmentation, self.size, self.normalization)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return batch_count(len(self.chosen), self.batch_size)

    def count(self, batch: int) -> int:
        """Return the number of images in one of an epoch's batches, over all processes."""
        return self.shown(batch + 1) - self.shown(batch)

    def shown(self, batches: int) -> int:
        """Return the number of images in an epoch's first batches, over all processes."""
        if batches >= len(self):
            return len(self.chosen)
        return batches * self.batch_size

    def part(self, count: int) -> slice:
        """Return this process's part of a batch of ``count`` images; it may be empty.

        None has a single image, which BatchNorm after pooling cannot be trained on.
        """
        sharing = min(self.world_size, max(1, count // 2))
        return part_of(count, self.rank, sharing) if self.rank < sharing else slice(0, 0)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, from the batch ``start`` on, or one's part of each.

        A process whose part is empty gets the batch's first images with the label ``IGNORED``:
        the others wait for its step.

        Yields:
            images float32 (N, 3, H, W), normalised; labels int64 (N,).
        """
        order = self.order(epoch)
        for batch in range(start, len(self)):
            indices = self.batch_of(order, batch)
            draws = self.draws(indices, epoch, batch)
            labels = torch.from_numpy(self.labels[indices])
            part = self.part(len(indices))
            if part.start == part.stop:
                part, labels = slice(2), torch.full_like(labels, IGNORED)
            yield self.augment(indices[part], draws[part]), labels[part]

    def order(self, epoch: int) -> np.ndarray:
        """Return the indices of the images, int64, in the order in which an epoch shows them."""
        return self.chosen[epoch_order(len(self.chosen), self.seed, epoch)]

    def batch_of(self, order: np.ndarray, batch: int) -> np.ndarray:
        """Return the indices of a batch's images, over all processes, in an epoch's order."""
        return order[self.shown(batch) : self.shown(batch + 1)]

    def draws(self, indices: np.ndarray, epoch: int, batch: int) -> Draws:
        """Return what chance decides for the images of an epoch's batch, over all processes."""
        seed = np.random.SeedSequence([self.seed, epoch, batch])
        draws = draw(self.augmentation, len(indices), self.size, seed)
        if self.augmentation.flip == "alternating":
            draws = replace(draws, mirrored=self.first_mirrored[indices] ^ bool(epoch % 2))
        return draws

    def augment(self, indices: np.ndarray, draws: Draws) -> Tensor:
        """Return the chosen images, augmented as drawn: float32 (N, 3, H, W)."""
        return self._pipeline(self.images[indices], draws)


class DeviceTrainLoader(TrainLoader):
    """The same batches, augmented as a whole on a device that holds all images as uint8.

    A fast GPU trains on more images a second than albumentations makes on a core. What chance
    decides is drawn on the CPU as for ``TrainLoader``; the pixels agree but for rounding.

    Args:
        device: where the batches are made; the others are those of ``TrainLoader``.
    """

    def __init__(
        self,
        data: ImageData,
        normalization: Normalization,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        device: torch.device,
    ) -> None:
        super().__init__(data, normalization, augmentation, batch_size, seed, rank, world_size)
        self.on_device = writable(data.train_images).to(device)
        self.normalize = BatchNormalizer(normalization, device)

    def augment(self, indices: np.ndarray, draws: Draws) -> Tensor:
        """Return the chosen images, augmented as drawn: float32 (N, 3, H, W), on the device."""
        chosen = torch.from_numpy(indices).to(self.on_device.device, non_blocking=True)
        return augment_batch(self.on_device[chosen], self.augmentation, draws, self.normalize)


def train_loader(
    data: ImageData,
    normalization: Normalization,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
) -> TrainLoader:
    """Return the loader for a device: on it, if it is a GPU; with albumentations on a CPU.

    Steps of the caller's own are always albumentations'; on a GPU, a line says so.
    """
    settings = (data, normalization, augmentation, batch_size, seed, rank, world_size)
    if augmentation.steps is not None and device.type != "cpu":
        print("The augmentation's own steps run on the CPU: the GPU's loader cannot do them.")
    if augmentation.steps is not None or device.type == "cpu":
        return TrainLoader(*settings)
    return DeviceTrainLoader(*settings, device=device)


def batch_count(images: int, batch_size: int) -> int:
    """Return the number of batches that so many images make; the last is none of one image."""
    full, rest = divmod(images, batch_size)
    return full if full and (rest == 1 < batch_size) else full + bool(rest)


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order, int64 (count,), in which an epoch goes through its images."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def eval_batches(
    images: np.ndarray,
    normalization: Normalization,
    device: torch.device | str = "cpu",
    batch_size: int = 500,
) -> Iterator[Tensor]:
    """Yield uint8 (N, H, W, 3) images in order, unaugmented, as normalised float32 batches.

    As in training, albumentations normalises for a CPU, and a GPU normalises by itself.
    """
    device, pipeline = torch.device(device), eval_transform(normalization)
    normalize = BatchNormalizer(normalization, device)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        if device.type == "cpu":
            yield torch.stack([pipeline(image=image)["image"] for image in part])
        else:
            yield normalize(writable(part).to(device, non_blocking=True))


def writable(images: np.ndarray) -> Tensor:
    """Return images as a tensor; they are copied only if they are read-only, or run backwards."""
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))
