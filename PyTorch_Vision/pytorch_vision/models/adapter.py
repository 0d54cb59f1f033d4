"""Networks as they are called here: three colours in, one logit for each class out.

What somebody's own network takes and gives can be otherwise. It may want a single channel, or one
memory order; its operations may not exist in 16 bits; it may not take an image alone; its answer
may be a tuple, or an object with logits. ``find_call`` tries, on a black image, which call it
answers, and ``Adapter`` makes that call from then on.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.models.module_utils import copied, device_of, evaluating, put_in_order
from pytorch_vision.runtime.devices import random_state_kept

LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as Pillow's mode "L" has it
# sides at which a network is tried that does not take its images: those in use
SIDES = (8, 16, 20, 24, 28, 32, 40, 48, 56, 64, 75, 80, 84, 96, 112, 128, 150, 160, 192, 200, 224)
LARGER_SIDES = (227, 240, 256, 260, 288, 299, 300, 320, 331, 380, 384, 448, 480, 512)
Precision = Callable[[], contextlib.AbstractContextManager]


@dataclass(frozen=True)
class Call:
    """How a network wants to be called.

    Attributes:
        channels: of its images: 3, or 1 for their luma.
        memory_format: of its images, and of its filters.
        autocast: whether it calculates in the machine's precision, or in that of its weights.
        alone: whether it takes one image by itself; else it is given two.
    """

    channels: int = 3
    memory_format: torch.memory_format = torch.channels_last
    autocast: bool = True
    alone: bool = True

    def others(self) -> list["Call"]:
        """Return the calls to try when this one failed, the fastest first."""
        formats = (torch.channels_last, torch.contiguous_format)
        every = itertools.product((3, 1), (True, False), (True, False), formats)
        calls = [Call(channels, one, auto, alone) for channels, alone, auto, one in every]
        return [call for call in calls if call != self]


class Adapter(nn.Module):
    """A network, called as it wants to be.

    Args:
        network: of which this is a view.
        call: how.
        classes: that it has; None for any number.
        hooked: False leaves out the hooks on the network itself, which somebody may count its
            steps by.
    """

    def __init__(
        self, network: nn.Module, call: Call, classes: int | None = None, hooked: bool = True
    ) -> None:
        super().__init__()
        self.network, self.call, self.classes, self.hooked = network, call, classes, hooked

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float32 (N, C), for normalised images, float (N, 3, H, W).

        Raises:
            ValueError: the network has other logits than one for each class.
        """
        count, device = len(images), images.device
        if self.call.channels == 1:
            images = F.conv2d(images, images.new_tensor(LUMA).view(1, 3, 1, 1))
        if count == 1 and not self.call.alone:
            images = images.expand(2, -1, -1, -1)
        images = images.to(torch.float32, memory_format=self.call.memory_format)
        work: Callable[[Tensor], Any] = self.network if self.hooked else self.network.forward
        exact = contextlib.nullcontext()
        with exact if self.call.autocast else torch.autocast(device.type, enabled=False):
            logits = as_logits(work(images))
        return _checked(logits[:count] if logits.ndim > 1 else logits, count, self.classes).float()


def as_logits(output: Any) -> Tensor:
    """Return the logits in a network's answer.

    Args:
        output: a tensor; an object or a mapping with ``logits``; or else a mapping, a tuple or a
            list that begins with them.

    Raises:
        ValueError: there is no tensor in it.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        values = list(output.values())
        found = output.get("logits", values[0] if values else None)
    elif hasattr(output, "logits"):
        found = output.logits
    else:
        found = output[0] if isinstance(output, (tuple, list)) and output else None
    if found is None:
        raise ValueError(
            f"the network gives {type(output).__name__}, expected logits: a tensor, a tuple that "
            "begins with one, or an object that has it as its logits"
        )
    return as_logits(found)


def _checked(logits: Tensor, count: int, classes: int | None) -> Tensor:
    fits = logits.ndim > 1 and len(logits) == count  # a map does, to look into
    if not fits or (classes is not None and logits.shape != (count, classes)):
        whole = f"{count} images" if count > 1 else "one image"
        raise ValueError(
            f"the network gives {tuple(logits.shape)} for {whole}, expected ({count}, "
            f"{classes or 'classes'}): one logit for each class"
        )
    return logits


def find_call(
    network: nn.Module,
    size: tuple[int, int],
    classes: int | None = None,
    precision: Precision = contextlib.nullcontext,
    calls: Iterable[Call] | None = None,
) -> Call:
    """Return how a network can be called, tried on a black image in evaluation mode.

    Args:
        network: on any device; its filters are put in the memory order of the call.
        size: height and width of its images.
        classes: that it has; None for any number.
        precision: makes the context that it calculates in.
        calls: to try, the best first; None for all.

    Raises:
        ValueError: it answers none; says what is wrong, and what it takes.
    """
    first, *others = Call(), *Call().others()
    error: Exception | None = None
    for call in calls or (first, *others):
        put_in_order(network, call.memory_format)
        try:
            _try(network, size, classes, precision, call)
            return call
        except torch.OutOfMemoryError:
            raise
        except Exception as caught:  # of whatever kind somebody's own network raises
            # what it says to three colours tells more than what it says to one
            error = caught if error is None else error
    assert error is not None
    if _is_about_logits(error):
        raise error
    raise ValueError(_explained(network, size, error)) from error


def _is_about_logits(error: Exception) -> bool:
    return isinstance(error, ValueError) and str(error).startswith("the network gives ")


def _try(
    network: nn.Module, size: tuple[int, int], classes: int | None, precision: Precision, call: Call
) -> None:
    device = device_of(network)
    image = torch.zeros(1, 3, *size, device=device).to(memory_format=torch.channels_last)
    with evaluating(network), random_state_kept(device), torch.no_grad(), precision():
        Adapter(network, call, classes)(image)


def _explained(network: nn.Module, size: tuple[int, int], error: Exception) -> str:
    """Say that a network does not take images of a size, and which it does."""
    lines = str(error).splitlines() or [""]
    told = f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
    name = type(network).__name__
    text = f"{name} does not take images of {size[0]}x{size[1]} pixels ({told})"
    if (side := _side_that_works(network, size)) is None:
        return text
    return f"{text}; it takes such of {side}x{side} pixels"


def _side_that_works(network: nn.Module, size: tuple[int, int]) -> int | None:
    """Return the side, nearest to a size, of images that a network takes."""
    every = sorted(SIDES, key=lambda side: abs(side - max(size)))
    for side in (*every, *LARGER_SIDES):
        for call in (Call(memory_format=torch.contiguous_format), Call(1, torch.contiguous_format)):
            with contextlib.suppress(Exception):
                _try(network, (side, side), None, contextlib.nullcontext, call)
                return side
    return None


def has_unused_parameters(adapter: Adapter, size: tuple[int, int]) -> bool:
    """Tell whether some of a network's parameters take no part in a training step.

    Args:
        adapter: of the network, which is left as it is: a copy is tried.
        size: height and width of its images.
    """
    network = copied(adapter.network)
    network.train()
    device = device_of(network)
    with random_state_kept(device), torch.autocast(device.type, enabled=False):
        logits = Adapter(network, adapter.call, hooked=False)(
            torch.zeros(2, 3, *size, device=device)
        )
        logits.sum().backward()
    return any(one.requires_grad and one.grad is None for one in network.parameters())


def is_faithful(duplicate: nn.Module, adapter: Adapter, size: tuple[int, int]) -> bool:
    """Tell whether a network's copy calculates with its own weights, as the network does.

    A function that was made within the network, and put in place of its ``forward`` or into a
    hook, still holds the network itself when it is copied.

    Args:
        duplicate: what ``copied`` made of the adapter's network; both are called once, as
            ``find_call`` calls a network.
        adapter: of the network.
        size: height and width of its images.
    """
    try:
        expected = _reached(adapter.network, adapter.call, size)
    except Exception:  # whatever somebody's own network does: its training will tell
        return True
    try:
        return _reached(duplicate, adapter.call, size) == expected
    except torch.OutOfMemoryError:
        raise
    except Exception:  # with its own hooks it may not even get as far
        return False


def _reached(network: nn.Module, call: Call, size: tuple[int, int]) -> list[bool]:
    """Return which of a network's parameters a gradient of its logits reaches."""
    device = device_of(network)
    parameters = [one for one in network.parameters() if one.requires_grad]
    with (
        random_state_kept(device),
        torch.autocast(device.type, enabled=False),
        evaluating(network),
    ):
        logits = Adapter(network, call, hooked=False)(torch.zeros(2, 3, *size, device=device))
        gradients = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    return [gradient is not None for gradient in gradients]
