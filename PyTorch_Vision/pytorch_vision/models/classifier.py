"""The classifier: a network with everything needed to use it."""

import contextlib
import copy
import hashlib
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning_fabric
import numpy as np
import torch
from torch import nn

from pytorch_vision.data import ImageData, Normalization, read_image
from pytorch_vision.data.image_files import ImageLike, Resize, Scales, check_resize
from pytorch_vision.data.images import check_class_names, check_images
from pytorch_vision.models.adapter import Adapter, Call, find_call, ready
from pytorch_vision.models.classifier_file import (
    arguments_of,
    load_into,
    made_by_in,
    metadata_in,
    metadata_of,
    network_from,
    network_given,
    train_digests_of,
    weights_path,
)
from pytorch_vision.models.history import History
from pytorch_vision.models.inference import (
    as_pixels,
    check_finite,
    images_at_once,
    inference_machine,
    inference_settings,
    logits_of,
    precision_of,
    scaled_size,
)
from pytorch_vision.models.module_utils import (
    copied,
    device_of,
    load_state,
    memory_order,
    order_kept,
    put_in_order,
    tensors_of,
)
from pytorch_vision.models.registry import (
    create,
    describe_network,
    expected_normalization,
    network_name,
)
from pytorch_vision.models.state_dicts import match_tensors, read_state_dict
from pytorch_vision.models.weights import read_safetensors, save_weights
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.checks import height_and_width
from pytorch_vision.runtime.devices import memory_explained, random_state_kept
from pytorch_vision.runtime.files import CheckpointError
from pytorch_vision.runtime.text import checked_text, listed, printable

# a prediction switches the network to evaluation mode and back: one thread at a time
PREDICTING = threading.RLock()
NEEDS = "a classifier needs data, or else its class_names, normalization and size"


class Classifier:
    """An image classifier: a network, its class names, and how to prepare images for it.

    ``training.fit`` trains it and fills in its history; ``predict`` and ``classify`` apply it;
    ``save`` writes it to a file and ``load`` reads it back.

    Args:
        network: any ``torch.nn.Module`` that returns logits (N, C) for float32 images (N, 3, H, W)
            or (N, 1, H, W), as a tensor or inside an object that ``models.adapter.as_logits``
            takes; or a name for ``models.create``. It is unwrapped from ``torch.compile`` and
            DataParallel, its lazy layers are initialised, and half or double precision becomes
            float32.
        data: the data to train on. Its class names, size and normalisation are the defaults of
            those below.
        class_names: the name of each class, in the order of the logits.
        normalization: how images are normalised. Default: as the network's learned weights expect
            (see ``models.registry.expected_normalization``), else computed from the training images
            of ``data``.
        size: height and width of the images, in pixels.
        resize: how pictures of other sizes are resized. Default: as those of ``data`` were if they
            come from a folder, else "crop".
        scales: for each type of values of more than 8 bits in pictures, those that become black and
            white, as in ``ImageData``. Default: those of ``data``; for other types, each picture
            has its own.
        history: the history of the training.
        description: a text for messages. Default: the names of network and data, as in "ResNet18 on
            bundled sample, 1,000 images".
        train_digests: digests of the training files, by which a later test recognises them.
        seed: seeds the initial weights of a network given by name, without using or changing the
            global random state. For a module, seed before you make it.
        options: arguments of ``models.create`` for a network given by name, such as
            ``conv_padding="standard"``.

    Attributes: the arguments above, under the same names, except data, seed and options; and
        begins_with: the weights that training begins with, if not those that the network was made
            with: the SHA-256 of ``begin_with``'s file, or any text.

    Raises:
        ValueError: an argument is missing or of the wrong kind.
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
        scales: Scales | None = None,
        history: History | None = None,
        description: str = "",
        train_digests: Sequence[str] = (),
        seed: int = 0,
        **options: Any,
    ) -> None:
        if data is not None:
            class_names = data.class_names if class_names is None else class_names
            size = data.size if size is None else size
        if class_names is None or size is None:
            raise ValueError(NEEDS)
        self.class_names = class_names
        self.size: tuple[int, int] = height_and_width(size)
        if isinstance(network, str):
            with random_state_kept(torch.device("cpu")):
                set_seed(seed)
                self.network = create(network, len(self.class_names), **options)
        elif options:
            raise ValueError(f"{', '.join(options)}: only for a network that is given by name")
        else:
            self.network = network
        normalization = normalization or expected_normalization(self.network)
        self._of_data = None
        if normalization is None and data is not None:
            normalization = self._of_data = Normalization.of(data.train_images)
        if normalization is None:
            raise ValueError(NEEDS)
        self.normalization = normalization
        self.resize = check_resize(resize or (data.resize if data else "") or "crop")
        self.scales = dict(scales or (data.scales if data else {}))
        self.history = history or History()
        self.begins_with = ""
        self.train_digests = tuple(train_digests or (data.train_digests if data else ()))
        usual = network_name(self.network) + (f" on {data.name}" if data else "")
        self.description = printable(description or usual)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the logits."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Sequence[str]) -> None:
        self._class_names = check_class_names(names)

    @property
    def normalized_by_data(self) -> bool:
        """Whether the normalisation was computed from the data to train on."""
        return self.normalization is self._of_data

    @property
    def network(self) -> nn.Module:
        """The network, as ``models.adapter.ready`` returns it."""
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        if not isinstance(network, nn.Module):
            raise ValueError(f"network is {_kind(network)}")
        self._network = ready(network, self.size)
        self._calls: dict[Any, Call] = {}  # the cache of ``_called``

    def __repr__(self) -> str:
        return self.description

    def with_network(self, network: nn.Module, history: History | None = None) -> "Classifier":
        """Return the same classifier with another network and, if given, another history."""
        other = copy.copy(self)
        other.network = network
        other.history = self.history if history is None else history
        return other

    def copy(self) -> "Classifier":
        """Return a copy that later training of the original does not change."""
        return self.with_network(copied(self.network))

    def check(self, data: ImageData) -> None:
        """Raise ValueError if data has other classes, size, resizing or scales."""
        # not isinstance: %autoreload makes a new ImageData whenever its module changes
        if not hasattr(data, "train_images"):
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
                f"{rows}x{columns}: load them at that size"
            )
        if data.resize and self.resize != data.resize:
            raise ValueError(
                f"{self} takes pictures resized by {self.resize!r}, those of {data.name} were by "
                f"{data.resize!r}: load them with resize={self.resize!r}"
            )
        if any(self.scales.get(kind, scale) != scale for kind, scale in data.scales.items()):
            raise ValueError(
                f"{self} takes values of more than 8 bits at other scales than those of "
                f"{data.name}: load them with scales=classifier.scales"
            )

    def read(self, picture: ImageLike) -> tuple[np.ndarray, str]:
        """Return a picture resized as the training images were, as ``data.read_image`` does."""
        return read_image(picture, self.size, self.resize, self.scales)

    def check_pixels(self, images: np.ndarray) -> None:
        """Raise ValueError unless images are uint8 (N, H, W, 3), of the classifier's size."""
        check_images(images)
        if images.shape[1:3] != self.size:
            (height, width), (rows, columns) = self.size, images.shape[1:3]
            raise ValueError(f"images are {rows}x{columns} pixels, {self} takes {height}x{width}")

    def learns_from(self, digests: Sequence[str]) -> None:
        """Add the digests of a training's files to ``train_digests``."""
        # of each repeated file, keep the larger of the two counts
        both = Counter(self.train_digests) | Counter(digests)
        self.train_digests = tuple(sorted(both.elements()))

    def adapted(self, fabric: lightning_fabric.Fabric, scale: float = 1.0) -> Adapter:
        """Return the network with the fastest call that works for a black image.

        Args:
            fabric: from ``make_fabric``; the network is on its device.
            scale: the fraction of height and width to which images are scaled down.

        Raises:
            ValueError: it does not take images of this size, or does not return one logit for each
                class.
        """
        size, classes = scaled_size(self.size, scale), len(self.class_names)
        return Adapter(
            self.network, find_call(self.network, size, classes, fabric.autocast), classes
        )

    @contextlib.contextmanager
    def on(self, fabric: lightning_fabric.Fabric) -> Iterator[Adapter]:
        """Move the network to Fabric's device, and yield it with the fastest call there.

        Afterwards it stays on that device, with its weights in their original memory format.

        Raises:
            ValueError: as for ``adapted``.
        """
        with torch.inference_mode(False):
            fabric.to_device(self.network)
        with order_kept(self.network):
            yield self.adapted(fabric)

    def predict(
        self,
        images: np.ndarray | ImageLike | Sequence[ImageLike],
        machine: Machine | None = None,
    ) -> np.ndarray:
        """Return the class probabilities of each image.

        They are computed in float32 unless the machine's precision is set, so an image has the same
        probabilities, to within 1e-5, alone and among thousands, in memory and from a file. The
        network is moved to the device and stays there; the mode of its layers and the memory format
        of its weights are restored.

        Args:
            images: uint8 (N, H, W, 3), of the classifier's size; or one image or several as paths,
                bytes, open binary files or Pillow images, which are resized as the training images
                were.
            machine: ``Machine()`` if None.

        Returns:
            float32 (N, C), each row summing to 1.

        Raises:
            ValueError: the images have the wrong type or size, a file cannot be read as an image,
                or the network does not take images of this size.
            FloatingPointError: a probability is NaN, as the weights have diverged.
            OSError: a file cannot be opened.
            MemoryError: there is too little memory.
        """
        pixels = as_pixels(images, self.size, self.resize, self.scales)
        self.check_pixels(pixels)
        machine = inference_machine(machine)
        device = machine.first_device
        batch_size = images_at_once(self.size, device)
        with (
            PREDICTING,
            memory_explained(),
            inference_settings(device),
            self._called(machine, len(pixels) >= batch_size) as adapter,
        ):
            precision = precision_of(machine)
            batches = logits_of(
                adapter, pixels, self.normalization, precision, batch_size=batch_size
            )
            found = np.concatenate([logits.softmax(dim=1).cpu().numpy() for logits in batches])
        check_finite(bool(np.isnan(found).any()), str(self))
        return found

    @contextlib.contextmanager
    def _called(self, machine: Machine, many: bool) -> Iterator[Adapter]:
        """Move the network to a machine's device, and yield it with the fastest call there.

        For less than a batch, its weights stay in their memory format if possible: converting them
        takes longer than it saves.
        """
        network, classes, device = self.network, len(self.class_names), machine.first_device
        if device_of(network) != device:
            with torch.inference_mode(False):  # its weights may be trained later
                network.to(device)
        first = Call() if many else Call(memory_format=memory_order(network))
        layers = hash(tuple(map(id, network.modules())))  # another layer may need another call
        key = (device, machine.chosen_precision, first, layers)
        with order_kept(network):
            if key not in self._calls:
                precision, calls = precision_of(machine), first.and_others()
                self._calls[key] = find_call(network, self.size, classes, precision, calls)
            put_in_order(network, self._calls[key].memory_format)
            yield Adapter(network, self._calls[key], classes)

    def classify(
        self, image: np.ndarray | ImageLike, top: int = 3, machine: Machine | None = None
    ) -> list[tuple[str, float]]:
        """Return the most probable classes of a picture, as in ``[("cat", 0.93), ("dog", 0.05)]``.

        Args:
            image: one image, as a path, bytes, an open binary file, a Pillow image or an array,
                uint8 (H, W, 3), of the classifier's size.
            top: the number of classes, the most probable first.
            machine: ``Machine()`` if None.

        Raises:
            ValueError, OSError, MemoryError: as for ``predict``.
        """
        (shares,) = self.predict(image[None] if isinstance(image, np.ndarray) else image, machine)
        best = np.argsort(-shares, kind="stable")[:top]
        return [(self.class_names[label], float(shares[label])) for label in best]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_calls": {}}

    def begin_with(self, path: str | os.PathLike) -> str:
        """Load the weights of an earlier training into the network, to continue from there.

        Tensors that do not fit are left out: a last layer for other classes stays random. Images
        are normalised as in that training, if the file says how.

        Args:
            path: a file that ``save`` wrote, or a state dict that ``torch.save`` or safetensors
                wrote (see ``models.state_dicts``); or "pretrained".

        Returns:
            Lines that say which tensors were loaded, which were left in the file and which are new.

        Raises:
            CheckpointError: the file is missing or damaged, could run code, or lacks more than half
                of the network's tensors.
        """
        path = weights_path(path)
        tensors, texts = read_state_dict(path)
        with metadata_in(path, texts) as metadata:
            digests, names = train_digests_of(metadata), metadata.get("class_names")
            normalization = metadata.get("normalization")
            expected = None if normalization is None else Normalization(*normalization)
            description = checked_text(metadata.get("description", path.name))
            made_by = made_by_in({"network": None} | metadata, len(tensors))
            made = printable(describe_network(made_by)) if made_by else ""
        own = tensors_of(self.network)
        matched = match_tensors(own, tensors)
        if 2 * len(matched.taken) < len(own):
            wanted = describe_network(self.network)
            raise CheckpointError(
                f"{path} does not fit {wanted}: of its {len(own)} tensors "
                f"only {len(matched.taken)} have the name and the shape of one in the file"
                + (f", which is from {made}" if made not in ("", wanted) else "")
                + f". The file has {listed(list(tensors))}; the network has {listed(list(own))}"
            )
        load_state(self.network, {**own, **matched.taken})
        with open(path, "rb") as file:
            self.begins_with = hashlib.file_digest(file, "sha256").hexdigest()
        if expected is not None:
            self.normalization = expected
        self.learns_from(digests)
        others = names not in (None, list(self.class_names))
        message = f"Beginning with the weights of {printable(description)}: {matched}"
        return f"{message}\nits classes differ" if others and not matched.missing else message

    def save(self, path: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
        """Write the whole classifier as one safetensors file, atomically.

        Args:
            path: the file; its folder is created if it is missing.
            dtype: the type in which floating-point tensors are stored; None for their own, float32.

        Raises:
            OSError: the file cannot be written; an existing one is untouched.
        """
        save_weights(path, self.network, metadata_of(self), dtype)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        network: nn.Module | Callable[[int], nn.Module] | str | None = None,
    ) -> "Classifier":
        """Read a classifier from a file that ``save`` wrote; the file cannot run code.

        Args:
            path: the file, or "pretrained" for the one that comes with PyTorch_Vision: ResNet18
                trained on CIFAR-10.
            network: the network that gets the weights, a function that makes it for a number of
                classes, or its name for ``models.create``. Default: the network that the file
                names, if it is built in, or torchvision's or timm's; a file never causes an import
                of a user's function.

        Raises:
            CheckpointError: the file is missing, damaged or not a classifier's, or its weights do
                not fit the network.
            ValueError: the network cannot be made.
        """
        path = weights_path(path)
        tensors, texts = read_safetensors(path)
        with metadata_in(path, texts) as metadata:
            arguments = arguments_of(metadata)
            made_by = made_by_in(metadata, len(tensors))
            classes = len(arguments["class_names"])
            if network is None:
                return cls(network_from(path, made_by, classes, tensors), **arguments)
        # outside, as a mistake in the caller's network is not one of the file
        module = ready(network_given(network, classes), arguments["size"])
        load_into(path, module, made_by, tensors)
        return cls(module, **arguments)


def set_seed(seed: int) -> None:
    """Seed torch, NumPy and Python, as a network may draw its initial weights from any of them."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _kind(network: Any) -> str:
    """Return the type of a value that is not a network, and what to do."""
    if isinstance(network, type):
        return f"the class {network.__name__}, expected a network: {network.__name__}()"
    if isinstance(network, dict):
        return "a dict, perhaps of weights: make a network, and call network.load_state_dict(...)"
    return f"{type(network).__name__}, expected a torch.nn.Module or a name"
