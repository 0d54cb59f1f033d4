"""What the notebook and the command line can be told: one list of settings for both.

Its own settings are declared here; those of the recipe in ``TrainConfig`` and ``Augmentation``,
those of the machine in ``Machine``. All have one flat list of names, ``FIELDS``, which are options
of the command line, constants of the notebook and environment variables there.
"""

import difflib
import os
import shlex
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from pytorch_vision.analysis.predict import Order
from pytorch_vision.data import Augmentation, ImageData, load_data
from pytorch_vision.data.load import check_choice, choice_name
from pytorch_vision.data.pictures import Resize
from pytorch_vision.models import Classifier, create
from pytorch_vision.models.collection import check_name, is_ours
from pytorch_vision.models.resnet import ConvPadding
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.checks import checked_dataclass, declared
from pytorch_vision.training import RECIPES, Output, TrainConfig, train_into

DRIVE = "/content/drive"  # where Colab shows it


@checked_dataclass
class Settings:
    """All that a run is told.

    Raises:
        ValueError: a value is out of range; says which and what was expected.
    """

    data: Annotated[
        str,
        BeforeValidator(str),  # a number of images, too
        Field(
            description="full (all of CIFAR-10), sample (1,000 bundled images), a number of "
            "training images, or a folder of your own pictures; auto is full on a CUDA GPU, else "
            "sample"
        ),
    ] = "auto"
    root: Annotated[str, Field(description="folder that CIFAR-10 is kept in")] = "data"
    size: Annotated[
        int, Field(ge=1, description="pixels a side that the pictures of a folder are brought to")
    ] = 64
    resize: Annotated[Resize, Field(description="how they are brought to it")] = "crop"
    held_out: Annotated[
        int,
        Field(
            ge=0,
            description="training images to hold out and to test on in place of the test images: "
            "to choose settings by",
        ),
    ] = 0
    model: Annotated[
        str,
        Field(
            description="ResNet18, ResNet34, CustomResNet, torchvision:NAME, or module:function "
            "for your own"
        ),
    ] = "ResNet18"
    conv_padding: Annotated[
        ConvPadding | None,
        Field(description="of a ResNet: the original notebook's, or standard, 1 throughout"),
    ] = None
    weights: Annotated[
        str,
        Field(
            description="what the network begins with: a weights file of an earlier run, or "
            "pretrained for those that come with PyTorch_Vision; none is random weights"
        ),
    ] = ""
    recipe: Annotated[
        Literal["auto", "default", "quick", "finetune", "original"],
        Field(
            description="ready-made settings of a training; auto is finetune with weights, quick "
            "for CustomResNet, else default"
        ),
    ] = "auto"
    checkpoints: Annotated[
        str, Field(description="folder for checkpoints; a stopped run continues from there")
    ] = ""
    keep_on_drive: Annotated[
        bool,
        Field(
            description="in Colab, keep checkpoints on your Google Drive, which asks for a login"
        ),
    ] = False
    order: Annotated[Order, Field(description="which errors to show")] = "first"
    count: Annotated[int, Field(ge=0, description="how many of them")] = 10
    output: Annotated[
        str,
        Field(
            description="folder for weights, history and pictures; none is one under runs, or that "
            "of the weights"
        ),
    ] = ""
    config: TrainConfig = field(default_factory=TrainConfig)
    machine: Machine = field(default_factory=Machine)

    @classmethod
    def of(cls, **values: Any) -> "Settings":
        """Return the settings with some of ``FIELDS`` set; what else there is, is the recipe's.

        Raises:
            ValueError: there is no such setting, or a value is out of range.
        """
        for name in values:
            check_known(name)
        own = cls(**_part(values, cls))
        recipe = RECIPES[own.chosen_recipe]
        augmentation = replace(recipe().augmentation, **_part(values, Augmentation))
        config = recipe(**_part(values, TrainConfig), augmentation=augmentation)
        data = check_choice(default_data() if own.data == "auto" else own.data)
        check_name(own.model)
        machine = Machine(**_part(values, Machine))
        return replace(own, data=data, config=config, machine=machine)

    @classmethod
    def from_notebook(cls, constants: Mapping[str, Any], prefix: str = "S8_") -> "Settings":
        """Return the settings of a notebook's form, each overridden by an environment variable.

        Args:
            constants: by names in capitals, such as the ``globals()`` of a notebook; an empty text
                stands for no setting. ``OVERRIDES`` holds others, as in "batch_size=256 cutout=8".
            prefix: of the variables: with "S8_", ``S8_EPOCHS`` overrides epochs. An empty variable
                overrides nothing.

        Raises:
            ValueError: a variable of this prefix or an override is unknown, or as for ``of``.
        """
        values = {name: constants.get(name.upper(), "") for name in FIELDS}
        overrides = constants.get("OVERRIDES", "")
        try:
            texts = shlex.split(overrides)
        except ValueError as error:  # a quotation that does not end
            raise ValueError(f"OVERRIDES is {overrides!r}: {error}") from None
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise ValueError(f"OVERRIDES has {text!r}, expected name=value")
            check_known(name)
            values[name] = value
        for variable, text in sorted(os.environ.items()):
            if variable.startswith(prefix) and text.strip():
                name = variable.removeprefix(prefix).lower()
                check_known(name, variable)
                values[name] = text.strip()
        settings = cls.of(**{name: value for name, value in values.items() if value != ""})
        if settings.keep_on_drive:
            drive: Any = __import__("google.colab.drive", fromlist=["drive"])
            drive.mount(DRIVE)
            folder = f"{DRIVE}/MyDrive/S8_ResNet18/{settings.name}"
            settings = replace(settings, checkpoints=folder)
        return settings

    @property
    def chosen_recipe(self) -> str:
        """The name of the recipe, chosen by weights and network if it is left to them."""
        if self.recipe != "auto":
            return self.recipe
        if self.weights:
            return "finetune"
        return "quick" if self.model == "CustomResNet" else "default"

    def load_data(self, like: Classifier | None = None) -> ImageData:
        """Return the images, in the size of a classifier that there is already, and print them."""
        size, resize = (self.size, self.resize) if like is None else (like.size, like.resize)
        data = load_data(self.data, self.root, size, resize, self.held_out)
        print(data)
        return data

    def classifier(self, data: ImageData) -> Classifier:
        """Return the network with its first weights: those of the seed, or of a file.

        CustomResNet's filters come in mirrored pairs where training images are mirrored. Where
        nothing is to be trained, the file must be one of the same classes.

        Raises:
            CheckpointError: the weights cannot be used.
            ValueError: the network cannot be made, or its classes are others.
        """
        torch.manual_seed(self.config.seed)
        options: dict[str, Any] = {}
        if self.conv_padding is not None:
            options["conv_padding"] = self.conv_padding
        if self.model == "CustomResNet":
            options["mirrored"] = self.config.augmentation.flip != "none"
        classifier = Classifier(self.model, data, resize=self.resize, **options)
        if self.weights and self.config.epochs:
            print(classifier.begin_with(self.weights))
        elif self.weights:
            classifier = Classifier.load(self.weights, classifier.network)
            classifier.check(data)
            print(f"No training; weights of {classifier}")
        return classifier

    def train(
        self, data: ImageData, output: Output, config: TrainConfig | None = None
    ) -> tuple[Classifier, Output]:
        """Make the classifier and train it; without any epoch, only test it.

        Args:
            data: what ``load_data`` returned.
            output: where to.
            config: another recipe than that of the settings, such as one with steps of your own.

        Returns:
            The classifier, and where it was written, as ``train_into`` does.
        """
        classifier, checkpoints = self.classifier(data), self.checkpoints or None
        config = config or self.config
        return classifier, train_into(output, classifier, data, config, self.machine, checkpoints)

    def load_weights(self) -> Classifier:
        """Return a weights file's classifier, with a network of the caller's if one is named."""
        if is_ours(self.model):
            return Classifier.load(self.weights)
        return Classifier.load(self.weights, lambda classes: create(self.model, classes))

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
        chosen = (self.data, self.held_out, self.model, self.weights, self.chosen_recipe)
        full = chosen == ("full", 0, "ResNet18", "", "default")
        return self.output or ("." if full else f"runs/{self.name}")


def _names(cls: type) -> list[str]:
    """Return the settings of a class: those of its fields that take text or a number."""
    whole = ("config", "machine", "augmentation", "steps")
    return [name for name in declared(cls) if name not in whole]


# pydantic's description of each setting, by its name
FIELDS: dict[str, Any] = {
    name: declared(cls)[name]
    for cls in (Settings, TrainConfig, Augmentation, Machine)
    for name in _names(cls)
}


def _part(values: Mapping[str, Any], cls: type) -> dict[str, Any]:
    return {name: values[name] for name in _names(cls) if name in values}


def check_known(name: str, shown: str = "") -> None:
    """Raise ValueError unless there is a setting of this name; says which is nearest."""
    if name not in FIELDS:
        near = difflib.get_close_matches(name, FIELDS, 1)
        advice = f"do you mean {near[0]}?" if near else f"these are: {', '.join(FIELDS)}"
        raise ValueError(f"{shown or name} is not a setting; {advice}")


def default_data() -> str:
    """Return "full" where a CUDA GPU makes 50,000 images a matter of minutes, else "sample"."""
    return "full" if torch.cuda.is_available() else "sample"
