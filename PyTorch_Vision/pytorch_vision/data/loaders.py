"""Batches for training and for evaluation.

All randomness depends only on (seed, epoch, batch), and is drawn for a whole batch at once. So a
resumed run continues with the images that it would have had, on any device; and processes that
share a batch show the same images as one process.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pytorch_vision.data.augment import Augmentation
from pytorch_vision.data.images import ImageData
from pytorch_vision.data.normalization import Normalization, Normalizer
from pytorch_vision.data.views import make_views, view_batch, view_one_by_one
from pytorch_vision.runtime.checks import whole_number
from pytorch_vision.runtime.devices import has_room, to_device
from pytorch_vision.runtime.processes import part_of
from pytorch_vision.runtime.terminal import say

Batch = tuple[Tensor, Tensor]
Draws = Sequence[np.ndarray]  # for each view, the parameters of N images
IGNORED = -100  # the label that torch's cross-entropy ignores
COPIED_AT_ONCE = 4096  # images


class TrainLoader:
    """Shuffled, augmented training batches.

    Without a device, albumentations makes one image after another on the CPU. A fast GPU trains on
    more images per second than that; with a device, a whole batch is made there at once, with the
    same random parameters and the same pixels. The device holds all images as uint8 if they take at
    most half of its free memory; otherwise each batch's are copied there.

    Args:
        data: the images.
        normalization: mean and standard deviation.
        augmentation: how the images are varied.
        batch_size: images per batch. The last batch of an epoch has the remaining images; a single
            remaining image joins the batch before, as BatchNorm cannot train on one.
        seed: the random seed of the order and the augmentation.
        rank, world_size: this process's rank, and the number of processes. Each process gets its
            shard of every batch; the shards differ by at most one image.
        device: where the batches are made; default: on the CPU, by albumentations.

    Attributes:
        chosen: int64, the indices of the images that an epoch shows; initially all.

    Raises:
        ValueError: there are no training images, or ``batch_size`` or ``seed`` is not whole.
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
        device: torch.device | None = None,
    ) -> None:
        if not len(data.train_images):
            raise ValueError(f"{data.name} has no training images, only test images")
        self.images, self.labels = data.train_images, data.train_labels
        self.batch_size = whole_number(batch_size, "batch_size")
        self.seed = whole_number(seed, "seed")
        self.rank, self.world_size = rank, world_size
        self.chosen = np.arange(len(data.train_images))
        self.normalization = normalization
        self.normalizer = Normalizer(normalization).to(device)
        self.device, self.on_device = device, None
        if device is not None and has_room(device, self.images.nbytes):
            self.on_device = torch.empty(self.images.shape, dtype=torch.uint8, device=device)
            for start in range(0, len(self.images), COPIED_AT_ONCE):
                chunk = slice(start, start + COPIED_AT_ONCE)
                self.on_device[chunk] = as_tensor(self.images[chunk]).to(device)
        self.vary(augmentation)

    def vary(self, augmentation: Augmentation) -> None:
        """Use another augmentation from now on."""
        size, fill = self.images.shape[1:3], self.normalization.fill
        self.views = make_views(augmentation, size, fill, self.seed, len(self.images))

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return batch_count(len(self.chosen), self.batch_size)

    def count(self, batch: int) -> int:
        """Return the number of images in one of an epoch's batches, over all processes."""
        return self.shown(batch + 1) - self.shown(batch)

    def shown(self, batches: int) -> int:
        """Return the number of images in an epoch's first batches, over all processes."""
        return len(self.chosen) if batches >= len(self) else batches * self.batch_size

    def part(self, count: int) -> slice:
        """Return this process's shard of a batch of ``count`` images, which may be empty.

        No shard is a single image, as BatchNorm after a global pooling cannot train on one.
        """
        sharing = min(self.world_size, max(1, count // 2))
        return part_of(count, self.rank, sharing) if self.rank < sharing else slice(0, 0)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield this process's shard of each batch of an epoch, from batch ``start`` on.

        A process whose shard is empty gets the batch's first two images with the label ``IGNORED``,
        as the other processes wait for its step.

        Yields:
            images float32 (N, 3, H, W), normalised; labels int64 (N,).
        """
        order = self.order(epoch)
        for batch in range(start, len(self)):
            indices = self.batch_of(order, batch)
            draws = self.draws(indices, epoch, batch)
            labels = torch.from_numpy(self.labels[indices])
            shard = self.part(len(indices))
            if shard.start == shard.stop:
                shard, labels = slice(2), torch.full_like(labels, IGNORED)
            yield self.augment(indices[shard], [drawn[shard] for drawn in draws]), labels[shard]

    def order(self, epoch: int) -> np.ndarray:
        """Return the images' indices, int64, in the order in which an epoch shows them."""
        return self.chosen[epoch_order(len(self.chosen), self.seed, epoch)]

    def batch_of(self, order: np.ndarray, batch: int) -> np.ndarray:
        """Return the indices of a batch's images, over all processes, in an epoch's order."""
        return order[self.shown(batch) : self.shown(batch + 1)]

    def draws(self, indices: np.ndarray, epoch: int, batch: int) -> Draws:
        """Draw the parameters of all views for the images of a batch, over all processes."""
        chance = np.random.default_rng(np.random.SeedSequence([self.seed, epoch, batch]))
        return [view.draw(chance, indices, epoch) for view in self.views]

    def augment(self, indices: np.ndarray, draws: Draws) -> Tensor:
        """Return augmented views of images by index, float32 (N, 3, H, W), normalised."""
        if self.device is None:
            images = view_one_by_one(self.views, self.images[indices], draws)
            return self.normalizer(torch.from_numpy(images)).contiguous()
        if self.on_device is not None:
            pixels = self.on_device[to_device(torch.from_numpy(indices), self.device)]
        else:
            pixels = torch.from_numpy(self.images[indices])
            # from pinned memory, the next batch is copied while the GPU works
            pixels = pixels.pin_memory() if self.device.type == "cuda" else pixels
            pixels = to_device(pixels, self.device)
        return view_batch(self.views, pixels, draws, self.normalizer)


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
    """Return the loader for a network's device; on a GPU, the batches are made there.

    ``augmentation.steps`` always run on the CPU; if the device is a GPU, a printed line says so.
    """
    on_device = device.type != "cpu" and augmentation.steps is None
    if device.type != "cpu" and not on_device:
        say("The augmentation's steps run on the CPU, as albumentations cannot use a GPU.")
    settings = (data, normalization, augmentation, batch_size, seed, rank, world_size)
    return TrainLoader(*settings, device if on_device else None)


def batch_count(images: int, batch_size: int) -> int:
    """Return the number of batches in an epoch, whose single last image joins the batch before."""
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
    rows: np.ndarray | None = None,
) -> Iterator[Tensor]:
    """Yield uint8 (N, H, W, 3) images in order, as normalised batches, float32 (N, 3, H, W).

    With ``rows``, int64 (M,), only the images at these indices are yielded.
    """
    device, normalizer = torch.device(device), Normalizer(normalization).to(device)
    for start in range(0, len(images if rows is None else rows), batch_size):
        batch = slice(start, start + batch_size)
        pixels = as_tensor(images[batch if rows is None else rows[batch]])
        yield normalizer(to_device(pixels, device)).contiguous()


def as_tensor(images: np.ndarray) -> Tensor:
    """Copy images, which may be read-only, reversed, or mapped from a file, into a tensor."""
    return torch.from_numpy(images.copy())
