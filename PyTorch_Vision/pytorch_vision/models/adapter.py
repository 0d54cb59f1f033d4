"""Any network behind one interface: three colour channels in, one logit for each class out.

Networks differ. Some take grayscale images, or only one memory format; some have operations that do
not exist in 16 bits; some fail on a batch of one image; some return a tuple, or an object with
logits. ``find_call`` finds the call that works for a black image, and ``Adapter`` makes it from
then on.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytorch_vision.data.images import LUMA
from pytorch_vision.models.module_utils import (
    HALVES,
    copied,
    device_of,
    evaluating,
    order_kept,
    put_in_order,
    unwrapped,
)
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.runtime.files import is_lack_of_memory
from pytorch_vision.runtime.text import first_line

Autocast = Callable[[], contextlib.AbstractContextManager]  # makes a context of a precision


class LogitsError(ValueError):
    """A network returns something other than one logit for each class."""


@dataclass(frozen=True)
class Call:
    """How to call a network."""

    channels: int = 3  # or 1, for a network that takes grayscale images (luma)
    memory_format: torch.memory_format = torch.channels_last  # of images and weights
    autocast: bool = True  # False: run in the precision of the network's weights
    alone: bool = True  # False: a single image is repeated, for a network that fails on one

    def and_others(self) -> list["Call"]:
        """Return all calls: this one, then the others, the fastest first."""
        formats = (torch.channels_last, torch.contiguous_format)
        every = itertools.product((3, 1), (True, False), (True, False), formats)
        calls = (Call(channels, order, cast, alone) for channels, alone, cast, order in every)
        return [self, *(call for call in calls if call != self)]


# in the usual memory format, for what knows no other
CONTIGUOUS = [
    Call(channels, torch.contiguous_format, alone=alone)
    for channels in (3, 1)
    for alone in (True, False)
]


def fastest_first(network: nn.Module) -> list[Call]:
    """Return all calls, with the one that is fastest on the network's device first.

    On a CPU, depthwise convolutions are slow in bfloat16: on one core of an AMD EPYC,
    EfficientNet-Lite0 trains on 24 images of 128x128 pixels per second, and on 38 in float32.
    """
    slow = device_of(network).type == "cpu" and any(
        isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels
        for layer in network.modules()
    )
    return Call(autocast=not slow).and_others()


class Adapter(nn.Module):
    """A module that calls any network with this package's images, and returns its logits.

    Args:
        network: the wrapped network.
        call: how to call it.
        classes: the number of logits that it must return; None for any number.
        hooked: False skips the network's own hooks, in which a user may count steps.
    """

    def __init__(
        self, network: nn.Module, call: Call, classes: int | None = None, hooked: bool = True
    ) -> None:
        super().__init__()
        self.network, self.call, self.classes, self.hooked = network, call, classes, hooked

    @property
    def unhooked(self) -> "Adapter":
        """The same without the network's own hooks."""
        return Adapter(self.network, self.call, self.classes, hooked=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float32 (N, C), for normalised images, float (N, 3, H, W).

        Raises:
            LogitsError: the network returns something other than one logit for each class.
        """
        count, device = len(images), images.device
        images = images if self.call.channels == 3 else luma(images)
        if count == 1 and not self.call.alone:
            images = images.expand(2, -1, -1, -1)
        images = images.to(torch.float32, memory_format=self.call.memory_format)
        run: Callable[[Tensor], Any] = self.network if self.hooked else self.network.forward
        as_set = contextlib.nullcontext()
        with as_set if self.call.autocast else torch.autocast(device.type, enabled=False):
            logits = as_logits(run(images))
        return _checked(logits[:count] if logits.ndim > 1 else logits, count, self.classes).float()


def luma(images: Tensor) -> Tensor:
    """Convert images (N, 3, H, W) to grayscale, (N, 1, H, W), as Pillow's mode "L" does."""
    # without a tensor of the weights, which a step that is captured as a CUDA graph cannot make
    red, green, blue = images.split(1, 1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def as_logits(output: Any) -> Tensor:
    """Return the logits in a network's output.

    Args:
        output: a tensor; an object or a mapping with ``logits``; or else a mapping, a tuple or a
            list whose first value is the logits.

    Raises:
        LogitsError: it contains no such tensor.
    """
    if isinstance(output, Mapping):
        found = output.get("logits", next(iter(output.values()), None))
    elif isinstance(output, (tuple, list)) and not hasattr(output, "logits"):
        found = output[0] if output else None
    else:
        found = getattr(output, "logits", output)
    if not isinstance(found, Tensor):
        raise LogitsError(
            f"the network returns {type(output).__name__}, expected logits: a tensor, a tuple that "
            "begins with one, or an object with an attribute logits"
        )
    return found


def _checked(logits: Tensor, count: int, classes: int | None) -> Tensor:
    fits = logits.ndim > 1 and len(logits) == count  # if classes is None, so do feature maps
    if not fits or (classes is not None and logits.shape != (count, classes)):
        batch = f"{count} images" if count > 1 else "one image"
        raise LogitsError(
            f"the network returns {tuple(logits.shape)} for {batch}, expected ({count}, "
            f"{classes or 'classes'}): one logit for each class"
        )
    return logits


def ready(network: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Return a network whose weights can be trained, averaged, saved and counted.

    Unwraps it, initialises lazy layers with a black image, and converts half precision, and a
    network without any float32, to float32, as are its images: ``Machine`` sets a lower precision.

    Args:
        network: changed in place.
        size: height and width of its images.

    Raises:
        ValueError: its lazy layers cannot be initialised.
    """
    network = unwrapped(network)

    def initialise(call: Call) -> None:
        with evaluating(network), torch.no_grad():
            Adapter(network, call)(torch.zeros(1, 3, *size, device=device_of(network)))

    if any(map(is_lazy, [*network.parameters(), *network.buffers()])):
        with order_kept(network):
            _first_that_works(initialise, network, size, CONTIGUOUS, "be initialised with")
    types = {one.dtype for one in network.parameters() if one.is_floating_point()}
    with torch.inference_mode(False):
        if types and torch.float32 not in types:
            network.float()
        elif types & set(HALVES):  # a layer in double precision is meant so
            network._apply(lambda tensor: tensor.float() if tensor.dtype in HALVES else tensor)
    return network


def find_call(
    network: nn.Module,
    size: tuple[int, int],
    classes: int | None = None,
    precision: Autocast = contextlib.nullcontext,
    calls: Iterable[Call] | None = None,
) -> Call:
    """Return the fastest call that works for a black image in evaluation mode.

    Args:
        network: on any device; its weights are converted to the call's memory format.
        size: height and width of its images.
        classes: the number of logits that it must return; None for any number.
        precision: returns the context in which the network runs, such as autocast.
        calls: the calls to try, in this order; None for all, the fastest first.

    Raises:
        LogitsError: it returns something other than one logit for each class.
        ValueError: no call works; the message says why.
    """
    device = device_of(network)

    def attempt(call: Call) -> None:
        image = torch.zeros(1, 3, *size, device=device)
        with evaluating(network), random_state_kept(device), torch.no_grad(), precision():
            Adapter(network, call, classes)(image)

    return _first_that_works(attempt, network, size, calls or fastest_first(network))


def find_training_call(
    adapter: Adapter, size: tuple[int, int], precision: Autocast = contextlib.nullcontext
) -> tuple[Call, list[str]]:
    """Return a call that also works in a training step, and the parameters without a gradient.

    In training mode, a network may run more layers, such as an auxiliary classifier. The step is
    made with a copy of the network, on two black images.

    Args:
        adapter: holds the network, of which only the weights' memory format may change, and a call
            that works in evaluation mode, which is tried first.
        size, precision: as for ``find_call``.

    Returns:
        The call, and the names of the trainable parameters on which the logits do not depend.

    Raises:
        ValueError: no call works; the message says why.
    """
    first, unused, device = adapter.call, list[str](), device_of(adapter.network)

    def attempt(call: Call) -> None:
        network = copied(adapter.network)
        network.train()
        images = torch.zeros(2, 3, *size, device=device)
        with torch.inference_mode(False), torch.enable_grad(), random_state_kept(device):
            with precision():
                total = Adapter(network, call, hooked=False)(images).sum()
            if total.requires_grad:
                total.backward()  # autograd.grad would fail in a reentrant checkpoint
        trained = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
        unused[:] = [name for name, one in trained if one.grad is None]

    kind = (first.channels, first.alone)
    calls = [one for one in first.and_others() if (one.channels, one.alone) == kind]
    call = _first_that_works(attempt, adapter.network, size, calls, "be trained on")
    return call, unused


def _first_that_works(
    attempt: Callable[[Call], None],
    network: nn.Module,
    size: tuple[int, int],
    calls: Iterable[Call],
    verb: str = "take",
) -> Call:
    first_error: Exception | None = None
    for call in calls:
        put_in_order(network, call.memory_format)
        try:
            attempt(call)
            return call
        except Exception as error:  # a user's network can raise anything
            if is_lack_of_memory(error):
                raise
            # the error for three channels is more helpful than the one for a single channel
            first_error = first_error or error
    assert first_error is not None
    if isinstance(first_error, LogitsError):
        raise first_error
    reason, kind = first_line(first_error), type(first_error).__name__
    raise ValueError(
        f"{type(network).__name__} cannot {verb} images of {size[0]}x{size[1]} pixels "
        f"({kind if reason == kind else f'{kind}: {reason}'})"
    ) from first_error
