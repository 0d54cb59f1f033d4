"""The recipe of a training: what is trained, and nothing of the machine that it runs on."""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from pytorch_vision.data import Augmentation
from pytorch_vision.runtime.checks import checked_dataclass

FEW_IMAGES, FEW_BATCH, BATCH = 5000, 32, 512  # of few images large batches give too few steps


@checked_dataclass
class TrainConfig:
    """All that a training does, by which it is known again.

    Raises:
        ValueError: a value is out of range; the message says which and what was expected.
    """

    epochs: Annotated[
        int, Field(ge=0, description="passes over the training images; 0 only tests")
    ] = 20
    batch_size: Annotated[
        int | None,
        Field(
            ge=1,
            description=f"images a step, over all devices; none is {BATCH}, or {FEW_BATCH} for up "
            f"to {FEW_IMAGES:,} training images",
        ),
    ] = None
    seed: Annotated[
        int,
        Field(
            ge=0,
            lt=2**63,
            description="random seed of the first weights, the order and the augmentation",
        ),
    ] = 0
    optimizer: Annotated[
        Literal["muon", "sgd"],
        Field(
            description="muon: Muon on convolution filters and SGD on the rest, rates rising "
            "linearly and falling linearly to zero; sgd: SGD on everything, under OneCycleLR"
        ),
    ] = "muon"
    muon_learning_rate: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False, description="Muon's peak, the relative size of a step"),
    ] = 0.1
    learning_rate: Annotated[
        float | None,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="SGD's peak learning rate; none is 0.05 beside Muon and 0.2 alone",
        ),
    ] = None
    transfer_learning_rate: Annotated[
        float | None,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="where the weights to begin with are those of other classes, and so the "
            "network's last layer is new: Muon's peak, in place of the optimizer and the learning "
            "rates above; none is to train as with any weights",
        ),
    ] = None
    warm_up: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of the steps in which the rates rise, but under OneCycleLR, which "
            "has its own",
        ),
    ] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1, description="of SGD")] = 0.9
    nesterov: Annotated[bool, Field(description="whether SGD's momentum looks ahead")] = True
    weight_decay: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="of the convolution and linear weights that SGD trains",
        ),
    ] = 5e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="of the training loss")] = 0.1
    class_weights: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="how much of the inverse of its class's frequency an image counts in the "
            "loss, where classes are unequal: that to the power of this, 1 on average; 0 counts "
            "all alike, 1 all classes alike",
        ),
    ] = 0.0
    average_weights: Annotated[
        bool,
        Field(
            description="test and keep a running average of the weights, over about one epoch, "
            "instead of the weights themselves"
        ),
    ] = True
    progressive_resizing: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of the epochs, the first ones, that are trained and tested on "
            "images at three quarters of their size, and varied less",
        ),
    ] = 0.0
    pruning: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of the training images that every epoch but the first leaves out: "
            "some of those that had the smallest losses when they were last shown",
        ),
    ] = 0.0
    augmentation: Annotated[
        Augmentation, Field(description="how the training images are varied")
    ] = field(default_factory=Augmentation)

    @property
    def peak_learning_rate(self) -> float:
        """SGD's peak learning rate, chosen or by default."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.05 if self.optimizer == "muon" else 0.2

    def for_transfer(self) -> "TrainConfig":
        """Return the recipe as it trains weights of other classes."""
        rate = self.transfer_learning_rate
        if rate is None:
            return self
        return replace(self, optimizer="muon", learning_rate=None, muon_learning_rate=rate)

    def batch_size_for(self, images: int) -> int:
        """Return the batch size, chosen or by the number of training images."""
        if self.batch_size is not None:
            return self.batch_size
        return FEW_BATCH if images <= FEW_IMAGES else BATCH

    @property
    def small_epochs(self) -> int:
        """How many epochs, the first ones, show small images."""
        return int(self.progressive_resizing * self.epochs)

    def scale_in(self, epoch: int) -> float:
        """Return at what part of their height and width an epoch, from 0 on, shows the images.

        "Progressive resizing": Jeremy Howard, fast.ai's entry for DAWNBench, 2018.
        """
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
    def original(cls, **changes: Any) -> "TrainConfig":
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
    def finetune(cls, **changes: Any) -> "TrainConfig":
        """Return a training that begins with weights of an earlier one: five epochs.

        With the same classes it is gentle SGD. Muon moves every filter by a fixed part of its size
        at each step, whatever it has learned already: one epoch of it took the committed weights
        from 95 % to 74.8 % of the test images, and one of SGD at this rate to 94.8 %. With other
        classes there is more to learn, and it is Muon at half its usual rate: gentle SGD ended
        below a training from random weights (``docs/recipes.md``).
        """
        rates: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.001}
        chosen = {"optimizer", "learning_rate", "muon_learning_rate"}
        if not any(changes.get(name) is not None for name in chosen):
            rates["transfer_learning_rate"] = 0.05
        return replace(cls(epochs=5, **rates), **changes)

    @classmethod
    def few(cls, **changes: Any) -> "TrainConfig":
        """Return 16 epochs for a thousand images or so, the first twelve of them of smaller images.

        That is half of the default recipe's work on a CPU. On the command line and in the notebook
        the filters begin as the identity, too (``models.filters``), which the first epochs gain by.
        In 256 steps a rate that rises slowly spoils less of that; and so few images are soon known
        by heart, which label smoothing works against.
        """
        recipe = cls(
            epochs=16,
            batch_size=64,
            learning_rate=0.02,
            warm_up=0.3,
            label_smoothing=0.2,
            progressive_resizing=0.75,
        )
        return replace(recipe, **changes)

    @classmethod
    def quick(cls, **changes: Any) -> "TrainConfig":
        """Return nine epochs for ``CustomResNet``, the first five of them of smaller images.

        Its classifier's input is a maximum over the map, and its logits are scaled down: SGD
        can go faster. In so few epochs each image is seen seldom, and varied less: by crops from
        3 pixels of padding, with a smaller hole. A running average would lag behind.
        """
        recipe = cls(
            epochs=9,
            muon_learning_rate=0.12,
            learning_rate=0.1,
            average_weights=False,
            augmentation=Augmentation(padding=3, cutout=8),
            progressive_resizing=0.56,
            pruning=0.33,
        )
        return replace(recipe, **changes)


# ready-made recipes, by the name that the notebook and the command line have for them
RECIPES: dict[str, Callable[..., TrainConfig]] = {
    "default": TrainConfig,
    "few": TrainConfig.few,
    "quick": TrainConfig.quick,
    "finetune": TrainConfig.finetune,
    "original": TrainConfig.original,
}
