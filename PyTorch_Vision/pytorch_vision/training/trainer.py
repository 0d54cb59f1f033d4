"""The training step, and the batches, loss, optimizer and average that it needs."""

import contextlib
import copy
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from pytorch_vision.data import ImageData, train_loader
from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.models.adapter import Adapter, find_training_call
from pytorch_vision.models.inference import scaled_down
from pytorch_vision.models.module_utils import load_state, tensors_of
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.cuda_graphs import CudaGraphs, is_capturable
from pytorch_vision.runtime.devices import (
    describe_hardware,
    device_settings,
    gradients_on,
    random_state_kept,
)
from pytorch_vision.runtime.launch import expect_unused_parameters
from pytorch_vision.training.average import Average
from pytorch_vision.training.batchnorm import compute_statistics, image_count, train_mode
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Custom, CustomLoss
from pytorch_vision.training.epoch_metrics import EpochMetrics
from pytorch_vision.training.loss import cross_entropy
from pytorch_vision.training.optimizers import make_optimizer
from pytorch_vision.training.progress import Progress
from pytorch_vision.training.pruning import Pruning


@contextlib.contextmanager
def training_settings(device: torch.device) -> Iterator[None]:
    """Set what every training needs, and restore it afterwards, with the random state."""
    with device_settings(device), random_state_kept(device), warnings.catch_warnings():
        # float16's gradient scaler skips the first steps, until its scale fits
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        with gradients_on():
            yield


class Trainer:
    """Trains a classifier's network in place, step by step; each process has its own ``Trainer``.

    ``adapter`` calls the network, which is on the device already; None creates one. ``custom`` has
    a custom loss and optimizer; None uses the recipe's. The other arguments are those of ``fit``.

    Attributes:
        network: the network in training; ``model`` calls it.
        unreached: the names of trainable parameters that the logits do not depend on.
        average: the average of the weights; ``average.network`` is tested and kept.
        loader: yields the training batches, of images that ``pruning`` chooses.
        progress: the current epoch and batch; ``metrics`` has the epoch's loss and accuracy.
        hardware: a description of the device.

    Raises:
        ValueError: nothing in the network can be trained, a training step fails, or the network
            cannot be averaged.
    """

    def __init__(
        self,
        processes: Processes,
        classifier: Classifier,
        data: ImageData,
        config: TrainConfig,
        adapter: Adapter | None = None,
        custom: Custom | None = None,
    ) -> None:
        self.processes, self.classifier = processes, classifier
        self.data, self.config, self.custom = data, config, custom or Custom()
        self.fabric = fabric = processes.fabric
        fabric.to_device(classifier.network)
        self.adapter = adapter or classifier.adapted(fabric)
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
        self.average = Average(
            self.network, config.average_weights, whole=config.transfer == "near"
        )
        call, self.unreached = find_training_call(self.adapter, classifier.size, fabric.autocast)
        self.adapter = Adapter(self.network, call, self.adapter.classes)
        trainable = [name for name, one in self.network.named_parameters() if one.requires_grad]
        if self.unreached == trainable:
            raise ValueError(
                f"there is nothing to train in {classifier}: its logits have no gradient with "
                "respect to any parameter; remove the detach(), no_grad() or NumPy after them"
            )
        if processes.world_size > 1 and self.unreached:
            expect_unused_parameters(fabric)
        self.model: Any = fabric.setup_module(self.adapter)
        steps = self.pruning.steps()
        make = self.custom.optimizer and self.custom.make_optimizer
        optimizer, self.schedulers = make_optimizer(self.network, config, steps, make)
        self.optimizer: Any = fabric.setup_optimizers(optimizer)
        if self.custom.loss is None:
            self.criterion: Any = cross_entropy(data, config, fabric.device)
        else:
            self.criterion = CustomLoss(self.custom.loss, fabric.device)
        alone = fabric.device.type == "cuda" and processes.world_size == 1
        capturable = alone and self.custom.loss is None and is_capturable(self.network)
        self.graphs = CudaGraphs(capturable, list(self.network.parameters()))
        self.metrics = EpochMetrics(processes)
        self.progress = Progress(history=classifier.history)
        self.hardware = describe_hardware(fabric, self.adapter.call.autocast)

    @property
    def steps(self) -> int:
        """The number of steps so far."""
        return self.schedulers[0].last_epoch

    @property
    def scale(self) -> float:
        """The fraction of height and width to which the current epoch scales the images."""
        return self.config.scale_in(self.progress.epoch)

    def begin_epoch(self) -> None:
        """Choose the current epoch's images and augmentation, and enter training mode."""
        self.pruning.begin(self.progress.epoch)
        self.loader.vary(self.config.augmentation_in(self.progress.epoch))
        train_mode(self.network)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Train on a batch: normalised images, float32 (N, 3, H, W), and labels, int64 (N,)."""
        images, labels = self.fabric.to_device((images, labels))
        images = scaled_down(images, self.scale)
        # a plain call; on a GPU, from the third batch on, a replay of its kernels
        loss, logits = self.graphs(self.forward_and_backward, images, labels)
        self.optimizer.step()
        self.average.update(self.steps + 1, len(self.loader))
        self.record(loss, logits, labels)
        for scheduler in self.schedulers:
            scheduler.step()

    def forward_and_backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients; return the summed loss and the logits, (N, C)."""
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.loss(logits, labels)
        # the gradient of the batch's mean loss; several processes may share the batch
        share = self.processes.world_size / self.loader.count(self.progress.batch)
        self.fabric.backward(loss * share)
        return loss.detach(), logits.detach()

    def record(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch to the epoch's metrics and progress."""
        self.metrics.update(loss, logits, labels, self.progress.batch)
        self.pruning.note(self.progress.batch, logits, labels)
        self.progress.learning_rates = [float(s.get_last_lr()[0]) for s in self.schedulers]
        self.progress.batch += 1

    def end_epoch(self, record: EpochRecord, text: str) -> None:
        """Add the current epoch to the history and its printed text to the log; begin the next."""
        progress = self.progress
        progress.epoch, progress.batch, progress.seconds = progress.epoch + 1, 0, 0.0
        progress.history = History((*progress.history.records, record))
        progress.log.append({"text": text, "hardware": self.hardware})
        self.pruning.end()
        self.metrics.reset()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss summed over this process's images of the current batch."""
        shard = self.loader.part(self.loader.count(self.progress.batch))
        if shard.start == shard.stop:  # filler images, which only keep this process in step
            return 0 * logits.sum()
        return self.criterion(logits, labels)

    def means(self) -> tuple[float, float]:
        """Return the epoch's loss and accuracy (in percent) so far; waits for the device.

        Raises:
            FloatingPointError: a loss was infinite or NaN; names epoch and batch.
        """
        bad = self.metrics.first_bad_batch()
        if bad is not None:
            rates = ", ".join(f"{name}={self.config.chosen(name)}" for name in self.config.rates)
            advice = f"Lower the learning rate ({rates}) or train in precision '32-true'."
            if self.custom.optimizer is not None:
                advice = "Lower the learning rate of your optimizer."
            if bad == self.progress.epoch == 0:  # no step was made before
                advice = "It is the first: check the loss, the initial weights and the precision."
            raise FloatingPointError(
                f"the loss is not finite at epoch {self.progress.epoch + 1}, batch {bad}. {advice}"
            )
        return self.metrics.means(self.loader.shown(self.progress.batch))

    def update_statistics(self) -> None:
        """Recompute BatchNorm's running statistics for the weights that are about to be tested.

        They are computed from the first images of the current epoch, augmented as in it; all
        processes use the same images and get the same result.
        """
        self.average.copy_attributes()
        whole = copy.copy(self.loader)
        whole.rank, whole.world_size = 0, 1
        count = -(-image_count(len(whole.images)) // whole.batch_size)
        batches = (
            scaled_down(self.fabric.to_device(images), self.scale)
            for images, _ in islice(whole.epoch(self.progress.epoch), count)
        )
        compute_statistics(self.tested_adapter, batches, self.fabric.autocast)

    @property
    def tested_adapter(self) -> Adapter:
        """An adapter that calls the network that is tested."""
        return Adapter(self.average.network, self.adapter.call, self.adapter.classes)

    def tested(self) -> Classifier:
        """Return the classifier with the weights that are tested and the history so far."""
        self.classifier.learns_from(self.data.train_digests)
        return self.classifier.with_network(self.average.network, self.progress.history)

    def finish(self) -> None:
        """Put the tested weights and the history into the classifier, and delete the gradients.

        A training that failed before its first step changes nothing here.
        """
        self.optimizer.zero_grad()
        if not self.steps:
            return
        if self.average.network is not self.network:
            load_state(self.network, tensors_of(self.average.network))
        self.classifier.learns_from(self.data.train_digests)
        self.classifier.history = self.progress.history
