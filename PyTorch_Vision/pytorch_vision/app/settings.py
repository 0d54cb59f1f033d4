"""What the notebook and the command line can be told: one list of settings for both.

Its own settings are declared here; those of the recipe in ``TrainConfig`` and ``Augmentation``,
those of the machine in ``Machine``. All have one flat list of names, ``FIELDS``, which are options
of the command line, constants of the notebook and environment variables there.
"""

import difflib
import hashlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from pytorch_vision.analysis.predictions import Order, Split
from pytorch_vision.app.run_folder import Output, train_into
from pytorch_vision.data import Augmentation, ImageData, load_data
from pytorch_vision.data.cifar10 import CIFAR10_CLASSES
from pytorch_vision.data.image_files import Resize, check_resize
from pytorch_vision.data.load import check_data_name, is_cifar10, short_data_name
from pytorch_vision.models import Classifier, create
from pytorch_vision.models.classifier import weights_path
from pytorch_vision.models.init import begin_as_identity
from pytorch_vision.models.registry import check_name, has_weights, is_ours
from pytorch_vision.models.resnet import ConvPadding
from pytorch_vision.models.weights import load_weights
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.checks import checked_dataclass, declared
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.terminal import say
from pytorch_vision.training import RECIPES, TrainConfig

DRIVE = "/content/drive"  # where Colab shows it
SIZE, RESIZE = 64, "crop"  # of a folder's pictures, where neither settings nor weights say them


def _path_text(path: Any) -> Any:
    """Return a path as text, its home folder written out; an empty one is none."""
    return str(user_path(path)) if isinstance(path, (str, os.PathLike)) and str(path) else path


PathText = Annotated[str, BeforeValidator(_path_text)]


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
    root: Annotated[
        PathText, Field(description="folder that CIFAR-10 is kept in, and pictures that were read")
    ] = "data"
    size: Annotated[
        int | None,
        Field(
            ge=1,
            description="pixels a side that the pictures of a folder are brought to; none is "
            f"{SIZE}, or that of the weights that are tested",
        ),
    ] = None
    resize: Annotated[
        Resize | None,
        Field(description=f"how they are brought to it; none is {RESIZE}, or that of the weights"),
    ] = None
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
            description="ResNet18, ResNet34, CustomResNet, torchvision:NAME, torchvision:"
            "NAME@DEFAULT for one that begins with torchvision's weights, or module:function for "
            "your own"
        ),
    ] = "ResNet18"
    conv_padding: Annotated[
        ConvPadding | None,
        Field(
            description="of a ResNet: original, as in the original notebook, or standard, 1 "
            "throughout; none is original"
        ),
    ] = None
    filters: Annotated[
        Literal["random", "identity"] | None,
        Field(
            description="what the 3x3 filters begin as, where there are no weights: random, or "
            "passing on what they are given (identity), which learns sooner from few images; none "
            "is identity for the recipe few, else random"
        ),
    ] = None
    weights: Annotated[
        PathText,
        Field(
            description="what the network begins with: a weights file of an earlier run, or "
            "pretrained for those that come with PyTorch_Vision; none is random weights"
        ),
    ] = ""
    recipe: Annotated[
        Literal["auto", "default", "few", "quick", "finetune", "original"],
        Field(
            description="ready-made settings of a training; auto is finetune with weights, quick "
            "for CustomResNet, few for a ResNet of ours on the bundled sample, else default"
        ),
    ] = "auto"
    checkpoints: Annotated[
        PathText, Field(description="folder for checkpoints; a stopped run continues from there")
    ] = ""
    keep_on_drive: Annotated[
        bool,
        Field(
            description="in Colab, keep checkpoints on your Google Drive, which asks for a login"
        ),
    ] = False
    order: Annotated[
        Order,
        Field(
            description="which errors to show; auto is a fair sample: the first ones where the "
            "classes come in random order, else some of each class"
        ),
    ] = "auto"
    count: Annotated[
        int, Field(ge=0, le=100, description="how many of them; the page of errors has more")
    ] = 10
    split: Annotated[
        Split, Field(description="which images to look through: test, or train for wrong labels")
    ] = "test"
    output: Annotated[
        PathText,
        Field(
            description="folder for weights, history and pictures; none is one under runs, or that "
            "of the weights. Where it holds another run, the next one is taken, as in mine-2"
        ),
    ] = ""
    overwrite: Annotated[
        bool, Field(description="replace the files of another run in that folder")
    ] = False
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
        own = replace(own, data=default_data() if own.data == "auto" else check_data_name(own.data))
        recipe = RECIPES[own.chosen_recipe]
        augmentation = replace(recipe().augmentation, **_part(values, Augmentation))
        config = recipe(**_part(values, TrainConfig), augmentation=augmentation)
        check_name(own.model)
        return replace(own, config=config, machine=Machine(**_part(values, Machine)))

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
        if self.weights or has_weights(self.model):
            return "finetune"
        if self.model == "CustomResNet":
            return "quick"
        # a network of somebody's own may take no smaller images
        few = self.data == "sample" and self.model.startswith("ResNet")
        return "few" if few else "default"

    def load_data(self, like: Classifier | None = None) -> ImageData:
        """Return the images, and print them; what weights there are is looked at before.

        Args:
            like: a trained classifier that is to be tested: images come in its size, and of a
                folder that is only tested on, all do. That of ``weights``, if nothing is trained.

        Raises:
            CheckpointError: the weights cannot be used.
            ValueError, DataError: as for ``data.load_data``; or these are other classes.
        """
        if like is None and self.weights:
            if self.config.epochs:
                load_weights(weights_path(self.weights))  # refuses what begin_with would
            else:
                like = self.load_weights()
        size: int | tuple[int, int] = self.size or SIZE
        resize = self.resize or check_resize(RESIZE)
        known: tuple[Any, ...] = ()
        if like is not None:
            self._check_classes(like)
            size, resize, known = like.size, like.resize, (like.class_names, like.trained_on)
        data = load_data(self.data, self.root, size, resize, self.held_out, *known)
        self._say_what_is_not_used(like, data)
        say(data)
        return data

    def _check_classes(self, classifier: Classifier) -> None:
        """Refuse CIFAR-10 for a classifier of other classes, before it is downloaded."""
        if is_cifar10(self.data) and classifier.class_names != CIFAR10_CLASSES:
            raise ValueError(
                f"{classifier} has other classes ({_few(classifier.class_names)}) than CIFAR-10 "
                f"({_few(CIFAR10_CLASSES)}): name the folder of its pictures, as in "
                "--data photographs"
            )

    def _say_what_is_not_used(self, like: Classifier | None, data: ImageData) -> None:
        """Say which of ``size`` and ``resize`` were given in vain."""
        used: dict[str, Any] = {"size": data.size[0] if data.size[0] == data.size[1] else None}
        if like is not None or is_cifar10(self.data):
            used["resize"] = like.resize if like is not None else None
        given = {"size": self.size, "resize": self.resize}
        vain = [f"{name}={given[name]}" for name in used if given[name] not in (None, used[name])]
        if vain:
            height, width = data.size
            how = f" by {like.resize}" if like is not None and not is_cifar10(self.data) else ""
            say(
                f"{' and '.join(vain)} is not used: the images of {like or data.name} are "
                f"{height}x{width} pixels{how}"
            )

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
        classifier = Classifier(self.model, data, **options)
        filters = self.filters or ("identity" if self.chosen_recipe == "few" else "random")
        if filters == "identity" and not has_weights(self.model):
            begin_as_identity(classifier.network)
        if self.weights and self.config.epochs:
            say(classifier.begin_with(self.weights))
        elif self.weights:
            classifier = Classifier.load(self.weights, classifier.network)
            classifier.check(data)
            say(f"No training; weights of {classifier}")
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
        classifier, config = self.classifier(data), config or self.config
        return classifier, self.train_classifier(classifier, data, output, config)

    def train_classifier(
        self,
        classifier: Classifier,
        data: ImageData,
        output: Output,
        config: TrainConfig | None = None,
    ) -> Output:
        """Train what ``classifier`` made, and return where it was written; see ``train_into``."""
        config, checkpoints = config or self.config, self.checkpoints or None
        notes = self._notes(config)
        return train_into(
            output,
            classifier,
            data,
            config,
            self.machine,
            checkpoints,
            notes=notes,
            overwrite=self.overwrite,
        )

    def _notes(self, config: TrainConfig) -> dict[str, Any]:
        """Return what ``run.json`` says beyond the recipe."""
        values = {name: self._value(name) for name in FIELDS}
        if not is_cifar10(self.data):  # from wherever it is read again
            values["data"] = str(Path(self.data).absolute())
        begins_with = None
        if self.weights:
            digest = hashlib.sha256(weights_path(self.weights).read_bytes()).hexdigest()
            begins_with = {"weights": self.weights, "sha256": digest}
        own_steps = config.augmentation.steps is not None
        return {
            "command": None if own_steps else shlex.join(self.command()),
            "settings": values,
            "begins_with": begins_with,
        }

    def command(self) -> list[str]:
        """Return the words of the command line that trains with these settings.

        What is as it would be by itself is left out.
        """
        words = ["python", "-m", "pytorch_vision", "train", "--data", self.data]
        given: dict[str, Any] = {"data": self.data}
        for name in ("model", "weights", "recipe"):
            given[name] = self._value(name)
        usual = Settings.of(**given)
        for name in FIELDS:
            value = self._value(name)
            others = usual if name not in given else Settings()
            if name in ("data", "keep_on_drive") or value == others._value(name):
                continue
            words += [f"--{name.replace('_', '-')}", str(value)]
        return words

    def _value(self, name: str) -> Any:
        """Return one of ``FIELDS`` as it is set."""
        parts = (self, self.config, self.config.augmentation, self.machine)
        return next(getattr(part, name) for part in parts if hasattr(part, name))

    def load_weights(self) -> Classifier:
        """Return a weights file's classifier, with a network of the caller's if one is named."""
        if is_ours(self.model):
            return Classifier.load(self.weights)
        return Classifier.load(self.weights, lambda classes: create(self.model, classes))

    @property
    def name(self) -> str:
        """A short name of data and network, for a folder of what is made of them."""
        parts = [short_data_name(self.data)]
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


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (" and others" if len(names) > 10 else "")


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
