"""The classifier: a network with all that is needed to use it, and its file.

The weights that come with a clone of PyTorch_Vision lie in ``weights/``, beside the package.
"""

import contextlib
import copy
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import torch
from PIL import Image
from torch import nn

from pytorch_vision.data import ImageData, Normalization
from pytorch_vision.data.image_files import MAX_SIDE, Resize, as_array, check_resize, read_image
from pytorch_vision.data.images import check_class_names, check_images
from pytorch_vision.data.normalization import Normalizer
from pytorch_vision.models.adapter import Adapter, Call, find_call
from pytorch_vision.models.history import History
from pytorch_vision.models.inference import images_at_once, logits_of, scaled_size
from pytorch_vision.models.module_utils import (
    copied,
    device_of,
    evaluating,
    load_state,
    memory_order,
    order_kept,
    ready,
    tensors_of,
)
from pytorch_vision.models.registry import (
    check_name,
    create,
    describe_network,
    has_weights,
    made_by_of,
    network_name,
    normalization_of,
)
from pytorch_vision.models.weights import (
    fill_network,
    load_weights,
    made_by,
    restored_network,
    save_weights,
)
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.checks import height_and_width
from pytorch_vision.runtime.devices import device_settings, make_fabric, memory_explained
from pytorch_vision.runtime.files import CheckpointError, user_path
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import checked_text, first_line, printable

LARGEST_CLASSES = 100_000
DIGESTS, DIGEST_LENGTH = re.compile("[A-Za-z0-9+/]*"), 8  # as data.decoding makes them
FEW = 8  # images that are predicted without autocast
# a prediction puts the network into evaluation mode and back: that of another thread waits
PREDICTING = threading.RLock()
PictureLike = str | os.PathLike | Image.Image
PRETRAINED = Path(__file__).parents[2] / "weights" / "resnet18_cifar10.safetensors"
# what a file of an earlier version calls these
EARLIER_NAMES = {"mean_and_std": "normalization", "fit": "resize"}


class Classifier:
    """A network with its classes, and with all that is done to an image before it sees it.

    ``training.fit`` trains it and fills in its history, ``save`` and ``load`` keep it, and all of
    ``analysis`` asks it.

    Args:
        network: any ``torch.nn.Module`` that gives logits (N, C) for float32 images (N, 3, H, W),
            or (N, 1, H, W), in a tensor, or as ``models.adapter.as_logits`` finds them; or the name
            of one, as ``models.create`` knows it, which is made with random weights. It is taken
            out of ``torch.compile`` and DataParallel, its lazy layers are made, and it becomes
            float32 if it is of another type.
        data: what it is trained on. Classes, size and normalisation come from there, unless they
            are given.
        class_names: by the logit's place.
        normalization: of its images; that of torchvision's weights, if the network begins with
            them, or else computed from the training images of ``data``.
        size: height and width of its images, in pixels.
        resize: how pictures of other sizes are brought to it; None for as those of ``data`` were,
            if they are pictures of a folder, and else "crop".
        history: of its training.
        description: network and data, for print-outs.
        trained_on: the digests of the data's training files, by which what it has learned is known
            again in a folder that a part was held out of.
        options: what else ``models.create`` needs for a network, such as
            ``conv_padding="standard"``.

    Attributes: the arguments above, by the same names.
        is_partly_new: whether its weights are those of an earlier training on other classes, and
            its last layer, mostly, random; False once it was trained.

    Raises:
        ValueError: something of this is missing, or of a wrong kind.
    """

    def __init__(
        self,
        network: nn.Module | str,
        data: ImageData | None = None,
        *,
        class_names: Sequence[str] | None = None,
        normalization: Normalization | None = None,
        size: tuple[int, int] | None = None,
        resize: Resize | None = None,
        history: History | None = None,
        description: str = "",
        trained_on: Sequence[str] = (),
        **options: Any,
    ) -> None:
        if isinstance(network, str):
            normalization = normalization or normalization_of(network)
        if data is None and (class_names is None or normalization is None or size is None):
            raise ValueError(
                "a classifier needs data, or else its class_names, normalization and size"
            )
        names = class_names if data is None or class_names is not None else data.class_names
        self.class_names = check_class_names(() if names is None else names)
        self.is_partly_new = isinstance(network, str) and has_weights(network)
        if isinstance(network, str):
            network = create(network, len(self.class_names), **options)
        elif options:
            raise ValueError(f"{', '.join(options)}: only for a network that is made by its name")
        size_of: Any = size if data is None or size is not None else data.size
        self.size: tuple[int, int] = height_and_width(size_of)
        self.network = network
        self.resize = check_resize(resize or (data.resize if data else "") or "crop")
        self.normalization: Any = normalization
        if data is not None and normalization is None:
            self.normalization = Normalization.of(data.train_images)
        self.history = history or History()
        self.trained_on = tuple(trained_on or (data.train_digests if data else ()))
        self.description = printable(description or self.describe(data))

    @property
    def network(self) -> nn.Module:
        """The network, as ``models.networks.ready`` makes it."""
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        if not isinstance(network, nn.Module):
            raise ValueError(f"network is {_kind(network)}")
        self._network = ready(network, self.size)
        self._asked: Any = None  # what the last few images were predicted with

    def __str__(self) -> str:
        return self.description

    def describe(self, data: ImageData | None) -> str:
        """Return what was trained on what, as in "ResNet18 on bundled sample, 1,000 images"."""
        return network_name(self.network) + (f" on {data.name}" if data else "")

    def with_network(self, network: nn.Module, history: History | None = None) -> "Classifier":
        """Return the same classifier with another network, and maybe another history."""
        other = copy.copy(self)
        other.network = network
        other.history = self.history if history is None else history
        return other

    def copy(self) -> "Classifier":
        """Return the same with weights of its own, which no later training changes."""
        return self.with_network(copied(self.network))

    def check(self, data: ImageData) -> None:
        """Refuse data that is not this classifier's.

        Raises:
            ValueError: it is no ``ImageData``, has other classes, or images of another size.
        """
        if not isinstance(data, ImageData):
            raise ValueError(
                f"data is {type(data).__name__}, expected ImageData, as load_data and load_folder "
                "return it"
            )
        if self.class_names != data.class_names:
            raise ValueError(
                f"{self} has other classes ({', '.join(self.class_names)}) than {data.name} "
                f"({', '.join(data.class_names)})"
            )
        if self.size != data.size:
            (height, width), (rows, columns) = self.size, data.size
            raise ValueError(
                f"{self} takes images of {height}x{width} pixels, those of {data.name} have "
                f"{rows}x{columns}: read them in that size"
            )

    def learns_from(self, digests: Sequence[str]) -> None:
        """Note what it is trained on, beside what it was trained on before."""
        # of files that are there several times, as many as there were in one training
        both = Counter(self.trained_on) | Counter(digests)
        self.trained_on = tuple(sorted(both.elements()))

    def check_outputs(self, fabric: lightning_fabric.Fabric, scale: float = 1.0) -> Adapter:
        """Show the network a black image, and return it as it is called; or refuse it.

        Args:
            fabric: of ``make_fabric``, on whose device the network stands.
            scale: the part of their height and width at which images are shown.

        Raises:
            ValueError: it does not take images of this size, or has not one logit for each class.
        """
        height, width = scaled_size(self.size, scale)
        classes = len(self.class_names)
        call = find_call(self.network, (height, width), classes, fabric.autocast)
        return Adapter(self.network, call, classes)

    @contextlib.contextmanager
    def on(self, fabric: lightning_fabric.Fabric) -> Iterator[Adapter]:
        """Put the network on Fabric's device, and give it as it is called fastest there.

        Afterwards it stays on the device; its weights are in the memory order that they had.

        Raises:
            ValueError: as for ``check_outputs``.
        """
        fabric.to_device(self.network)
        with order_kept(self.network):
            yield self.check_outputs(fabric)

    def predict(
        self,
        images: np.ndarray | PictureLike | Sequence[PictureLike],
        machine: Machine | None = None,
    ) -> np.ndarray:
        """Return each image's class probabilities.

        The network is put on the device and stays there; its layers are left in the mode, and its
        weights in the memory order, that they had. Up to ``FEW`` images are calculated in float32,
        unless the machine's precision says otherwise: for them, turning weights into bfloat16 takes
        longer than it saves.

        Args:
            images: uint8 (N, H, W, 3), of the classifier's size; or image files, or pictures of
                Pillow's, or one, which are brought to that size as those were that it learned
                from.
            machine: ``Machine()`` if None.

        Returns:
            float32 (N, C), each row summing to 1.

        Raises:
            ValueError: the images are of another type or size, a file cannot be read as one, or the
                network takes none of this size or has not one logit for each class.
            OSError: a file cannot be opened.
            MemoryError: the GPU has too little memory.
        """
        pixels = self._pixels(images)
        machine = machine or Machine()
        device = machine.first_device
        few = min(FEW, images_at_once(self.size, device))
        if len(pixels) <= few and machine.precision == "auto":
            with PREDICTING:
                return self._predict_few(pixels, device)
        fabric = make_fabric(machine)
        size = images_at_once(self.size, fabric.device)
        with (
            PREDICTING,
            memory_explained(),
            device_settings(fabric.device),
            self.on(fabric) as adapter,
        ):
            batches = logits_of(fabric, adapter, pixels, self.normalization, batch_size=size)
            return np.concatenate([logits.softmax(dim=1).cpu().numpy() for logits in batches])

    def _pixels(self, images: np.ndarray | PictureLike | Sequence[PictureLike]) -> np.ndarray:
        """Return images as an array, read from files and brought to the size if they are none."""
        if isinstance(images, (str, os.PathLike, Image.Image)):
            images = [images]
        if not isinstance(images, np.ndarray):
            images = list(images)
            usable = all(isinstance(one, (str, os.PathLike, Image.Image)) for one in images)
            if not usable or not images:
                raise ValueError(
                    "images are no array uint8 (N, H, W, 3), no paths of files and no pictures of "
                    "Pillow's"
                )
            images = np.stack([self._read(one) for one in images])
        check_images(images)
        if images.shape[1:3] != self.size:
            raise ValueError(
                f"images are {images.shape[1]}x{images.shape[2]} pixels, {self} takes "
                f"{self.size[0]}x{self.size[1]}"
            )
        return images

    def _read(self, picture: PictureLike) -> np.ndarray:
        if isinstance(picture, Image.Image):
            return as_array(picture, self.size, self.resize)
        if user_path(picture).is_dir():
            raise ValueError(f"{picture} is a folder: analysis.classify_files takes one")
        return read_image(picture, self.size, self.resize)[0]

    def _predict_few(self, images: np.ndarray, device: torch.device) -> np.ndarray:
        """Do as ``predict``, with nothing set up anew for a network that was asked before."""
        if device_of(self.network) != device:
            self.network.to(device)
        with memory_explained(), evaluating(self.network), torch.no_grad():
            key = (self.network, device, self.normalization)
            if self._asked is None or self._asked[0] != key:
                normalize = Normalizer(self.normalization).to(device)
                self._asked = key, normalize, self._exact_adapter()
            _, normalize, adapter = self._asked
            logits = adapter(normalize(torch.from_numpy(images.copy()).to(device)))
            return logits.softmax(dim=1).cpu().numpy()

    def _exact_adapter(self) -> Adapter:
        """Return the network as it is called in float32, its weights where they are."""
        first = Call(memory_format=memory_order(self.network), autocast=False)
        calls = [first, *(call for call in first.others() if not call.autocast)]
        with order_kept(self.network):
            call = find_call(self.network, self.size, len(self.class_names), calls=calls)
        return Adapter(self.network, call, len(self.class_names))

    def begin_with(self, path: str | os.PathLike) -> str:
        """Put the weights of an earlier training into the network, to train on from there.

        Those that do not fit are left as they are: a classifier for other classes begins anew.

        Args:
            path: the file, or "pretrained".

        Returns:
            A sentence that says what was taken over.

        Raises:
            CheckpointError: the file is missing or damaged, or less than half of its weights fit.
        """
        path = weights_path(path)
        own, (tensors, texts) = tensors_of(self.network), load_weights(path)
        fitting = {
            name: tensor
            for name, tensor in tensors.items()
            if name in own and own[name].shape == tensor.shape
        }
        others = sorted(own.keys() - fitting.keys())
        if 2 * len(fitting) < len(own):
            made, wanted = _network_of(texts, len(tensors)), describe_network(self.network)
            raise CheckpointError(
                f"{path} does not fit {wanted}: of its {len(own)} tensors "
                f"only {len(fitting)} have the name and the shape of one in the file"
                + (f", which is of {made}" if made not in ("", wanted) else "")
            )
        load_state(self.network, {**own, **fitting})
        metadata = {name: json.loads(texts.get(name, '""')) for name in ("trained_on", "split_id")}
        self.learns_from(_digests(path, {k: v for k, v in metadata.items() if v}))
        names = json.loads(texts.get("class_names", "null"))
        self.is_partly_new = bool(others) or names not in (None, list(self.class_names))
        described = checked_text(json.loads(texts.get("description", '"an earlier run"')))
        new = f"; new: {', '.join(others)}" if others else ""
        if self.is_partly_new and not others:
            new = ", whose classes are others"
        return f"Beginning with the weights of {described}{new}"

    def save(self, path: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
        """Write all of the classifier as one safetensors file, whole or not at all.

        Args:
            path: the file; its folder is made if it is missing.
            dtype: that floating-point tensors are stored in; None for their own, float32.

        Raises:
            OSError: it cannot be written; what was there before is untouched.
        """
        metadata = {
            "network": made_by_of(self.network),
            "class_names": self.class_names,
            "normalization": (self.normalization.mean, self.normalization.std),
            "history": [asdict(record) for record in self.history.records],
            "description": self.description,
            "size": self.size,
            "resize": self.resize,
            "trained_on": "".join(self.trained_on),
        }
        save_weights(
            path,
            self.network,
            {k: json.dumps(v, default=_plain) for k, v in metadata.items()},
            dtype,
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        network: nn.Module | Callable[[int], nn.Module] | str | None = None,
    ) -> "Classifier":
        """Read what ``save`` wrote; a file can run no code.

        Args:
            path: the file, or "pretrained" for the one that comes with PyTorch_Vision: ResNet18
                trained on CIFAR-10.
            network: to put the weights into, such as one of your own, or a function that makes it
                for a number of classes, or its name, as ``create`` takes it. Without it, a network
                of ``models.create`` is made anew; a function of somebody's own, which a file may
                name too, is never imported.

        Raises:
            CheckpointError: the file is missing, damaged, another one's, or its weights do not fit
                the network.
        """
        path = weights_path(path)
        if isinstance(network, str):
            check_name(network)
        tensors, texts = load_weights(path)
        try:
            metadata = {EARLIER_NAMES.get(k, k): json.loads(text) for k, text in texts.items()}
            made, names = made_by(metadata, len(tensors)), _names(metadata)
            if network is None:
                network = restored_network(path, made, names, tensors)
            else:
                if isinstance(network, str):
                    network = create(network, len(names))
                network = network if isinstance(network, nn.Module) else network(len(names))
                network = ready(network, _size(metadata))
                fill_network(path, network, made, tensors)
            return cls(
                network,
                class_names=names,
                normalization=Normalization(*metadata["normalization"]),
                size=_size(metadata),
                resize=check_resize(metadata.get("resize", "crop")),
                history=History.from_dicts(metadata["history"]),
                description=checked_text(metadata["description"]),
                trained_on=_digests(path, metadata),
            )
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"{path} holds other weights than `python -m pytorch_vision train` writes "
                f"({type(error).__name__}: {first_line(error)})"
            ) from error


def _kind(network: Any) -> str:
    """Say what was given in place of a network, and what to do."""
    if isinstance(network, type):
        return f"the class {network.__name__}, expected a network: {network.__name__}()"
    if isinstance(network, dict):
        return "a dict, of weights maybe: make the network, and network.load_state_dict(...)"
    return f"{type(network).__name__}, expected a torch.nn.Module or a name"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a number of numpy's as Python's, anything else described."""
    return value.item() if hasattr(value, "item") else repr(value)


def weights_path(path: str | os.PathLike) -> Path:
    """Return the path of weights, which can be named "pretrained"."""
    if path == "pretrained" and not PRETRAINED.is_file():
        raise CheckpointError(
            f"there are no weights at {PRETRAINED}; they come with a clone of PyTorch_Vision, not "
            "with an installed package: train your own, or name another file"
        )
    return PRETRAINED if path == "pretrained" else user_path(path)


def _names(metadata: dict[str, Any]) -> tuple[str, ...]:
    names = metadata["class_names"]
    if not isinstance(names, list) or len(names) > LARGEST_CLASSES:
        raise ValueError("its class names are no list, or too many")
    return check_class_names([checked_text(name) for name in names])


def _network_of(texts: dict[str, str], tensors: int) -> str:
    """Return of which network a file says that its weights are; nothing if it does not tell."""
    try:
        made = made_by({"network": json.loads(texts["network"])}, tensors)
        return printable(describe_network(made)) if made else ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _digests(path: Path, metadata: dict[str, Any]) -> list[str]:
    """Return the digests in a file's metadata; of a file that had none yet, say so."""
    if metadata.get("split_id") and "trained_on" not in metadata:
        say(
            f"{path} is of an earlier version, and does not tell which pictures it was trained on: "
            "tested on a folder that it learned from, it looks better than it is"
        )
    text = metadata.get("trained_on", "")
    if not isinstance(text, str) or len(text) % DIGEST_LENGTH or not DIGESTS.fullmatch(text):
        raise ValueError("what it was trained on is no list of digests")
    places = range(0, len(text), DIGEST_LENGTH)
    return [text[start : start + DIGEST_LENGTH] for start in places]


def _size(metadata: dict[str, Any]) -> tuple[int, int]:
    size = metadata.get("size", [32, 32])
    if len(size) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"its images' size is {size}")
    return size[0], size[1]
