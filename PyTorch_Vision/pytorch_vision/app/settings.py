"""The settings of the notebook and the command line, in one flat list.

``Settings`` declares those of data, network and output; ``TrainConfig`` and ``Augmentation`` those
of the recipe, ``Machine`` those of the machine. ``FIELDS`` lists all of them by name: they are the
command line's options, and the notebook's constants and environment variables.
"""

import functools
import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from pytorch_vision.analysis.predictions import Order, Split
from pytorch_vision.app.command_line import WITHOUT_EFFECT, flag, nearest_of
from pytorch_vision.app.run_folder import RunFolder, short_name, train_into
from pytorch_vision.data import Augmentation, ImageData, load_data
from pytorch_vision.data.cifar10 import CIFAR10_CLASSES
from pytorch_vision.data.image_files import Resize
from pytorch_vision.data.labels import from_anywhere
from pytorch_vision.data.load import check_data_name, is_cifar10, short_data_name
from pytorch_vision.models import Classifier
from pytorch_vision.models.classifier import weights_path
from pytorch_vision.models.classifier_file import made_by_in, metadata_in, train_digests_of
from pytorch_vision.models.init import begin_as_identity
from pytorch_vision.models.registry import (
    check_name,
    describe_network,
    has_pretrained_weights,
    is_builtin,
    is_safe,
    made_by_of,
    network_name,
    only_size,
    without_weights,
)
from pytorch_vision.models.resnet import ConvPadding
from pytorch_vision.models.state_dicts import read_state_dict
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.checks import checked_dataclass, declared, height_and_width
from pytorch_vision.runtime.files import check_writable, user_path
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import listed
from pytorch_vision.training import RECIPES, TrainConfig
from pytorch_vision.training.custom import Loss
from pytorch_vision.training.optimizers import MakeOptimizer

DRIVE = "/content/drive"  # where Colab mounts it
# defaults for the pictures of a folder: at 64 pixels, two cores train in minutes, but features
# learned from larger pictures, as ImageNet's, lose 5 to 22 points of accuracy (docs/transfer.md)
SIZE, LEARNED_SIZE, GPU_SIZE, RESIZE = 64, 128, 224, "crop"
DEFAULT_MODEL = "ResNet18"
RESNETS = ("ResNet18", "ResNet34")


def _path_text(path: Any) -> Any:
    """Return a path as text, with ~ expanded; an empty one means unset."""
    return str(user_path(path)) if isinstance(path, (str, os.PathLike)) and str(path) else path


def _size(size: Any) -> Any:
    """Return an image size, given as a number, a pair or their text, such as "48x64".

    It is one number if both sides are alike, else a pair.
    """
    sides: Any = size.split("x") if isinstance(size, str) and "x" in size else size
    try:
        height, width = height_and_width(sides)
    except ValueError as error:
        if not isinstance(size, str):
            raise
        raise ValueError(f"size is {size!r}, expected pixels, such as 64 or 48x64") from error
    return height if height == width else (height, width)


PathText = Annotated[str, BeforeValidator(_path_text)]
Size = Annotated[int | tuple[int, int], BeforeValidator(_size)]


@checked_dataclass
class Settings:
    """The settings of a run.

    Raises:
        ValueError: a value is out of range; the message names it and what was expected.
    """

    data: Annotated[str, BeforeValidator(str)] = Field(  # a number of images, too
        default="auto",
        description="full (all of CIFAR-10), sample (1,000 bundled images), a number of "
        "training images, or a folder of your own pictures; auto: full on a CUDA GPU, "
        "otherwise sample",
    )
    root: PathText = Field(
        default="data", description="folder where CIFAR-10 and decoded pictures are cached"
    )
    size: Size | None = Field(
        default=None,
        description="height and width in pixels, such as 64 or 48x64, to which a folder's pictures "
        "are resized; default: what the weights were trained with; for weights that do not say it, "
        f"such as ImageNet's, {LEARNED_SIZE}, or {GPU_SIZE} on a CUDA GPU; for random ones {SIZE}",
    )
    resize: Resize | None = Field(
        default=None,
        description=f"how pictures are made square; default: as for the weights, or {RESIZE}",
    )
    labels: str = Field(
        default="",
        description="what names the class of each picture of a folder: a table, such as "
        "train.csv; name:PATTERN, a regular expression whose first group is the class, in the "
        "file's name; folders:2, the names of the last two folders; or level:2, that of the folder "
        "above the last; default: there is a folder for each class",
    )
    held_out: int = Field(
        default=0,
        ge=0,
        description="number of training images to hold out and test on in place of the test "
        "images, for choosing settings",
    )
    held_out_share: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="share of each class of a folder's pictures to hold out and test on, if "
        "the folder has no test images; 0 trains on all, without a test",
    )
    model: str = Field(
        default=DEFAULT_MODEL,
        description="ResNet18, ResNet34, CustomResNet, torchvision:NAME, "
        "torchvision:NAME@DEFAULT or timm:NAME to begin with their ImageNet weights, or "
        "module:function for a network of your own",
    )
    conv_padding: ConvPadding | None = Field(
        default=None,
        description="padding of a ResNet's convolutions: as in the original notebook, or the "
        "standard 1 throughout, which takes half the time; default: standard for the recipe "
        "few, otherwise original",
    )
    filters: Literal["random", "identity"] | None = Field(
        default=None,
        description="initial 3x3 filters of an untrained network: random, or identity, "
        "which learns faster from few images; default: identity for the recipe few, otherwise "
        "random",
    )
    weights: PathText = Field(
        default="",
        description="trained weights: the file of an earlier run, a state dict (.pth, "
        ".safetensors), or pretrained for those that come with PyTorch_Vision",
    )
    recipe: Literal["auto", *RECIPES] = Field(  # type: ignore[valid-type]
        default="auto",
        description="named hyperparameters; auto: finetune with weights, quick for "
        "CustomResNet, few for ResNet18 and ResNet34 on the bundled sample, otherwise default",
    )
    checkpoints: PathText = Field(
        default="", description="folder for checkpoints, from which a stopped run continues"
    )
    keep_on_drive: bool = Field(
        default=False,
        description="in Colab, save checkpoints on your Google Drive (Colab asks you to log in)",
    )
    order: Order = Field(
        default="auto",
        description="which errors to show: the first, the most confident, or some of each "
        "class (spread); auto: first if the classes come in random order, otherwise spread",
    )
    count: int = Field(
        default=10,
        ge=0,
        le=100,
        description="number of errors in a plot; the page shows up to 2,000",
    )
    split: Split = Field(
        default="test", description="which images to show: test, or (to find wrong labels) train"
    )
    output: PathText = Field(
        default="",
        description="folder for weights, history and plots; if it holds another run, a "
        "numbered one such as mine-2 is used; default: one under runs, or that of the weights",
    )
    overwrite: bool = Field(
        default=False, description="replace the files of another run in the output folder"
    )
    config: TrainConfig = field(default_factory=TrainConfig)
    machine: Machine = field(default_factory=Machine)
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @classmethod
    def of(cls, **values: Any) -> "Settings":
        """Return settings from values named as in ``FIELDS``; the recipe sets the others.

        Raises:
            ValueError: there is no such setting, or a value is out of range.
        """
        for name in values:
            check_known(name)
        own = cls(**_part(values, Settings))
        own = replace(own, data=default_data() if own.data == "auto" else check_data_name(own.data))
        recipe = RECIPES[own.chosen_recipe]
        augmentation = replace(recipe().augmentation, **_part(values, Augmentation))
        config = recipe(**_part(values, TrainConfig), augmentation=augmentation)
        check_name(own.model)
        machine = Machine(**_part(values, Machine))
        return replace(own, config=config, machine=machine, given=frozenset(values))

    @classmethod
    def from_notebook(cls, constants: Mapping[str, Any], prefix: str = "S8_") -> "Settings":
        """Return the settings of a notebook's form, which environment variables override.

        Args:
            constants: values by names in capitals, such as a notebook's ``globals()``; an empty
                text means unset. ``OVERRIDES`` holds further ones: "batch_size=256 cutout=8".
            prefix: the start of the environment variables' names: with "S8_", ``S8_EPOCHS``
                overrides epochs. An empty variable overrides nothing.

        Raises:
            ValueError: a variable with this prefix or an override is unknown, or as for ``of``.
            OSError: nothing can be written into the output folder.
        """
        values = {name: constants.get(name.upper(), "") for name in FIELDS}
        overrides = constants.get("OVERRIDES", "")
        try:
            texts = shlex.split(overrides)
        except ValueError as error:  # an unclosed quotation
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
            folder = f"{DRIVE}/MyDrive/S8_ResNet18/{settings.name}-{settings.digest}"
            settings = replace(settings, checkpoints=folder)
        check_writable(settings.notebook_output)  # now, rather than after the training
        return settings

    @property
    def has_learned_weights(self) -> bool:
        """Whether the network begins with learned weights.

        Those of a user's function are not known before it is called: the recipe tells.
        """
        named = bool(self.weights) or has_pretrained_weights(self.model)
        return named or (self.recipe == "finetune" and not is_builtin(self.model))

    @property
    def chosen_recipe(self) -> str:
        """The name of the recipe; "auto" chooses by weights, network and data."""
        if self.recipe != "auto":
            return self.recipe
        if self.has_learned_weights:
            return "finetune"
        if self.model == "CustomResNet":
            return "quick"
        # the recipe few shows smaller images, which a user's network may not take
        few = self.data == "sample" and self.model in RESNETS
        return "few" if few else "default"

    def load_data(self, like: Classifier | None = None) -> ImageData:
        """Load the images and print a summary; weights to begin with are checked first.

        Args:
            like: a trained classifier to test; default with 0 epochs: that of ``weights``. The
                images get its size and resizing. All pictures of a folder become test images,
                except those that it was trained on.

        Raises:
            CheckpointError: the weights cannot be used.
            ValueError, DataError: as for ``data.load_data``; or the classes differ.
        """
        if like is None and self.weights and not self.config.epochs:
            like = self.load_classifier()
        if like is None:
            size, resize, digests = self._images_to_train_on()
        else:
            self._check_classes(like)
            size, resize, digests = like.size, like.resize, like.train_digests
        data = load_data(
            self.data,
            self.root,
            size,
            resize,
            self.held_out,
            like.class_names if like else (),
            digests,
            labels=self.labels or None,
            scales=like.scales if like else None,
            held_out_share=self.held_out_share,
        )
        self.print_unused(like, data)
        say(data)
        return data

    def _images_to_train_on(self) -> tuple[int | tuple[int, int], Resize, Sequence[str]]:
        """Return the images' size, resizing, and the digests of the weights' training images.

        Prints what follows from the weights.
        """
        begun = self._begun
        size = self.size or begun.get("size") or self._usual_size()
        resize = self.resize or begun.get("resize", RESIZE)
        chosen = {"size": f"to {_pixels(size)} pixels", "resize": f"by {resize}"}
        how = {name: text for name, text in chosen.items() if getattr(self, name) is None}
        if self.has_learned_weights and how and not is_cifar10(self.data):
            say(
                f"To suit the weights, pictures are resized {' '.join(how.values())} "
                f"({' and '.join(how)} {'change' if how == chosen else 'changes'} that)"
            )
        return size, resize, begun.get("train_digests", ())

    @functools.cached_property
    def _begun(self) -> dict[str, Any]:
        """What the weights file says about its network and the images that it was trained on.

        "network" is None unless ``create`` can make it.
        """
        if not self.weights:
            return {"network": None}
        path = weights_path(self.weights)
        tensors, texts = read_state_dict(path)
        with metadata_in(path, texts or {}) as metadata:
            made_by = made_by_in({"network": None} | metadata, len(tensors))
            known = made_by if made_by and is_safe(made_by) else None
            return metadata | {"train_digests": train_digests_of(metadata), "network": known}

    def _usual_size(self) -> int | tuple[int, int]:
        """Return the height and width of a folder's pictures if neither user nor weights say."""
        if is_cifar10(self.data):
            return SIZE  # which is not used
        fast = self.machine.chosen_accelerator == "cuda"
        usual = (GPU_SIZE if fast else LEARNED_SIZE) if self.has_learned_weights else SIZE
        return only_size(self.model) or usual

    def _check_classes(self, classifier: Classifier) -> None:
        """Raise ValueError if CIFAR-10 is to be loaded for other classes, before its download."""
        if is_cifar10(self.data) and classifier.class_names != CIFAR10_CLASSES:
            raise ValueError(
                f"{classifier} has other classes ({listed(classifier.class_names)}) than CIFAR-10 "
                f"({listed(CIFAR10_CLASSES)}): name the folder of its pictures, as in "
                "--data photographs"
            )

    def print_unused(self, classifier: Classifier | None, data: ImageData | None = None) -> None:
        """Print which given settings the loaded classifier or the loaded data overrides."""
        used: dict[str, Any] = {}
        reasons = []
        if classifier is not None:
            options = made_by_of(classifier.network) or {}
            used["model"] = network_name(classifier.network) if options else self.model
            used["conv_padding"] = options.get("conv_padding")
            reasons.append(f"the weights are of {classifier}")
        if data is not None:
            used["size"] = _size(data.size)
            if classifier is not None or is_cifar10(self.data):
                used["resize"] = classifier and classifier.resize
            reasons.append(f"the images have {_pixels(data.size)} pixels")
        if is_cifar10(self.data) and self.given & {"held_out_share", "labels"}:
            used |= {"held_out_share": None, "labels": ""}
            reasons.append("CIFAR-10 has labels and test images")
        unused = sorted(
            f"{name}={_text(value)}"
            for name in self.given & used.keys()
            if (value := getattr(self, name)) not in (None, used[name])
        )
        if unused:
            verb = "is" if len(unused) == 1 else "are"
            say(f"{' and '.join(unused)} {verb} not used: {', '.join(reasons)}")

    def classifier(self, data: ImageData) -> Classifier:
        """Return a classifier with its initial weights, drawn with the seed or read from a file.

        CustomResNet's filters come in mirrored pairs if training images are mirrored. A file of
        ours decides the network, unless ``model`` names another. With 0 epochs, it must have the
        classes of the data.

        Raises:
            CheckpointError: the weights cannot be used.
            ValueError: the network cannot be made, or the classes differ.
        """
        if self.weights and not self.config.epochs:
            classifier = self.load_classifier()
            classifier.check(data)
            say(f"No training; weights of {classifier}")
            return classifier
        torch.manual_seed(self.config.seed)
        made_by = dict(self._network())
        classifier = Classifier(made_by.pop("name"), data, seed=self.config.seed, **made_by)
        if self.filters and self.has_learned_weights:
            say(f"filters={self.filters} is not used: the network begins with weights")
        filters = self.filters or ("identity" if self.chosen_recipe == "few" else "random")
        if filters == "identity" and not self.has_learned_weights:
            begin_as_identity(classifier.network)
            classifier.begins_with = f"filters={filters}"
        if self.weights:
            say(classifier.begin_with(self.weights))
        return classifier

    def _network(self) -> dict[str, Any]:
        """Return the network's "name" and its options, for ``models.create``."""
        of_file = self._begun["network"]
        if of_file and self.model in (DEFAULT_MODEL, network_name(of_file)):
            theirs = of_file | {"model": network_name(of_file)}
            given = self.given & {"model", "conv_padding"}
            if any(getattr(self, name) not in (None, theirs.get(name)) for name in given):
                say(f"The network is that of the weights: {describe_network(of_file)}")
            return of_file
        made_by: dict[str, Any] = {"name": self.model}
        few = self.chosen_recipe == "few" and self.model in RESNETS
        if padding := self.conv_padding or ("standard" if few else None):
            made_by["conv_padding"] = padding
        if self.model == "CustomResNet":
            made_by["mirrored"] = self.config.augmentation.flip != "none"
        return made_by | (without_weights(self.model) if self.weights else {})

    def load_classifier(self) -> Classifier:
        """Load the classifier from ``weights``, into a custom network if ``model`` names one."""
        return Classifier.load(self.weights, None if is_builtin(self.model) else self.model)

    def train(
        self,
        data: ImageData,
        output: RunFolder | None = None,
        config: TrainConfig | None = None,
        loss: Loss | None = None,
        optimizer: MakeOptimizer | None = None,
        classifier: Classifier | None = None,
    ) -> tuple[Classifier, RunFolder]:
        """Create the classifier, unless it is given, and train it; with 0 epochs, only test it.

        It is written into ``notebook_output``, unless another folder is given. A ``config``, such
        as one with custom augmentation steps, replaces the settings' own recipe. A custom loss and
        optimizer are as for ``fit``.

        Returns:
            The classifier, and the folder that was written, as ``train_into`` returns it.
        """
        chosen = self if config is None else replace(self, config=config)
        config, classifier = chosen.config, classifier or self.classifier(data)
        written = train_into(
            output or RunFolder.prepare(self.notebook_output),
            classifier,
            data,
            config,
            self.machine,
            self.checkpoints or None,
            loss=loss,
            optimizer=optimizer,
            notes=chosen._notes(classifier, custom=loss is not None or optimizer is not None),
            overwrite=self.overwrite,
        )
        return classifier, written

    def _notes(self, classifier: Classifier, custom: bool) -> dict[str, Any]:
        """Return entries of the manifest; there is no command for a custom loss or optimizer."""
        values = {name: self._value(name) for name in FIELDS}
        if not is_cifar10(self.data):  # absolute, to be found from any working directory
            values["data"] = str(Path(self.data).absolute())
            values["labels"] = self.labels and from_anywhere(self.labels, Path(self.data))
        begins_with = None
        if self.weights and classifier.begins_with:
            begins_with = {"weights": self.weights, "sha256": classifier.begins_with}
        words = None if custom else self.command()
        return {
            "command": words and shlex.join(words),
            "settings": values,
            "begins_with": begins_with,
        }

    def command(self) -> list[str] | None:
        """Return the command line that trains with these settings, leaving out defaults.

        It is None if there is none: an option can neither give steps nor unset what a recipe sets.
        """
        words = ["python", "-m", "pytorch_vision", "train", "--data", self.data]
        chosen = {name: self._value(name) for name in ("data", "model", "weights", "recipe")}
        implied = Settings.of(**chosen)
        for name in FIELDS:
            value = self._value(name)
            default = Settings() if name in chosen else implied
            if name not in ("data", "keep_on_drive") and value != default._value(name):
                if value is None:
                    return None
                words += [flag(name), _text(value)]
        return None if self.config.augmentation.steps is not None else words

    def _value(self, name: str) -> Any:
        """Return the value of one of ``FIELDS``."""
        parts = (self, self.config, self.config.augmentation, self.machine)
        return next(getattr(part, name) for part in parts if isinstance(part, OWNERS[name]))

    @property
    def name(self) -> str:
        """A short folder name made from data and network."""
        parts = [short_data_name(self.data)]
        if self.held_out:
            parts.append("held-out")
        if self.model != DEFAULT_MODEL:
            parts.append(self.model.replace(":", "-"))
        return short_name("-".join(parts))

    @property
    def digest(self) -> str:
        """A hash, in eight characters, of the settings that change the result."""
        chosen = [self._value(name) for name in FIELDS if name not in WITHOUT_EFFECT]
        return hashlib.sha256(repr(chosen).encode()).hexdigest()[:8]

    @property
    def folder(self) -> str:
        """The output folder; default: one in ``runs``."""
        return self.output or f"runs/{self.name}"

    @property
    def notebook_output(self) -> str:
        """The notebook's output folder: ``folder``, but by default "." for its full training.

        So only a full training replaces the committed plots.
        """
        chosen = (self.data, self.held_out, self.model, self.weights, self.chosen_recipe)
        full = chosen == ("full", 0, DEFAULT_MODEL, "", "default")
        return "." if full and not self.output else self.folder


def _pixels(size: int | tuple[int, int]) -> str:
    return _text(height_and_width(size))


def _text(value: Any) -> str:
    """Return a setting's value as one gives it on the command line."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


WHOLE = ("config", "machine", "augmentation", "steps", "given")  # fields that are not settings

# the class that declares each setting, and pydantic's description of it
OWNERS: dict[str, type] = {
    name: cls
    for cls in (Settings, TrainConfig, Augmentation, Machine)
    for name in declared(cls)
    if name not in WHOLE
}
FIELDS: dict[str, Any] = {name: declared(cls)[name] for name, cls in OWNERS.items()}


def _part(values: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Return the values of the settings that a class declares."""
    return {name: value for name, value in values.items() if OWNERS[name] is cls}


def check_known(name: str, shown: str = "") -> None:
    """Raise ValueError, with the nearest name, if there is no setting of this name."""
    if name not in FIELDS:
        advice = nearest_of(name, FIELDS) or f"; expected one of {', '.join(FIELDS)}"
        raise ValueError(f"{shown or name} is not a setting{advice}")


def default_data() -> str:
    """Return "full" where a CUDA GPU makes 50,000 images a matter of minutes, else "sample"."""
    return "full" if torch.cuda.is_available() else "sample"
