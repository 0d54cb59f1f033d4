"""The settings of a training run, and ready-made recipes."""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pytorch_vision.data import Augmentation

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run.

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
        small_share: the share of the epochs, the first ones, in [0, 1), that are trained and tested
            on images at three quarters of their size, at little more than half of the work
            ("progressive resizing", see ``resizing``), and varied less (``augmentation_in``).
        skip_share: the share of the training images, in [0, 1), that every epoch but the first
            leaves out: some of those that the network had most nearly right when it last saw them
            (see ``skipping``). An epoch's training loss and accuracy are then those of the images
            that it showed, the harder ones.
        accelerator: "auto", "cpu", "cuda" or "mps". "auto" is a CUDA GPU where there is one, and
            the CPU elsewhere; Apple's GPUs ("mps") are used only when asked for, as nobody has
            tried them.
        devices: how many of them train together, each in a process of its own; "auto" is all CUDA
            devices. The batch size stays that of a step, whatever their number. On a CPU it is
            the number of processes, which share the cores.
        precision: "auto" is bfloat16 autocast where the device has it in hardware, float16 with
            gradient scaling on older CUDA devices, and float32 elsewhere.
        compile: run the training step through ``torch.compile``. It is off by default: on a CPU it
            gains little or nothing (see ``benchmarks/train_step.py``), and on an H100 it took 28 s
            and gained nothing.

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
    small_share: float = 0.0
    skip_share: float = 0.0
    accelerator: str = "auto"
    devices: int | Literal["auto"] = 1
    precision: Precision = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seed"):
            if not isinstance(getattr(self, name), numbers.Integral):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected a whole number")
        for name in (
            "muon_rate",
            "learning_rate",
            "momentum",
            "weight_decay",
            "label_smoothing",
            "small_share",
            "skip_share",
        ):
            value = getattr(self, name)
            if name == "learning_rate" and value is None:
                continue
            if not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}, expected a finite number")
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
            "small_share": (0 <= self.small_share < 1, "0 to less than 1"),
            "skip_share": (0 <= self.skip_share < 1, "0 to less than 1"),
            "accelerator": (
                self.accelerator in ("auto", "cpu", "cuda", "mps"),
                "'auto', 'cpu', 'cuda' or 'mps'",
            ),
            "devices": (
                self.devices == "auto" or (isinstance(self.devices, int) and self.devices >= 1),
                "1 or more, or 'auto'",
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

    @property
    def small_epochs(self) -> int:
        """How many epochs, the first ones, show small images."""
        return int(self.small_share * self.epochs)

    def scale_in(self, epoch: int) -> float:
        """Return at what part of their height and width an epoch, from 0 on, shows the images."""
        return 0.75 if epoch < self.small_epochs else 1.0

    def augmentation_in(self, epoch: int) -> Augmentation:
        """Return how an epoch, from 0 on, varies the images: small ones less.

        They are cropped from two thirds of the padding, and have no hole. Size and variation grow
        together in Mingxing Tan and Quoc Le, "EfficientNetV2", arXiv 2104.00298.
        """
        if epoch >= self.small_epochs:
            return self.augmentation
        return replace(
            self.augmentation, padding=round(2 / 3 * self.augmentation.padding), cutout=0
        )

    @classmethod
    def original_recipe(cls, **changes: Any) -> "TrainConfig":
        """Return the training that the original notebook meant to do, for comparison.

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

    @classmethod
    def fine_tuning(cls, **changes: Any) -> "TrainConfig":
        """Return a training that begins with weights of an earlier one: few epochs of gentle SGD.

        Muon moves every filter by a fixed part of its size at each step, whatever it has learned
        already: one epoch of it took the committed weights from 95 % to 74.8 % of the test
        images, and one of SGD at this rate to 94.8 %.
        """
        return replace(cls(epochs=5, optimizer="sgd", learning_rate=0.001), **changes)

    @classmethod
    def quick(cls, **changes: Any) -> "TrainConfig":
        """Return nine epochs for ``CustomResNet``, the first five of them of smaller images.

        Its classifier's input is a maximum over the map, and its logits are scaled down: SGD
        can go faster. In so few epochs each image is seen seldom, and varied less: by crops from
        3 pixels of padding, with a smaller hole. A running average would lag behind.
        """
        recipe = cls(
            epochs=9,
            muon_rate=0.12,
            learning_rate=0.1,
            average_weights=False,
            augmentation=Augmentation(padding=3, cutout=8),
            small_share=0.56,
            skip_share=0.33,
        )
        return replace(recipe, **changes)


def checked_devices(wanted: int | str) -> int | Literal["auto"]:
    """Return a number of devices, which may be given as text, or "auto".

    Raises:
        ValueError: it is neither.
    """
    if wanted == "auto":
        return "auto"
    if not str(wanted).isdecimal() or int(wanted) < 1:
        raise ValueError(f"devices is {wanted!r}, expected a number from 1 on, or 'auto'")
    return int(wanted)


# ready-made settings, by the name that the notebook and the command line have for them
RECIPES: dict[str, Callable[..., TrainConfig]] = {
    "default": TrainConfig,
    "quick": TrainConfig.quick,
    "finetune": TrainConfig.fine_tuning,
    "original": TrainConfig.original_recipe,
}
