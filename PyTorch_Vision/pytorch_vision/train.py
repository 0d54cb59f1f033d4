"""Training and testing loops."""

import contextlib
import copy
import csv
import ctypes
import hashlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import lightning_fabric
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from pytorch_vision import checkpoint
from pytorch_vision.data import ImageData
from pytorch_vision.loaders import eval_batches, train_loader
from pytorch_vision.optimizers import muon_with_linear_schedule, sgd_with_one_cycle
from pytorch_vision.transforms import Augmentation

SAVE_SECONDS = 60.0
BAR_SECONDS = 0.5  # between two readings of the loss, each of which waits for the device
COMPILE_IMAGES = 100_000  # on CUDA, a run of fewer does not repay a minute of compiling

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run is set by.

    Attributes:
        epochs: passes over the training images; 0 only evaluates.
        batch_size: images a step.
        seed: of the order of the images and of their augmentation.
        optimizer: "muon": Muon on convolution filters, SGD on the rest, rates rising linearly
            over the first tenth of the steps and falling linearly to zero; "sgd": SGD on
            everything, under OneCycleLR.
        muon_rate: Muon's peak rate, the relative size of a step.
        learning_rate: SGD's peak learning rate; None is 0.05 beside Muon and 0.2 alone.
        momentum, nesterov: of SGD.
        weight_decay: of the convolution and linear weights that SGD trains.
        label_smoothing: of the training loss, in [0, 1).
        average_weights: test and keep a running average of the weights (over about one epoch)
            instead of the weights themselves.
        augmentation: how the training images are varied.
        accelerator: "auto", "cpu", "cuda" or "mps".
        precision: "auto" is bfloat16 autocast where the device has it in hardware, float16 with
            gradient scaling on older CUDA devices, and float32 elsewhere.
        compile: run the training step through ``torch.compile``; None does so for long runs on
            CUDA. On a CPU it gains nothing over eager mode with the memory kept (see
            ``benchmarks/train_step.py``).

    Raises:
        ValueError: a value is out of range; the message says which and what was expected.
    """

    epochs: int = 20
    batch_size: int = 512
    seed: int = 0
    optimizer: Literal["muon", "sgd"] = "muon"
    muon_rate: float = 0.1
    learning_rate: float | None = None
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    average_weights: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    accelerator: str = "auto"
    precision: Precision = "auto"
    compile: bool | None = None

    def __post_init__(self) -> None:
        expected = {
            "epochs": (self.epochs >= 0, "0 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "seed": (self.seed >= 0, "0 or more"),
            "optimizer": (self.optimizer in ("muon", "sgd"), "'muon' or 'sgd'"),
            "muon_rate": (self.muon_rate > 0, "more than 0"),
            "learning_rate": (self.peak_rate > 0, "more than 0"),
            "momentum": (0 <= self.momentum < 1, "0 to less than 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 to less than 1"),
            "accelerator": (
                self.accelerator in ("auto", "cpu", "cuda", "mps"),
                "'auto', 'cpu', 'cuda' or 'mps'",
            ),
            "precision": (
                self.precision in ("auto", "32-true", "bf16-mixed", "16-mixed"),
                "'auto', '32-true', 'bf16-mixed' or '16-mixed'",
            ),
        }
        for name, (holds, what) in expected.items():
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {what}")

    @property
    def peak_rate(self) -> float:
        """SGD's peak learning rate, chosen or by default."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.05 if self.optimizer == "muon" else 0.2

    @classmethod
    def seed_recipe(cls, **changes: Any) -> "TrainConfig":
        """Return the training that the seed's notebook meant to do, for comparison.

        Plain SGD with momentum 0.9, OneCycleLR up to 0.05 stepped once a batch, cross-entropy
        without smoothing, RandomCrop with padding 4 and CutOut, no flip, batches of 128.
        """
        recipe = cls(
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.05,
            nesterov=False,
            weight_decay=0.0,
            label_smoothing=0.0,
            average_weights=False,
            augmentation=Augmentation(flip="none"),
        )
        return replace(recipe, **changes)


@dataclass(frozen=True)
class EpochRecord:
    """One line of a history; losses are means over images, accuracies are in percent.

    ``train_loss`` is what the optimizer saw: with label smoothing, on augmented images.
    ``learning_rate`` is SGD's at the epoch's last step; seconds are wall-clock time.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    train_seconds: float
    test_seconds: float


@dataclass(frozen=True)
class History:
    """What training recorded, one record an epoch, the first epoch being 1."""

    records: tuple[EpochRecord, ...] = ()

    def column(self, name: str) -> list[float]:
        """Return one attribute of all records."""
        return [getattr(record, name) for record in self.records]

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a header and one line an epoch, making the folder if it is missing."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(field.name for field in fields(EpochRecord))
            for record in self.records:
                writer.writerow(
                    f"{value:.6g}" if isinstance(value, float) else value
                    for value in astuple(record)
                )


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy of the test images, and how many of them were classified rightly."""

    loss: float
    correct: int
    count: int

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.correct / self.count

    def __str__(self) -> str:
        return (
            f"Test set: Average loss: {self.loss:.4f}, "
            f"Accuracy: {self.correct}/{self.count} ({self.accuracy:.2f}%)"
        )


def fit(
    model: nn.Module,
    data: ImageData,
    config: TrainConfig | None = None,
    checkpoints: str | os.PathLike | None = None,
) -> History:
    """Train a model in place and return its history.

    Prints one progress bar and one line ``Test set: ...`` an epoch. Interrupting it (Ctrl-C, or
    the notebook's stop button) ends it after the batch at hand, with the history so far; a
    second interrupt ends it at once. Afterwards the model holds the averaged weights, where they
    are averaged, and stands on the device that it was trained on.

    Args:
        model: gives logits (N, C) for float32 images (N, 3, H, W).
        data: images and labels; they are not copied.
        config: ``TrainConfig()`` if None.
        checkpoints: a folder in which the run keeps its state, at least once a minute; the same
            call made again goes on from there and ends with the same weights, bit for bit.

    Raises:
        FloatingPointError: the loss stopped being finite; names epoch and batch.
        MemoryError: the GPU has too little memory; says which batch size to try.
        pytorch_vision.checkpoint.CheckpointError: the folder holds the checkpoint of another run.
    """
    config = config or TrainConfig()
    fabric = make_fabric(config)
    if config.epochs == 0:
        print(f"Testing on {describe_hardware(fabric)}")
        print(_test(fabric, place(fabric, model), data))
        return History()
    with _device_settings(fabric), _deferred_interrupt() as interrupted:
        run = _Run(fabric, model, data, config, checkpoints)
        try:
            while run.epoch < config.epochs:
                if not (run.train_epoch(interrupted) and run.test_epoch(interrupted)):
                    print(
                        f"Interrupted in epoch {run.epoch + 1}; the history "
                        f"holds {len(run.history.records)} whole epoch(s)."
                    )
                    break
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"{fabric.device} has no memory for batches of {config.batch_size} images; try "
                f"batch_size={max(1, config.batch_size // 2)}"
            ) from error
        finally:
            run.finish()
    return run.history


def evaluate(model: nn.Module, data: ImageData, config: TrainConfig | None = None) -> Evaluation:
    """Test a model on the test images: one forward pass each, no augmentation.

    The model is put on the device, and left in the mode it was in.
    """
    fabric = make_fabric(config or TrainConfig())
    return _test(fabric, place(fabric, model), data)


def make_fabric(config: TrainConfig) -> lightning_fabric.Fabric:
    """Return the Fabric that places tensors and chooses the precision, on one device."""
    # Fabric announces the precision on stderr, which a notebook shows as an error.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    precision = _auto_precision(accelerator) if config.precision == "auto" else config.precision
    return lightning_fabric.Fabric(accelerator=accelerator, devices=1, precision=precision)


def place(fabric: lightning_fabric.Fabric, model: nn.Module) -> nn.Module:
    """Put a model, in place, on Fabric's device and in the memory order that is fastest there.

    Channels-last suits convolutions on CPU and GPU alike.
    """
    return fabric.setup_module(model.to(memory_format=torch.channels_last)).module


def _auto_precision(accelerator: str) -> Precision:
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "16-mixed"
    flags = _processor().get("flags", "").split()
    able = accelerator == "cpu" and ("avx512_bf16" in flags or "amx_bf16" in flags)
    return "bf16-mixed" if able else "32-true"


def _processor() -> dict[str, str]:
    """Return what Linux tells of the first processor; nothing on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def describe_hardware(fabric: lightning_fabric.Fabric) -> str:
    """Name the device and the precision, as in "AMD EPYC (2 threads), bf16-mixed"."""
    if fabric.device.type == "cuda":
        device = torch.cuda.get_device_name(fabric.device)
    elif fabric.device.type == "cpu":
        device = f"{_processor().get('model name', 'CPU')} ({torch.get_num_threads()} threads)"
    else:
        device = str(fabric.device)
    return f"{device}, {fabric.strategy.precision.precision}"


def _has_compiler() -> bool:
    """Tell whether ``torch.compile`` will find the C++ compiler that it needs."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "g++"))


def _decide_compile(config: TrainConfig, device: torch.device, images: int) -> bool:
    """Decide, once for a whole run over that many images, whether to compile the model."""
    wanted = config.compile
    if wanted is None:
        wanted = device.type == "cuda" and images >= COMPILE_IMAGES
    if wanted and not _has_compiler():
        print("No C++ compiler found: training without torch.compile")
        return False
    return wanted


@contextlib.contextmanager
def _device_settings(fabric: lightning_fabric.Fabric) -> Iterator[None]:
    """Set what makes a training loop fast on its device; put all back afterwards."""
    if fabric.device.type == "cpu":
        with _memory_kept():
            yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # TF32
    try:
        # cuDNN chooses its kernels by trial: the shapes of one run are always the same
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def _memory_kept() -> Iterator[None]:
    """Have glibc's malloc keep freed memory for the next step instead of returning it at once.

    Otherwise every large activation is mapped and zeroed by the kernel afresh at every step:
    ``kept_ratio`` in ``benchmarks/train_step.py``.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):  # not glibc: its allocator has other ways
        yield
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        mallopt(mmap_max, 65_536)  # glibc's defaults
        mallopt(trim_threshold, 128 * 1024)
        trim(0)


@contextlib.contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether an interrupt has come; a second one acts as usual.

    Between two batches everything is in step; in the middle of one, the weights are not.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set  # Python delivers interrupts to the main thread only
        return

    def remember(*_: Any) -> None:
        came.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def logits_of(
    fabric: lightning_fabric.Fabric,
    model: nn.Module,
    images: np.ndarray,
    mean_and_std: tuple[Sequence[float], Sequence[float]],
) -> Iterator[Tensor]:
    """Give the logits of images, batch by batch, as they are tested: without augmentation.

    Args:
        fabric: of ``make_fabric``; its precision is used.
        model: stands on Fabric's device; in evaluation mode while this runs.
        images: uint8 (N, H, W, 3).
        mean_and_std: by which they are normalised.

    Yields:
        float32 (B, C), on the device.
    """
    training = model.training
    model.eval()
    try:
        for batch in eval_batches(images, *mean_and_std, fabric.device):
            # not around the loop: the caller's code runs in whatever is open at a yield
            with torch.inference_mode(), fabric.autocast():
                logits = model(batch).float()
            yield logits
    finally:
        model.train(training)


def _test(
    fabric: lightning_fabric.Fabric,
    model: nn.Module,
    data: ImageData,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Test a model that stands on Fabric's device; None if interrupted."""
    sums = torch.zeros(2, device=fabric.device)  # of the losses, and of the right answers
    labels = torch.from_numpy(data.test_labels).to(fabric.device)
    start = 0
    with contextlib.closing(
        logits_of(fabric, model, data.test_images, data.mean_and_std)
    ) as batches:
        for logits in batches:
            if interrupted():
                return None
            expected = labels[start : start + len(logits)]
            sums[0] += F.cross_entropy(logits, expected, reduction="sum")
            sums[1] += (logits.argmax(1) == expected).sum()
            start += len(logits)
    loss, correct = sums.tolist()
    return Evaluation(loss / start, int(correct), start)


class _Run:
    """One training run: its state, which is what a checkpoint holds, and how it moves on."""

    def __init__(
        self,
        fabric: lightning_fabric.Fabric,
        model: nn.Module,
        data: ImageData,
        config: TrainConfig,
        folder: str | os.PathLike | None,
    ) -> None:
        self.fabric, self.data, self.config, self.folder = fabric, data, config, folder
        self.loader = train_loader(
            data, config.augmentation, config.batch_size, config.seed, fabric.device
        )
        steps = config.epochs * len(self.loader)
        compiled = _decide_compile(config, fabric.device, config.epochs * len(data.train_images))
        self.hardware = describe_hardware(fabric) + (", compiled" if compiled else "")
        print(f"Training on {self.hardware}")

        self.model = place(fabric, model)
        self.step_model = fabric.setup_module(
            torch.compile(model, dynamic=False) if compiled else model
        )
        common = {
            "learning_rate": config.peak_rate,
            "momentum": config.momentum,
            "nesterov": config.nesterov,
            "weight_decay": config.weight_decay,
        }
        if config.optimizer == "muon":
            pairs = muon_with_linear_schedule(model, steps, config.muon_rate, **common)
        else:
            pairs = sgd_with_one_cycle(model, steps, **common)
        self.schedulers = [scheduler for _, scheduler in pairs]
        self.optimizers = [fabric.setup_optimizers(optimizer) for optimizer, _ in pairs]
        self.averaged = copy.deepcopy(model) if config.average_weights else model
        self.history = History()
        self.log: list[dict[str, str]] = []  # what each epoch printed, and on what it ran
        self.bar_line = ""  # the bar of the epoch at hand, once it is full
        self.epoch, self.batch = 0, 0  # the next batch to train on
        self.seconds = 0.0  # spent on the epoch so far
        self.rate = 0.0  # SGD's learning rate at the last step
        self._start_epoch()
        self.saved_at = time.monotonic()
        if folder is not None:
            self.recipe = _recipe(config, data, model)  # hashes all images: once, and only here
            self._resume()

    def _start_epoch(self) -> None:
        device = self.fabric.device
        self.sums = torch.zeros(2, device=device)  # of the losses, and of the right answers
        self.bad_batch = torch.full((), -1, device=device)  # the first whose loss is not finite

    def train_epoch(self, interrupted: Callable[[], bool]) -> bool:
        """Train to the end of the epoch and return True, or False if interrupted before it."""
        self.model.train()
        started = time.monotonic() - self.seconds
        shown = 0.0
        with tqdm(
            total=len(self.loader),
            initial=self.batch,
            file=sys.stdout,
            smoothing=0,  # the epoch's mean speed, not the last moment's
            bar_format="{desc}: {percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}, {rate_fmt}]",
            disable=self.batch == len(self.loader),  # resumed when only the test was missing
        ) as bar:
            for images, labels in self.loader.epoch(self.epoch, self.batch):
                self._step(images, labels)
                self.batch += 1
                now = time.monotonic()
                self.seconds = now - started
                if self.batch == len(self.loader) or now - shown > BAR_SECONDS:
                    shown = now
                    bar.set_description_str(self._description(), refresh=False)
                bar.update()
                if self.batch == len(self.loader):
                    bar.refresh()
                    self.bar_line = str(bar)
                self._save(due=interrupted())
                if interrupted():
                    return False
        return True

    def _step(self, images: Tensor, labels: Tensor) -> None:
        images, labels = self.fabric.to_device((images, labels))
        images = images.to(memory_format=torch.channels_last)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        logits = self.step_model(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        self.fabric.backward(loss)
        for optimizer in self.optimizers:
            optimizer.step()
        self.rate = self.schedulers[0].get_last_lr()[0]
        with warnings.catch_warnings():
            # float16's gradient scaler skips its first steps, until its scale fits; the schedule
            # goes on all the same
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for scheduler in self.schedulers:
                scheduler.step()
        with torch.no_grad():
            self.sums[0] += loss * len(labels)
            self.sums[1] += (logits.argmax(1) == labels).sum()
            fine = loss.isfinite() | (self.bad_batch >= 0)
            self.bad_batch = torch.where(fine, self.bad_batch, self.batch)
            self._average()

    def _average(self) -> None:
        """Move the averaged weights: over a tenth of the steps so far, up to a whole epoch."""
        if self.averaged is self.model:
            return
        step = self.epoch * len(self.loader) + self.batch
        weight = max(9 / (10 + step), 1 / len(self.loader))
        get_ema_multi_avg_fn(1 - weight)(
            _float_tensors(self.averaged), _float_tensors(self.model), None
        )

    def _means(self) -> tuple[float, float]:
        """Return the epoch's loss and accuracy so far; waits for the device."""
        bad_batch = int(self.bad_batch)
        if bad_batch >= 0:
            raise FloatingPointError(
                f"the loss is not finite at epoch {self.epoch + 1}, batch {bad_batch}. Lower the "
                f"learning rate (learning_rate={self.config.peak_rate}, "
                f"muon_rate={self.config.muon_rate}) or train in precision '32-true'."
            )
        loss, correct = self.sums.tolist()
        seen = min(self.batch * self.loader.batch_size, len(self.data.train_images))
        return loss / seen, 100 * correct / seen

    def _description(self) -> str:
        loss, accuracy = self._means()
        return (
            f"Epoch {self.epoch + 1}/{self.config.epochs} Loss={loss:.4f} "
            f"Batch_id={self.batch - 1} Accuracy={accuracy:.2f}"
        )

    def test_epoch(self, interrupted: Callable[[], bool]) -> bool:
        """Test, record the epoch and go on to the next; False if interrupted before the end."""
        started = time.monotonic()
        result = _test(self.fabric, self.averaged, self.data, interrupted)
        if result is None:
            self._save(due=True)
            return False
        print(f"{result}\n")
        self.log.append({"text": f"{self.bar_line}\n{result}\n", "hardware": self.hardware})
        train_loss, train_accuracy = self._means()
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            test_loss=result.loss,
            test_accuracy=result.accuracy,
            learning_rate=self.rate,
            train_seconds=self.seconds,
            test_seconds=time.monotonic() - started,
        )
        self.history = History((*self.history.records, record))
        self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
        self._start_epoch()
        self._save(due=self.epoch == self.config.epochs)
        return True

    def finish(self) -> None:
        """Leave the weights that were tested in the caller's model."""
        if self.averaged is not self.model:
            self.model.load_state_dict(self.averaged.state_dict())

    def _save(self, due: bool) -> None:
        """Save if it is due, or if the last time is long ago; never a broken state."""
        if self.folder is None:
            return
        if not due and time.monotonic() - self.saved_at < SAVE_SECONDS:
            return
        if int(self.bad_batch) >= 0:
            return
        state = {
            "recipe": self.recipe,
            "hardware": self.hardware,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not self.model else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "precision": self.fabric.strategy.precision.state_dict(),
            "history": [asdict(record) for record in self.history.records],
            "log": self.log,
            "bar_line": self.bar_line,
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.seconds,
            "rate": self.rate,
            "sums": self.sums,
        }
        try:
            checkpoint.save(self.folder, state)
        except (OSError, RuntimeError) as error:
            tqdm.write(
                f"No checkpoint saved in {self.folder} ({error}); the previous one, if any, is "
                "untouched. Training goes on.",
                file=sys.stdout,
            )
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one, printing again what its epochs printed."""
        state = checkpoint.load(self.folder)
        if state is None:
            return
        checkpoint.check_recipe(self.folder, state["recipe"], self.recipe)
        self.model.load_state_dict(state["model"])
        if self.averaged is not self.model:
            self.averaged.load_state_dict(state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.history = History(tuple(EpochRecord(**record) for record in state["history"]))
        self.log, self.bar_line = state["log"], state["bar_line"]
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.seconds, self.rate = state["seconds"], state["rate"]
        self.sums = state["sums"].to(self.fabric.device)

        hardware = None
        for entry in self.log:
            if entry["hardware"] != hardware:
                hardware = entry["hardware"]
                print(f"From the checkpoint, run on {hardware}:")
            print(entry["text"])
        if self.epoch < self.config.epochs:
            print(f"Going on from the checkpoint at epoch {self.epoch + 1}, batch {self.batch}")
            if state["hardware"] != self.hardware:
                print(
                    f"It was run on {state['hardware']}: the last bits of the weights may differ "
                    "from those of a run on one machine."
                )
            if self.batch == len(self.loader):
                print(self.bar_line)


def _float_tensors(model: nn.Module) -> list[Tensor]:
    """Return the parameters and the running statistics of a model, without their gradients."""
    tensors = [*model.parameters(), *model.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]


def _recipe(config: TrainConfig, data: ImageData, model: nn.Module) -> dict[str, Any]:
    """Return what a run must have in common with the checkpoint that it goes on from."""
    recipe = asdict(config)
    for name in ("accelerator", "precision", "compile"):
        del recipe[name]
    return {
        **recipe,
        "data": f"{data.name} ({_fingerprint(data)})",
        "model": _describe_model(model),
    }


def _fingerprint(data: ImageData) -> str:
    """Return the first 16 digits of the SHA-256 of all images and labels."""
    digest = hashlib.sha256()
    for array in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def _describe_model(model: nn.Module) -> str:
    """Name a model's kind, its size, and a hash of its layers with all their settings."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = hashlib.sha256(str(model).encode()).hexdigest()[:16]
    return f"{type(model).__name__} with {parameters:,} parameters (layers {layers})"
