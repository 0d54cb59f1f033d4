"""A training run: the state that a checkpoint holds, and the step that moves it on."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.data import ImageData, train_loader
from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.models.adapter import Adapter, Call, find_training_call, is_faithful
from pytorch_vision.models.inference import scaled_down
from pytorch_vision.models.module_utils import (
    copied,
    load_state,
    put_in_order,
    state_of,
    tensors_of,
)
from pytorch_vision.models.registry import is_made_builtin
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.cuda_graphs import CudaGraphs, is_capturable
from pytorch_vision.runtime.devices import (
    describe_hardware,
    is_lack_of_memory,
    random_state,
    set_random_state,
)
from pytorch_vision.runtime.launch import expect_unused_parameters
from pytorch_vision.training.batchnorm import (
    are_young,
    compute_anew,
    kept,
    some_images,
    statistics_of,
)
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Own
from pytorch_vision.training.evaluate import Evaluation
from pytorch_vision.training.optimizers import NONE, make_optimizer, move_average
from pytorch_vision.training.progress import Progress
from pytorch_vision.training.pruning import Pruning


class Run:
    """One training run.

    Args:
        processes: that train together, each with its own ``Run``.
        classifier: its network is trained in place.
        data, config: as for ``fit``.
        adapter: calls the network, on the device already; found out anew if None.
        own: the caller's loss and optimizer, if there are any.

    Attributes:
        adapter: calls the network that is trained.
        loader: gives the training batches.
        pruning: chooses which images it gives.
        network: that is trained.
        averaged: the network that is tested; the same if its weights are not averaged.
        progress: how far it has come.
        hardware: what it runs on, for print-outs.
    """

    def __init__(
        self,
        processes: Processes,
        classifier: Classifier,
        data: ImageData,
        config: TrainConfig,
        adapter: Adapter | None = None,
        own: Own = NONE,
    ) -> None:
        config = config.for_transfer() if classifier.is_partly_new else config
        self.processes, self.classifier, self.config = processes, classifier, config
        self.fabric = fabric = processes.fabric
        fabric.to_device(classifier.network)
        self.adapter = adapter or classifier.check_outputs(fabric)
        self.network: nn.Module = classifier.network
        if not any(parameter.requires_grad for parameter in self.network.parameters()):
            raise ValueError(f"there is nothing to train in {classifier}: all of it is frozen")
        self.loader = train_loader(
            data,
            classifier.normalization,
            config.augmentation,
            config.batch_size_for(len(data.train_labels)),
            config.seed,
            fabric.device,
            processes.rank,
            processes.world_size,
        )
        self.pruning = Pruning(self.loader, config, processes, fabric.device)
        self.hardware = describe_hardware(fabric)
        if processes.world_size > 1 and find_training_call(self.adapter, classifier.size)[1]:
            expect_unused_parameters(fabric)
        self.step_network: Any = fabric.setup_module(self.adapter)
        optimizer, self.schedulers = make_optimizer(self.network, config, self.pruning.steps(), own)
        self.optimizer: Any = fabric.setup_optimizers(optimizer)
        self.averaged = copied(self.network) if config.average_weights else self.network
        faithful = self.averaged is self.network or is_made_builtin(self.network)
        if not faithful and not is_faithful(self.averaged, self.adapter, classifier.size):
            raise ValueError(
                f"a copy of {type(self.network).__name__}, of averaged weights, would calculate "
                "with others: a function in place of its forward, or a hook, holds the network "
                "itself. Make it a method of the class, or set average_weights=False"
            )
        alone = fabric.device.type == "cuda" and processes.world_size == 1
        self.graphs = CudaGraphs(alone and own.loss is None and is_capturable(self.network))
        self.own_loss: Any = own.loss  # which may be a module with tensors of its own
        if isinstance(own.loss, nn.Module):
            self.own_loss = fabric.to_device(own.loss)
        self.weights = class_weights(data, config.class_weights)
        if self.weights is not None:
            self.weights = self.weights.to(fabric.device)
        self.progress = Progress()
        self.tried = False  # whether a step went well
        self.matured: tuple[int, list[Tensor]] = (-1, [])  # at which step, and what was computed
        self._forget_losses()

    def begin_epoch(self) -> None:
        """Choose the images of the current epoch, and how they vary."""
        self.pruning.begin(self.progress.epoch)
        self.loader.vary(self.config.augmentation_in(self.progress.epoch))
        self.network.train()

    def _forget_losses(self) -> None:
        device = self.fabric.device
        self.sums = torch.zeros(2, device=device)  # of the losses, and of the right answers
        self.bad_batch = torch.full((), -1, device=device)  # the first whose loss is not finite

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Train on this process's part of a batch; does not wait for the device.

        Args:
            images: float32 (N, 3, H, W), normalised.
            labels: int64 (N,).
        """
        images, labels = self._placed(images, labels)  # on the device
        loss, logits = self._set_gradients(images, labels)  # which calls backward
        self.optimizer.step()
        self._note(loss, logits, labels)
        for scheduler in self.schedulers:
            scheduler.step()
        self._average()  # moves the weights that are tested
        self.progress.batch += 1

    def backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, list]:
        """Return a batch's loss, its logits, and the gradient of each parameter.

        Gradients are averaged over the processes, so a process's losses are weighted by its part.
        """
        self.optimizer.zero_grad()
        logits = self.step_network(images)
        loss = self._loss(logits, labels)
        share = self.processes.world_size / self.loader.count(self.progress.batch)
        self.fabric.backward(loss * share)
        gradients = [parameter.grad for parameter in self.network.parameters()]
        return loss.detach(), logits.detach(), gradients

    def _placed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch on the device, in the size and the memory order of the moment."""
        images, labels = self.fabric.to_device((images, labels))
        images = scaled_down(images, self.config.scale_in(self.progress.epoch))
        return images.to(memory_format=self.adapter.call.memory_format), labels

    def _set_gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Set the parameters' gradients; return the batch's loss and its logits."""
        loss, logits, gradients = self._tried_backward(images, labels)
        for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return loss, logits

    @torch.no_grad()
    def _note(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a step to what is told of the epoch, and to what pruning chooses by."""
        self.progress.learning_rate = float(self.schedulers[0].get_last_lr()[0])
        self.pruning.note(self.progress.batch, logits, labels)
        self.sums[0] += loss
        self.sums[1] += (logits.argmax(1) == labels).sum()
        fine = loss.isfinite() | (self.bad_batch >= 0)
        self.bad_batch = torch.where(fine, self.bad_batch, self.progress.batch)

    def _tried_backward(self, images: Tensor, labels: Tensor) -> Any:
        """Do as ``backward``; if the first time fails, call the network in another way.

        What a network does in training can be more than what it does in a test.
        """
        try:
            outcome = self.graphs(self.backward, images, labels)
            self.tried = True
            return outcome
        except (RuntimeError, TypeError) as error:
            if self.tried or is_lack_of_memory(error):
                raise
            usual = self.adapter.call
            for call in usual.others():
                if (call.channels, call.alone) == (usual.channels, usual.alone):
                    self._call(call)
                    with contextlib.suppress(RuntimeError, TypeError):
                        return self.backward(images, labels)
            self._call(usual)
            raise

    def _call(self, call: Call) -> None:
        self.adapter.call = call
        for network in {self.network, self.averaged}:
            put_in_order(network, call.memory_format)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the losses of this process's part of a batch."""
        if self.own_loss is None:
            return F.cross_entropy(
                logits,
                labels,
                self.weights,
                label_smoothing=self.config.label_smoothing,
                reduction="sum",
            )
        part = self.loader.part(self.loader.count(self.progress.batch))
        if part.start == part.stop:  # its images do not count
            return 0 * logits.sum()
        loss = self.own_loss(logits, labels)
        if isinstance(loss, Tensor) and torch.is_grad_enabled() and not loss.requires_grad:
            raise ValueError(
                "loss gives a number that the logits have no gradient of: it counts or compares, "
                "or there is a detach() or an item() in it"
            )
        if not isinstance(loss, Tensor) or loss.shape not in ((), labels.shape):
            shown = tuple(loss.shape) if isinstance(loss, Tensor) else loss
            raise ValueError(f"loss gives {shown!r}, expected one number, or one for each image")
        return loss.mean() * len(labels)

    def _average(self) -> None:
        """Move the averaged weights: over a tenth of the steps so far, up to a whole epoch."""
        if self.averaged is self.network:
            return
        step = self.schedulers[0].last_epoch - 1
        move_average(self.averaged, self.network, max(9 / (10 + step), 1 / len(self.loader)))

    def bad_batches(self) -> list[int]:
        """Return the first batches of the epoch whose loss was not finite; waits for the device."""
        return [int(batch) for batch in self.processes.gather(int(self.bad_batch))[0] if batch >= 0]

    def means(self) -> tuple[float, float]:
        """Return the epoch's loss and accuracy (in percent) so far; waits for the device.

        Raises:
            FloatingPointError: a loss was not finite; names epoch and batch.
        """
        if bad := self.bad_batches():
            raise FloatingPointError(
                f"the loss is not finite at epoch {self.progress.epoch + 1}, batch {min(bad)}. "
                f"Lower the learning rate (learning_rate={self.config.peak_learning_rate}, "
                f"muon_learning_rate={self.config.muon_learning_rate}) or train in precision "
                "'32-true'."
            )
        loss, correct = self.processes.total(*self.sums.tolist())
        seen = self.loader.shown(self.progress.batch)
        return loss / seen, 100 * correct / seen

    @contextlib.contextmanager
    def tested(self) -> Iterator[Classifier]:
        """Give the classifier as it is tested, with the history so far.

        Its statistics are computed anew where they are young; afterwards they are as they were.
        """
        with kept(self.averaged):
            self.mature()
            yield self.classifier.with_network(self.averaged, self.progress.history)

    def mature(self) -> None:
        """Compute BatchNorm's statistics anew where there were too few steps for them."""
        step = self.schedulers[0].last_epoch
        if not are_young(self.averaged, step):
            return
        statistics = statistics_of(self.averaged)
        if self.matured[0] == step:  # computed already, for the test of this epoch
            with torch.no_grad():
                torch._foreach_copy_(statistics, self.matured[1])
            return
        compute_anew(
            self.tester,
            some_images(self.loader.images, self.config.seed),
            self.classifier.normalization,
            self.loader.batch_size,
            self.scale,
        )
        self.matured = step, [one.clone() for one in statistics]

    @property
    def scale(self) -> float:
        """At what part of their height and width images are shown, and tested, by now."""
        return self.config.scale_in(max(0, self.progress.epoch - (self.progress.batch == 0)))

    @property
    def tester(self) -> Adapter:
        """Calls the network that is tested."""
        return Adapter(self.averaged, self.adapter.call, self.adapter.classes)

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
        self.pruning.end()
        self._forget_losses()

    def _parts(self) -> dict[str, Any]:
        """Return everything that keeps a state of its own."""
        averaged = {} if self.averaged is self.network else {"averaged": self.averaged}
        pruning = {"pruning": self.pruning} if self.config.pruning > 0 else {}
        schedulers = {f"scheduler {n}": part for n, part in enumerate(self.schedulers)}
        return {
            "network": self.network,
            **averaged,
            **pruning,
            "optimizer": self.optimizer,
            **schedulers,
            "precision": self.fabric.strategy.precision,
        }

    def share_statistics(self) -> None:
        """Average BatchNorm's running statistics over the processes, as a test needs them."""
        models = dict.fromkeys((self.network, self.averaged))
        self.processes.average([one for model in models for one in statistics_of(model)])

    def state_dict(self) -> dict[str, Any]:
        """Return all that the run consists of between two batches, over all processes."""
        self.share_statistics()
        sums = torch.tensor(self.processes.total(*self.sums.tolist()))
        parts = {
            name: state_of(part) if isinstance(part, nn.Module) else _plain(part.state_dict())
            for name, part in self._parts().items()
        }
        return {
            "parts": parts,
            "progress": asdict(self.progress),
            "sums": sums,
            "random": random_state(self.fabric.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: it is something else.
        """
        for name, part in self._parts().items():
            saved = state["parts"][name]
            if not isinstance(saved, dict):
                raise TypeError(f"{name} is {type(saved).__name__}")
            if name == "precision" and not saved:  # float16's scaler: elsewhere there is none
                continue
            if part in self.schedulers:  # torch takes whatever it is given
                _check_alike(part.state_dict(), saved)
            if isinstance(part, nn.Module):
                load_state(part, saved)
            else:
                part.load_state_dict(saved)
        self.progress = Progress.from_dict(state["progress"])
        self.sums = (state["sums"] * self.processes.is_main).to(self.fabric.device)
        set_random_state(state["random"], self.fabric.device)

    def finish(self) -> None:
        """Leave what was tested in the caller's classifier, with its history, and no gradients."""
        self.optimizer.zero_grad()
        if self.averaged is not self.network:
            load_state(self.network, tensors_of(self.averaged))
        self.classifier.history = self.progress.history
        self.classifier.is_partly_new = False


def class_weights(data: ImageData, share: float) -> Tensor | None:
    """Return how much an image of each class counts in the loss; None for all alike.

    It is n_c ** -share of a class with n_c training images, and 1 on average over the images. A
    class without any has 1.

    Returns:
        float32 (C,).
    """
    if share == 0:
        return None
    counts = np.bincount(data.train_labels, minlength=len(data.class_names))
    weights = np.where(counts > 0, counts.clip(1).astype(np.float64) ** -share, 0)
    weights *= counts.sum() / (weights * counts).sum()
    return torch.tensor(np.where(counts > 0, weights, 1), dtype=torch.float32)


def _check_alike(own: dict[str, Any], saved: dict[str, Any]) -> None:
    """Raise TypeError unless two dictionaries have the same keys, with values of the same types."""
    kinds = [{name: type(value) for name, value in part.items()} for part in (own, saved)]
    if kinds[0] != kinds[1]:
        raise TypeError(f"a schedule has {kinds[1]}")


def _plain(state: Any) -> Any:
    """Return a state with numbers of Python's in place of NumPy's, which no checkpoint may hold."""
    if isinstance(state, np.generic):
        return state.item()
    if type(state) is dict:
        return {key: _plain(value) for key, value in state.items()}
    return type(state)(map(_plain, state)) if type(state) in (list, tuple) else state
