"""A training run: the state that a checkpoint holds, and the step that moves it on."""

import contextlib
import copy
from dataclasses import asdict, replace
from typing import Any

import lightning_fabric
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.data import ImageData, train_loader
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.devices import can_compile, describe_hardware, place
from pytorch_vision.training.evaluate import Evaluation
from pytorch_vision.training.history import EpochRecord, History, Progress
from pytorch_vision.training.optimizers import make_optimizer, move_average


class Run:
    """One training run.

    Args:
        fabric: of ``make_fabric``.
        model: trained in place.
        data, config: as for ``fit``.

    Attributes:
        loader: gives the training batches.
        averaged: the weights that are tested; the model itself if they are not averaged.
        progress: how far it has come.
        hardware: what it runs on, for print-outs.
    """

    def __init__(
        self,
        fabric: lightning_fabric.Fabric,
        model: nn.Module,
        data: ImageData,
        config: TrainConfig,
    ) -> None:
        self.fabric, self.config, self.images = fabric, config, len(data.train_images)
        self.loader = train_loader(
            data, config.augmentation, config.batch_size, config.seed, fabric.device
        )
        self.compiled = can_compile(config)
        self.hardware = describe_hardware(fabric) + (", compiled" if self.compiled else "")
        self.model = place(fabric, model)
        self.step_model = fabric.setup_module(
            torch.compile(model, dynamic=False) if self.compiled else model
        )
        steps = config.epochs * len(self.loader)
        optimizer, self.schedulers = make_optimizer(model, config, steps)
        self.optimizer = fabric.setup_optimizers(optimizer)
        self.averaged = copy.deepcopy(model) if config.average_weights else model
        self.progress = Progress()
        self._forget_losses()

    def _forget_losses(self) -> None:
        device = self.fabric.device
        self.sums = torch.zeros(2, device=device)  # of the losses, and of the right answers
        self.bad_batch = torch.full((), -1, device=device)  # the first whose loss is not finite

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Train on one batch; does not wait for the device.

        Args:
            images: float32 (N, 3, H, W), normalised.
            labels: int64 (N,).
        """
        images, labels = self.fabric.to_device((images, labels))
        images = images.to(memory_format=torch.channels_last)
        self.optimizer.zero_grad()
        with self._short_batch_is_eager(len(images)):
            logits = self.step_model(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.progress.learning_rate = self.schedulers[0].get_last_lr()[0]
        for scheduler in self.schedulers:
            scheduler.step()
        with torch.no_grad():
            self.sums[0] += loss * len(labels)
            self.sums[1] += (logits.argmax(1) == labels).sum()
            fine = loss.isfinite() | (self.bad_batch >= 0)
            self.bad_batch = torch.where(fine, self.bad_batch, self.progress.batch)
        self._average()
        self.progress.batch += 1

    def _short_batch_is_eager(self, count: int) -> contextlib.AbstractContextManager:
        """Keep an epoch's short last batch from being compiled for its own size."""
        if not self.compiled or count == min(self.loader.batch_size, self.images):
            return contextlib.nullcontext()
        return torch.compiler.set_stance("force_eager")

    def _average(self) -> None:
        """Move the averaged weights: over a tenth of the steps so far, up to a whole epoch."""
        if self.averaged is self.model:
            return
        step = self.progress.epoch * len(self.loader) + self.progress.batch
        move_average(self.averaged, self.model, max(9 / (10 + step), 1 / len(self.loader)))

    def is_finite(self) -> bool:
        """Tell whether every loss of the current epoch was finite; waits for the device."""
        return int(self.bad_batch) < 0

    def means(self) -> tuple[float, float]:
        """Return the epoch's loss and accuracy (in percent) so far; waits for the device.

        Raises:
            FloatingPointError: a loss was not finite; names epoch and batch.
        """
        if not self.is_finite():
            raise FloatingPointError(
                f"the loss is not finite at epoch {self.progress.epoch + 1}, batch "
                f"{int(self.bad_batch)}. Lower the learning rate "
                f"(learning_rate={self.config.peak_rate}, muon_rate={self.config.muon_rate}) or "
                "train in precision '32-true'."
            )
        loss, correct = self.sums.tolist()
        seen = min(self.progress.batch * self.loader.batch_size, self.images)
        return loss / seen, 100 * correct / seen

    def record(self, result: Evaluation, test_seconds: float) -> None:
        """Record the current epoch, with the result of its test, and begin the next one."""
        done = self.progress
        train_loss, train_accuracy = self.means()
        record = EpochRecord(
            epoch=done.epoch + 1,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            test_loss=result.loss,
            test_accuracy=result.accuracy,
            learning_rate=done.learning_rate,
            train_seconds=done.seconds,
            test_seconds=test_seconds,
        )
        text = {"text": f"{done.bar_line}\n{result}\n", "hardware": self.hardware}
        self.progress = replace(
            done,
            epoch=done.epoch + 1,
            batch=0,
            seconds=0.0,
            history=History((*done.history.records, record)),
            log=[*done.log, text],
        )
        self._forget_losses()

    def _parts(self) -> dict[str, Any]:
        """Return everything that keeps a state of its own."""
        averaged = {} if self.averaged is self.model else {"averaged": self.averaged}
        schedulers = {f"scheduler {n}": part for n, part in enumerate(self.schedulers)}
        return {
            "model": self.model,
            **averaged,
            "optimizer": self.optimizer,
            **schedulers,
            "precision": self.fabric.strategy.precision,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all that the run consists of between two batches."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"parts": parts, "progress": asdict(self.progress), "sums": self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        for name, part in self._parts().items():
            saved = state["parts"][name]
            if saved:  # only float16 has a gradient scaler to save: elsewhere it begins anew
                part.load_state_dict(saved)
        self.progress = Progress.from_dict(state["progress"])
        self.sums = state["sums"].to(self.fabric.device)

    def finish(self) -> None:
        """Leave the weights that were tested in the caller's model."""
        if self.averaged is not self.model:
            self.model.load_state_dict(self.averaged.state_dict())
