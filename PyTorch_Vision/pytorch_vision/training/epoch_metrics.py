"""Loss and accuracy of an epoch in training."""

import torch
from torch import Tensor

from pytorch_vision.runtime import Processes


class EpochMetrics:
    """Sums of losses and right answers, kept on the device: adding to them does not wait for it.

    Args:
        processes: that train together; each sums over its own images.

    Attributes:
        sums: float32 (2,), of the losses and of the right answers so far.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes, self.device = processes, processes.fabric.device
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self.sums = torch.zeros(2, device=self.device)
        self.bad_batch = torch.full((), -1, device=self.device)  # the first with a loss not finite

    @torch.no_grad()
    def update(self, loss: Tensor, logits: Tensor, labels: Tensor, batch: int) -> None:
        """Add a batch: the sum of its losses, its logits (N, C) and labels (N,), its number."""
        self.sums[0] += loss
        self.sums[1] += (logits.argmax(1) == labels).sum()
        fine = loss.isfinite() | (self.bad_batch >= 0)
        self.bad_batch = torch.where(fine, self.bad_batch, batch)

    def first_bad_batch(self) -> int | None:
        """Return the first batch whose loss was not finite, if any; waits for the device."""
        (batches,) = self.processes.gather(int(self.bad_batch))
        return min((int(batch) for batch in batches if batch >= 0), default=None)

    def means(self, images: int) -> tuple[float, float]:
        """Return loss and accuracy (in percent) over so many images; waits for the device."""
        loss, correct = self.total().tolist()
        return loss / images, 100 * correct / images

    def total(self) -> Tensor:
        """Return the sums over all processes, float32 (2,), on the CPU."""
        return torch.tensor(self.processes.total(*self.sums.tolist()))
