"""The recipe of a training, without the machine that it runs on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from pytorch_vision.data import Augmentation
from pytorch_vision.runtime.checks import checked_dataclass
from pytorch_vision.training.optimizers import OPTIMIZERS, OptimizerName

FEW_IMAGES, FEW_BATCH, BATCH = 5000, 32, 512  # with few images, large batches give too few steps
Rate = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


def _defaults(setting: str) -> str:
    """Return the default values of an optimizer's setting: "0.05 for muon, 0.2 for sgd"."""
    return ", ".join(
        f"{one.defaults[setting]:g} for {name}"
        for name, one in OPTIMIZERS.items()
        if setting in one.defaults
    )


@checked_dataclass
class TrainConfig:
    """The recipe of a training: all settings that decide its result, except for the machine.

    Raises:
        ValueError: a value is out of range; the message says which and what was expected.
    """

    epochs: int = Field(
        default=20, ge=0, description="passes over the training images; 0 only tests"
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description=f"images per step, on all devices together; default: {BATCH}, or "
        f"{FEW_BATCH} for up to {FEW_IMAGES:,} training images",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="random seed of the order, the augmentation and dropout, and of a "
        "network's first weights if it is made from these settings",
    )
    optimizer: OptimizerName = Field(
        default="muon",
        description="; ".join(f"{name}: {one.description}" for name, one in OPTIMIZERS.items()),
    )
    muon_learning_rate: Rate = Field(
        default=None,
        description="Muon's peak learning rate, the relative size of a step; default: "
        + _defaults("muon_learning_rate"),
    )
    learning_rate: Rate = Field(
        default=None,
        description="peak learning rate of SGD or AdamW; default: " + _defaults("learning_rate"),
    )
    transfer: Literal["no", "near"] = Field(
        default="no",
        description="near: stay near the weights that the network begins with (first move "
        "BatchNorm's statistics towards the images' and fit the last layer, unless it classifies "
        "as well already; freeze BatchNorm layers; average the weights over the whole training)",
    )
    train: Literal["all", "head"] = Field(
        default="all",
        description="all: train all layers; head: only the last one, the classifier's head",
    )
    warm_up: Share = Field(
        default=0.1,
        description="share of the steps in which the rates rise; OneCycleLR has its own",
    )
    momentum: Share = Field(default=0.9, description="SGD's momentum")
    nesterov: bool = Field(default=True, description="whether SGD's momentum is Nesterov's")
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="weight decay of convolutions and linear layers by SGD or AdamW; default: "
        + _defaults("weight_decay"),
    )
    label_smoothing: Share = Field(
        default=0.1,
        description="share of the target that the training loss spreads evenly over all classes",
    )
    class_weights: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="balances unequal classes: an image's weight in the loss is its class's "
        "frequency to the power of minus this, scaled to a mean of 1; 0: all images count "
        "alike, 1: all classes do",
    )
    average_weights: bool = Field(
        default=True,
        description="test and save a running average of the weights, over about one epoch, "
        "in place of the weights themselves",
    )
    progressive_resizing: Share = Field(
        default=0.0,
        description="share of the epochs, the first ones, that train and test on images at "
        "three quarters of their size, with less augmentation",
    )
    pruning: Share = Field(
        default=0.0,
        description="share of the training images that every epoch but the first leaves out: "
        "some of those with the smallest losses when they were last shown",
    )
    augmentation: Augmentation = Field(
        default_factory=Augmentation, description="how the training images are varied"
    )

    def chosen(self, setting: str) -> float:
        """Return a peak learning rate or the weight decay; if unset, the optimizer's default."""
        value = getattr(self, setting)
        return OPTIMIZERS[self.optimizer].defaults[setting] if value is None else value

    @property
    def rates(self) -> list[str]:
        """The settings that are peak learning rates of the optimizer."""
        return OPTIMIZERS[self.optimizer].rates

    def batch_size_for(self, images: int) -> int:
        """Return the batch size; if it is unset, one for this number of training images."""
        if self.batch_size is not None:
            return self.batch_size
        return FEW_BATCH if images <= FEW_IMAGES else BATCH

    @property
    def small_epochs(self) -> int:
        """The number of first epochs that show smaller images."""
        return int(self.progressive_resizing * self.epochs)

    def scale_in(self, epoch: int) -> float:
        """Return the fraction of their height and width at which an epoch shows images.

        "Progressive resizing": Jeremy Howard, fast.ai's entry for DAWNBench, 2018.
        """
        return 0.75 if epoch < self.small_epochs else 1.0

    def augmentation_in(self, epoch: int) -> Augmentation:
        """Return an epoch's augmentation, which is weaker for smaller images.

        These are cropped from two thirds of the padding, without CutOut. Size and augmentation grow
        together as in Mingxing Tan and Quoc Le, "EfficientNetV2", arXiv 2104.00298.
        """
        if epoch >= self.small_epochs:
            return self.augmentation
        return replace(
            self.augmentation, padding=round(2 / 3 * self.augmentation.padding), cutout=0
        )

    def _changed(self, changes: dict[str, Any]) -> "TrainConfig":
        """Return the recipe with changes; another optimizer starts from its own default rates."""
        if changes.get("optimizer", self.optimizer) != self.optimizer:
            rates = ("learning_rate", "muon_learning_rate", "weight_decay")
            changes = dict.fromkeys(rates) | changes
        return replace(self, **changes)

    @classmethod
    def original(cls, **changes: Any) -> "TrainConfig":
        """Return the training that the original notebook intended, for comparison.

        Plain SGD with momentum 0.9, OneCycleLR up to 0.05 stepped once a batch, cross-entropy
        without smoothing, RandomCrop with padding 4 and CutOut, no flip, batches of 128.
        """
        return cls(
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.05,
            nesterov=False,
            weight_decay=0.0,
            label_smoothing=0.0,
            average_weights=False,
            augmentation=Augmentation(flip="none"),
        )._changed(changes)

    @classmethod
    def finetune(cls, **changes: Any) -> "TrainConfig":
        """Return a training that begins with learned weights: five epochs at low rates.

        BatchNorm's statistics move towards the new images, and the last layer is fitted (see
        ``linear_probe``). Then the other layers are trained, too, at rates that rise in half of the
        steps, by Muon steps that keep each filter's norm. BatchNorm layers stay frozen, as
        statistics of 200 photographs alone cost 13 points of accuracy.
        The average of all steps, from the first weights on, is tested: where little has to change,
        it is better than either end (Mitchell Wortsman et al., "Robust fine-tuning of zero-shot
        models", arXiv 2109.01903).
        """
        return cls(
            epochs=5,
            muon_learning_rate=0.0075,
            learning_rate=0.005,
            transfer="near",
            warm_up=0.5,
        )._changed(changes)

    @classmethod
    def few(cls, **changes: Any) -> "TrainConfig":
        """Return 18 epochs for a thousand images or so, the first thirteen on smaller images.

        The command line and the notebook also choose the standard padding, which halves the work,
        and initialise the filters as the identity (``models.init``), which helps the first epochs;
        in 288 steps, a rate that rises slowly spoils less of that. Stronger label smoothing works
        against overfitting so few images.
        """
        return cls(
            epochs=18,
            batch_size=64,
            learning_rate=0.02,
            warm_up=0.3,
            label_smoothing=0.2,
            progressive_resizing=0.75,
        )._changed(changes)

    @classmethod
    def quick(cls, **changes: Any) -> "TrainConfig":
        """Return nine epochs for ``CustomResNet``, the first five of them of smaller images.

        The input of its classifier is a maximum over the map, and its logits are scaled down, so
        SGD can be faster. In so few epochs each image is seen seldom, so it is augmented less, by
        crops from 3 pixels of padding and a smaller hole. A running average would lag behind.
        """
        return cls(
            epochs=9,
            muon_learning_rate=0.12,
            learning_rate=0.1,
            average_weights=False,
            augmentation=Augmentation(padding=3, cutout=8),
            progressive_resizing=0.56,
            pruning=0.33,
        )._changed(changes)


# ready-made recipes, by their names in the notebook and on the command line
RECIPES: dict[str, Callable[..., TrainConfig]] = {
    "default": TrainConfig,
    "few": TrainConfig.few,
    "quick": TrainConfig.quick,
    "finetune": TrainConfig.finetune,
    "original": TrainConfig.original,
}
