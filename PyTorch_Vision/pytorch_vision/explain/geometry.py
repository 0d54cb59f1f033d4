"""Where the cells of a layer's map lie on the input image, and which layers have a map.

An image goes through the network together with its *places*: a tensor of the same shape that says
on which pixel each entry is centred, as the complex number down + 1j * across. Operations that move
entries (a permutation, a slice, a shuffle) move their places in the same way; convolutions and
poolings put them at the centres of their windows.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import Adapter, find_call
from pytorch_vision.models.module_utils import copied_to_look
from pytorch_vision.runtime.devices import random_state_kept, usual_defaults

# names of operations in torch's dispatcher; these move entries, and places in the same way
MOVES = (
    *("permute", "transpose", "t", "expand", "repeat", "slice", "select", "roll", "flip", "rot90"),
    *("split", "split_with_sizes", "chunk", "unbind", "cat", "stack", "index", "index_select"),
    *("pixel_shuffle", "pixel_unshuffle"),
)
RESHAPES = ("view", "_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze")
PRODUCTS = ("mm", "bmm", "addmm", "linear", "matmul")
WINDOWED = re.compile("convolution|pool|upsample")
PADS = ("constant_pad_nd", "reflection_pad2d", "replication_pad2d")


class NoMapError(ValueError):
    """The network has no map, or none whose place on the image is known; the message says why."""


@dataclass(frozen=True)
class MapGeometry:
    """Where the cells of a layer's map lie on the input image.

    Attributes:
        stride: pixels from one cell's centre to the next, down and across.
        offset: the pixel on which cell 0 is centred, down and across; negative where it lies
            outside of the image.
    """

    stride: tuple[float, float]
    offset: tuple[float, float]


def map_geometry(classifier: Classifier, layer: nn.Module | str | None = None) -> MapGeometry:
    """Return where a layer's cells are centred, by following one image through the network.

    Operations that only move entries, such as a permutation or a channel shuffle, are followed;
    every convolution, pooling, padding or interpolation on the way moves the centres by its
    settings. Other operations that keep the shape keep the centres. Residual branches are assumed
    to be aligned with their shortcut.

    Args:
        classifier: is not changed.
        layer: a module of its network or its dotted name, such as "layer4"; default: the last layer
            whose output is a map (N, C, rows, columns) with a known place on the image.

    Raises:
        NoMapError: the layer's output is no map, or comes after an operation whose geometry is not
            known; the message names the operation.
        ValueError: there is no such layer.
    """
    return trace_geometry(classifier, layer, torch.device("cpu"))[2]


@usual_defaults()
def trace_geometry(
    classifier: Classifier, layer: nn.Module | str | None, device: torch.device
) -> tuple[Adapter, str, MapGeometry]:
    """Return an adapter of a float32 copy on a device, the layer's name and its map's geometry.

    Arguments and errors are those of ``map_geometry``.
    """
    if isinstance(classifier.network, torch.jit.ScriptModule):
        raise NoMapError(
            f"{type(classifier.network).__name__} is compiled by TorchScript, which hides its "
            "layers: load its weights into the network that it was compiled from, and explain that"
        )
    name = None if layer is None else layer_name(classifier.network, layer)
    model, tracer = copied_to_look(classifier.network).to(device), _Tracer()
    adapter = Adapter(model, find_call(model, classifier.size))
    image = torch.zeros(1, 3, *classifier.size, device=device)
    seen: dict[str, tuple[Any, Tensor | None, str | None]] = {}

    def keep(layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: tuple, output: Any) -> None:
            seen.pop(layer, None)  # keeps the order of the layers' last calls
            seen[layer] = (output, tracer.find(output), tracer.unknown)

        return hook

    wanted = [name] if name else [layer for layer, _ in model.named_modules() if layer]
    handles = [model.get_submodule(layer).register_forward_hook(keep(layer)) for layer in wanted]
    try:
        with random_state_kept(device), torch.inference_mode(False), torch.no_grad(), tracer:
            tracer.known[id(image)] = image, _places_of_image(image)
            adapter(image)
    finally:
        for handle in handles:
            handle.remove()
    if name is not None:
        return adapter, name, _geometry_of(name, seen)
    for last in reversed(seen):
        if (geometry := _as_map(seen[last][1])) is not None:
            return adapter, last, geometry
    raise NoMapError(
        "no layer of this network gives a map whose place on the image is known"
        + (f": {tracer.unknown} cannot be followed" if tracer.unknown else "")
    )


def _geometry_of(name: str, seen: dict[str, tuple[Any, Tensor | None, str | None]]) -> MapGeometry:
    if name not in seen:
        raise NoMapError(f"layer {name!r} takes no part in the model's forward pass")
    output, places, unknown = seen[name]
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(output, Tensor) or output.ndim != 4 or min(output.shape[2:]) < 2:
        raise NoMapError(
            f"layer {name!r} gives {shape}, expected a map (N, C, H, W) of at least two rows and "
            "columns"
        )
    if places is None:
        raise NoMapError(
            f"the geometry of layer {name!r} is not known: "
            + (f"{unknown} cannot be followed" if unknown else "it does not depend on the image")
        )
    if (geometry := _as_map(places)) is None:
        raise NoMapError(
            f"layer {name!r} gives {shape}, whose last two dimensions are not the rows and columns "
            "of a map (N, C, H, W): choose a layer before or after the operation that reorders them"
        )
    return geometry


def _as_map(places: Tensor | None) -> MapGeometry | None:
    """Return the geometry of a tensor (N, C, H, W); None if H and W are not rows and columns."""
    if places is None or places.ndim != 4 or (grid := _evenly_spaced(places)) is None:
        return None
    if any((values != values[:1]).any() for values in grid):  # a batch of windows of the image
        return None
    first, down, across = (complex(values[0]) for values in grid)
    if not down.real or down.imag or across.real or not across.imag:
        return None
    return MapGeometry((down.real, across.imag), (first.real, first.imag))


def _places_of_image(image: Tensor) -> Tensor:
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in image.shape[2:])
    return torch.complex(rows[:, None].expand(image.shape), columns.expand(image.shape))


def _mean(places: Tensor, dimension: int) -> Tensor:
    """Return the mean place over a dimension, as with keepdim; skip NaN, an unknown place."""
    known = ~places.isnan()
    return places.where(known, 0).sum(dimension, True) / known.sum(dimension, True)


def _evenly_spaced(places: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return the first cell's place and the steps down and across, complex (N, 1, 1, 1) each.

    None if the cells are not evenly spaced. Where channels lie at different places, their mean
    counts.
    """
    mean = _mean(places, 1)
    rows, columns = mean.shape[2:]
    first = mean[..., :1, :1]
    down = (mean[..., -1:, :1] - first) / max(rows - 1, 1)
    across = (mean[..., :1, -1:] - first) / max(columns - 1, 1)
    expected = first + down * torch.arange(rows)[:, None] + across * torch.arange(columns)
    return (first, down, across) if torch.allclose(mean, expected, atol=1e-6) else None


class _Tracer(TorchDispatchMode):
    """Follows the places of each tensor's entries through every operation of a model."""

    def __init__(self) -> None:
        super().__init__()
        # by id; a reference to the tensor keeps its id from being reused
        self.known: dict[int, tuple[Tensor, Tensor]] = {}
        self.unknown: str | None = None

    def find(self, tensor: Any) -> Tensor | None:
        return self.known.get(id(tensor), (None, None))[1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        sources = [one for one in tree_leaves(args) if self.find(one) is not None]
        if not sources or not outputs:
            return result
        name = func.overloadpacket.__name__
        # of several inputs, take one of the result's shape, to which the others are broadcast
        source = next((one for one in sources if one.shape == outputs[0].shape), sources[0])
        if name in MOVES:
            moved = tree_leaves(func(*tree_map(self._places, args)))
        else:
            moved = [_behind(name, args, self.known[id(source)][1], source, outputs[0])]
        for output, places in zip(outputs, moved, strict=False):
            if places is not None:
                self.known[id(output)] = output, places
            elif self.unknown is None and output.ndim > 2 and not name.startswith("new_"):
                self.unknown = str(func)
        return result

    def _places(self, value: Any) -> Any:
        """Return an operation's argument with places instead of entries; NaN where unknown."""
        if not isinstance(value, Tensor):
            return value
        if (places := self.find(value)) is not None:
            return places
        if value.is_floating_point():
            return torch.full(value.shape, torch.nan, dtype=torch.complex128)
        return value.cpu()  # indices


def _behind(name: str, args: tuple, places: Tensor, before: Tensor, after: Tensor) -> Any:
    """Return the places of an operation's result, or None if they are not known.

    ``places`` are those of its argument ``before``.
    """
    if name in RESHAPES:
        return places.reshape(after.shape)
    if name in PADS:
        return _padded(places, args[1])
    if name in PRODUCTS:  # each row is a mean over the entries of the row before
        same_rows = before.shape[:-1] == after.shape[:-1]
        return _mean(places, -1).expand(after.shape) if same_rows else None
    if not WINDOWED.search(name):
        return places if before.shape == after.shape else None
    if before is not args[0] or not before.ndim == after.ndim == 4:
        return None
    windows, grid = _windows(name, args, before, after), _evenly_spaced(places)
    if windows is None or grid is None:
        return None
    first, down, across = grid
    rows, columns = (
        start + step * torch.arange(size, dtype=torch.float64)
        for (start, step), size in zip(windows, after.shape[2:], strict=True)
    )
    return (first + down * rows[:, None] + across * columns).expand(after.shape)


def _padded(places: Tensor, sides: list[int]) -> Tensor:
    """Return places that go on evenly beyond the edges; ``sides`` begin with the last dimension."""
    for number, (first, last) in enumerate(zip(sides[::2], sides[1::2], strict=True), 1):
        size = places.shape[-number]
        index = torch.arange(-first, size + last)
        inside = index.clamp(0, size - 1)
        step = places.select(-number, min(1, size - 1)) - places.select(-number, 0)
        beyond = (index - inside).view(-1, *[1] * (number - 1))
        places = places.index_select(-number, inside) + step.unsqueeze(-number) * beyond
    return places


def _windows(
    name: str, args: tuple, before: Tensor, after: Tensor
) -> list[tuple[float, float]] | None:
    """Return where an operation's windows lie, in cells; None if they are not evenly spaced.

    That is the centre of the first one, and the step to the next, down and across.
    """
    sizes = list(zip(before.shape[2:], after.shape[2:], strict=True))
    if "upsample" in name:
        if "nearest" in name and any(new < old for old, new in sizes):
            return None  # cells are left out
        if args[2:3] == (True,):  # align_corners
            return [(0.0, (old - 1) / max(new - 1, 1)) for old, new in sizes]
        scales = [one for one in args[2:] if one] or [new / old for old, new in sizes]
        return [((1 / scale - 1) / 2, 1 / scale) for scale in scales]
    if "adaptive" in name:
        even = all(old % new == 0 for old, new in sizes)
        return [((old // new - 1) / 2, old // new) for old, new in sizes] if even else None
    if name == "convolution" and not args[6]:  # transposed
        settings = [args[1].shape[2:], *args[3:6]]
    elif name in ("max_pool2d_with_indices", "avg_pool2d"):
        kernel, stride, padding = (*args[1:4], *(None, 0)[len(args) - 2 :])[:3]
        settings = [kernel, stride or kernel, padding, 1]
    else:
        return None
    pairs = [np.broadcast_to(one, 2).tolist() for one in settings]
    return [((k - 1) * d / 2 - p, s) for k, s, p, d in zip(*pairs, strict=True)]


def layer_name(model: nn.Module, layer: nn.Module | str) -> str:
    """Return a layer's dotted name; raise ValueError if the model has no such layer."""
    names = {name: module for name, module in model.named_modules() if name}
    for name, module in names.items():
        if layer is module or layer == name:
            return name
    known = ", ".join(names)
    wanted = repr(layer) if isinstance(layer, str) else f"that {type(layer).__name__}"
    raise ValueError(f"the model has no layer {wanted}; it has {known}")
