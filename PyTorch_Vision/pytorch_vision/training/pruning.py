"""Data pruning: leaving out training images with a small loss, to save work.

As in Angela Jiang et al., "Accelerating Deep Learning by Focusing on the Biggest Losers" (arXiv
1910.00762), but by each image's loss when it was last shown, as in Ziheng Qin et al., "InfoBatch"
(arXiv 2303.04947), without that paper's weights for the easy images.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch_vision.data.loaders import TrainLoader, batch_count
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.devices import to_device
from pytorch_vision.training.config import TrainConfig

POOL = 1.5  # times as many images, those of smallest loss, from which the pruned ones are drawn


class Pruning:
    """Chooses the images that a loader shows in each epoch after the first.

    ``processes`` share the images, and the network is on the ``device``.
    """

    def __init__(
        self, loader: TrainLoader, config: TrainConfig, processes: Processes, device: torch.device
    ) -> None:
        self.loader, self.config, self.processes = loader, config, processes
        self.losses = torch.zeros(len(loader.images), device=device)  # from earlier epochs
        self.seen = torch.zeros_like(self.losses)  # from this one, for this process's images
        self.begin(0)

    def steps(self) -> int:
        """Return the number of batches in the whole run."""
        counts = [self._count(epoch) for epoch in range(self.config.epochs)]
        return sum(batch_count(count, self.loader.batch_size) for count in counts)

    def _count(self, epoch: int) -> int:
        """Return the number of images that an epoch shows."""
        images = len(self.losses)
        return images if epoch == 0 else max(1, images - round(self.config.pruning * images))

    def begin(self, epoch: int) -> None:
        """Choose the images of an epoch."""
        kept, seed = self._count(epoch), [self.loader.seed, epoch]
        if kept < len(self.losses):
            self.loader.chosen = harder(self.losses.cpu().numpy(), kept, seed)
        self.order = self.loader.order(epoch)

    @torch.no_grad()
    def note(self, batch: int, logits: Tensor, labels: Tensor) -> None:
        """Record the losses of this process's shard of a batch, without waiting for the device."""
        if self.config.pruning == 0:
            return
        indices = self.loader.batch_of(self.order, batch)
        indices = indices[self.loader.part(len(indices))]  # may be empty
        losses = F.cross_entropy(logits.float(), labels, reduction="none")[: len(indices)]
        self.seen[to_device(torch.from_numpy(indices), losses.device)] = losses

    def end(self) -> None:
        """Collect the losses of all processes at the end of an epoch."""
        if self.config.pruning == 0:
            return
        shown = torch.from_numpy(self.loader.chosen).to(self.losses.device)
        self.losses[shown] = self._seen_by_all()[shown]
        self.seen.zero_()

    def _seen_by_all(self) -> Any:
        # each image is in the shard of one process
        return self.processes.fabric.all_reduce(self.seen.clone(), reduce_op="sum")

    def state_dict(self) -> dict[str, Any]:
        """Return the losses of all processes."""
        return {"losses": self.losses, "seen": self._seen_by_all()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned."""
        self.losses.copy_(state["losses"])
        self.seen.copy_(state["seen"] * self.processes.is_main)


def harder(losses: np.ndarray, kept: int, seed: list[int]) -> np.ndarray:
    """Return the images to show: all of the harder ones, and a random part of the easier ones.

    Args:
        losses: each image's loss, float (N,).
        kept: how many images to show, 1 to N.
        seed: the seed of the random choice.

    Returns:
        int64 (kept,), indices in ascending order.
    """
    gone = len(losses) - kept
    easier = losses.argsort(kind="stable")[: round(POOL * gone)]
    left_out = np.random.default_rng(seed).choice(easier, gone, replace=False)
    return np.delete(np.arange(len(losses)), left_out)
