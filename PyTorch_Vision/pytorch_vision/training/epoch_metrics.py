"""Training loss and accuracy of an epoch."""

import torch
from torch import Tensor

from pytorch_vision.runtime import Processes


class EpochMetrics:
    """Sums over a process's images, kept on the device so that adding does not wait.

    Attributes:
        sums: float32 (2,), the summed loss and the number of correct predictions so far.
        bad_batch: int64 (), the first batch without a finite loss; -1 before that.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.reset()

    def reset(self) -> None:
        """Set all sums to zero, for a new epoch."""
        self.sums = torch.zeros(2, device=self.processes.fabric.device)
        self.bad_batch = torch.full_like(self.sums[0], -1, dtype=torch.int64)

    @torch.no_grad()
    def update(self, loss: Tensor, logits: Tensor, labels: Tensor, batch: int) -> None:
        """Add a batch: its summed loss, logits (N, C), labels (N,) and number."""
        self.sums[0] += loss
        self.sums[1] += (logits.argmax(1) == labels).sum()
        fine = loss.isfinite() | (self.bad_batch >= 0)
        self.bad_batch = torch.where(fine, self.bad_batch, batch)

    def first_bad_batch(self) -> int | None:
        """Return the first batch without a finite loss, if any; waits for the device."""
        (batches,) = self.processes.gather(int(self.bad_batch))
        return min((int(batch) for batch in batches if batch >= 0), default=None)

    def means(self, images: int) -> tuple[float, float]:
        """Return mean loss and accuracy (in percent) over ``images``; waits for the device."""
        loss, correct = self.total().tolist()
        return loss / images, 100 * correct / images

    def total(self) -> Tensor:
        """Return the sums over all processes, float32 (2,), on the CPU."""
        return torch.tensor(self.processes.total(*self.sums.tolist()))
