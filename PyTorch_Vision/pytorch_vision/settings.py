"""What the notebook and the command line can be told: one list of settings for both."""

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import nn

from pytorch_vision.analysis.predict import Order, check_order
from pytorch_vision.data.load import check_choice, choice_name
from pytorch_vision.data.pictures import Fit, check_fit
from pytorch_vision.data.transforms import Augmentation, Flip
from pytorch_vision.models import create
from pytorch_vision.models.resnet import Geometry
from pytorch_vision.training import RECIPES, TrainConfig
from pytorch_vision.training.config import checked_devices

FEW_IMAGES, FEW_BATCH = 5000, 32  # of so few images larger batches would give too few steps


def default_data() -> str:
    """Return "full" where a CUDA GPU makes 50,000 images a matter of minutes, else "sample"."""
    return "full" if torch.cuda.is_available() else "sample"


def _setting(default: Any, text: str, choices: Any = None, shown: str = "") -> Any:
    """Return a field of ``Settings``.

    Args:
        default: None leaves it to the recipe, whose own default is then shown.
        text: what it means, for ``--help``.
        choices: a Literal of its values.
        shown: its default in words, where it depends on something.
    """
    metadata = {"text": text, "choices": get_args(choices), "shown": shown}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What a run can be told; each field's text says what it means.

    Each is an option of the command line, a constant in the notebook, and an environment variable
    there. None leaves a value to the recipe.

    Raises:
        ValueError: a value is out of range; says which and what was expected.
    """

    data: str = _setting(
        "auto",
        "full (all of CIFAR-10), sample (1,000 bundled images), a number of training images, or a "
        "folder of your own pictures",
        shown="full on a CUDA GPU, else sample",
    )
    root: str = _setting("data", "folder that CIFAR-10 is kept in")
    size: int = _setting(64, "pixels a side that the pictures of a folder are brought to")
    fit: Fit = _setting("crop", "how they are brought to it", Fit)
    held_out: int = _setting(
        0,
        "training images to hold out and to test on in place of the test images: to choose "
        "settings by",
    )
    model: str = _setting(
        "ResNet18",
        "ResNet18, ResNet34, CustomResNet, torchvision:NAME, or module:function for your own",
    )
    geometry: Geometry | None = _setting(
        None, "padding of a ResNet: the original notebook's, or 1 throughout", Geometry, "original"
    )
    weights: str = _setting(
        "",
        "weights file of an earlier run, or pretrained for those that come with PyTorch_Vision",
        shown="none",
    )
    recipe: str = _setting(
        "auto",
        f"ready-made settings: {', '.join(RECIPES)}",
        shown="finetune with weights, quick for CustomResNet, else default",
    )
    epochs: int | None = _setting(
        None,
        "passes over the training images; 0 only tests",
        shown="the recipe's, 20; in the notebook 0 with weights",
    )
    batch_size: int | None = _setting(
        None, "images a step", shown=f"the recipe's, 512; 32 for up to {FEW_IMAGES:,} images"
    )
    seed: int = _setting(0, "of the first weights, the order and the augmentation")
    optimizer: str | None = _setting(None, "muon (with SGD) or sgd")
    muon_rate: float | None = _setting(None, "Muon's peak rate")
    learning_rate: float | None = _setting(
        None, "SGD's peak learning rate", shown="0.05 beside Muon, 0.2 alone"
    )
    momentum: float | None = _setting(None, "of SGD")
    weight_decay: float | None = _setting(None, "of the weights that SGD trains")
    label_smoothing: float | None = _setting(None, "of the training loss")
    padding: int | None = _setting(None, "pixels around the image that RandomCrop crops from")
    flip: Flip | None = _setting(
        None, "how images are mirrored; with none, CustomResNet's filters are not either", Flip
    )
    cutout: int | None = _setting(None, "pixels a side of CutOut's hole; 0 for none")
    cutout_probability: float | None = _setting(None, "how often there is a hole")
    small_share: float | None = _setting(None, "share of epochs, the first, with smaller images")
    skip_share: float | None = _setting(None, "share of the images, easy ones, that epochs skip")
    devices: int | Literal["auto"] = _setting(
        1, "how many train together, each in its own process; auto is all CUDA devices"
    )
    checkpoints: str = _setting(
        "", "folder for checkpoints; a stopped run continues from there", shown="none"
    )
    order: Order = _setting("first", "which errors to show", Order)
    output: str = _setting(
        "",
        "folder for weights, history and pictures",
        shown="one under runs, or that of the weights",
    )

    def __post_init__(self) -> None:
        data = default_data() if self.data == "auto" else check_choice(self.data)
        recipe = self._usual_recipe() if self.recipe == "auto" else self.recipe
        if recipe not in RECIPES:
            raise ValueError(f"recipe is {recipe!r}, expected {', '.join(map(repr, RECIPES))}")
        check_order(self.order)
        check_fit(self.fit)
        checked = {"data": data, "recipe": recipe, "devices": checked_devices(self.devices)}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_environment(
        cls, prefix: str, constants: Mapping[str, Any] | None = None
    ) -> "Settings":
        """Return settings of which each may be overridden by an environment variable.

        Args:
            prefix: which the variables begin with: with "S8_", ``S8_EPOCHS`` overrides epochs.
                An empty variable overrides nothing.
            constants: the settings where there is no variable, by their names in capitals, such
                as the ``globals()`` of a notebook; an empty text stands for no setting.

        Raises:
            ValueError: a variable of this prefix is unknown, or holds no number where one is
                wanted; or as for ``Settings``.
        """
        known = {prefix + one.name.upper(): one for one in fields(cls)}
        for variable in sorted(os.environ):
            if variable.startswith(prefix) and variable not in known:
                raise ValueError(f"{variable} is not a setting; these are: {', '.join(known)}")
        texts = {
            variable: os.environ.get(variable, "").strip()
            or (constants or {}).get(one.name.upper(), "")
            for variable, one in known.items()
        }
        return cls(
            **{
                one.name: parsed(one, texts[variable], variable)
                for variable, one in known.items()
                if texts[variable] != ""
            }
        )

    def _usual_recipe(self) -> str:
        if self.weights:
            return "finetune"
        return "quick" if self.model == "CustomResNet" else "default"

    @property
    def augmentation(self) -> Augmentation:
        """How the training images are varied: the recipe's way, but for what is set here."""
        return replace(RECIPES[self.recipe]().augmentation, **self._chosen(Augmentation))

    def train_config(self, images: int, **changes: Any) -> TrainConfig:
        """Return the settings of a training run.

        Args:
            images: how many there are to train on, by which a batch size is chosen.
            changes: of the result, before all others.
        """
        recipe = RECIPES[self.recipe]
        chosen: dict[str, Any] = {
            "augmentation": self.augmentation,
            "seed": self.seed,
            "devices": self.devices,
        }
        if images <= FEW_IMAGES:
            chosen["batch_size"] = FEW_BATCH
        if self.weights:
            chosen["epochs"] = 0
        return recipe(**{**chosen, **self._chosen(TrainConfig), **changes})

    def _chosen(self, kind: type) -> dict[str, Any]:
        """Return what is set here of another class's fields."""
        names = {one.name for one in fields(kind)} & {one.name for one in fields(self)}
        values = {name: getattr(self, name) for name in sorted(names)}
        return {name: value for name, value in values.items() if value is not None}

    def create_model(self, classes: int) -> nn.Module:
        """Return the network, its first weights those of the seed.

        CustomResNet's filters come in mirrored pairs where training images are mirrored.
        """
        torch.manual_seed(self.seed)
        options: dict[str, Any] = {} if self.geometry is None else {"geometry": self.geometry}
        if self.model == "CustomResNet":
            options["mirrored"] = self.augmentation.flip != "none"
        return create(self.model, classes, **options)

    @property
    def name(self) -> str:
        """A short name of data and network, for a folder of what is made of them."""
        parts = [choice_name(self.data)]
        if self.held_out:
            parts.append("held-out")
        if self.model != "ResNet18":
            parts.append(self.model.replace(":", "-"))
        return "-".join(parts)

    @property
    def notebook_output(self) -> str:
        """The folder that was asked for; else the notebook's own for its full training.

        For all else it is one under ``runs``, so that nothing but a full training can overwrite
        the pictures of one.
        """
        chosen = (self.data, self.held_out, self.model, self.weights, self.recipe)
        full = chosen == ("full", 0, "ResNet18", "", "default")
        return self.output or ("." if full else f"runs/{self.name}")


def parsed(one: Field, value: Any, name: str) -> Any:
    """Return a setting's value, which may be given as text.

    Raises:
        ValueError: it should be a number and is none.
    """
    if not isinstance(value, str):
        return value
    if one.type in (int, int | None):
        if not value.removeprefix("-").isdecimal():
            raise ValueError(f"{name} is {value!r}, expected a whole number")
        return int(value)
    if one.type == float | None:
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{name} is {value!r}, expected a number") from None
    return value
