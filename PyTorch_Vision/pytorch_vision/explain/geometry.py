"""Where the cells of a layer's map lie on the input image, and which layer has one."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pytorch_vision.explain.layout_rules import behind
from pytorch_vision.explain.tensor_layout import Layout, mean_of, of_image
from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import Adapter, find_call
from pytorch_vision.models.module_utils import copied_to_look, device_of
from pytorch_vision.runtime.devices import random_state_kept


class NoMapError(ValueError):
    """A network has no map, or none whose place on the image is known; says why."""


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

    Every convolution and pooling on the way moves the centres by its stride, padding, kernel and
    dilation. Operations that only reorder dimensions, such as a permutation or a channel shuffle,
    are followed; other operations that keep the shape keep the centres. Residual branches are
    assumed to be aligned with their shortcut.

    Args:
        classifier: is not changed.
        layer: a module of its network or its dotted name, such as "layer4"; None for the one that
            ``last_map`` finds.

    Raises:
        NoMapError: the layer's output is no map, or it comes after an operation whose geometry is
            not known; the message names the operation.
        ValueError: there is no such layer.
    """
    adapter = adapter_to_look(classifier, torch.device("cpu"))
    name = None if layer is None else layer_name(classifier.network, layer)
    return trace_geometry(adapter, name, classifier.size)[1]


def last_map(classifier: Classifier) -> str:
    """Return the name of the last layer whose output is a map whose place on the image is known.

    A map is (N, C, rows, columns) of more than one row and column. In a ResNet it is the output of
    the last stage.

    Raises:
        NoMapError: there is none; names the operation after which nothing is known.
    """
    adapter = adapter_to_look(classifier, torch.device("cpu"))
    return trace_geometry(adapter, None, classifier.size)[0]


def adapter_to_look(classifier: Classifier, device: torch.device) -> Adapter:
    """Return a copy of a classifier's network, to be called in float32 on a device.

    Raises:
        NoMapError: TorchScript has compiled the network, which hides its layers.
    """
    if isinstance(classifier.network, torch.jit.ScriptModule):
        raise NoMapError(
            f"{type(classifier.network).__name__} is compiled by TorchScript, which hides its "
            "layers: load its weights into the network that it was made from, and explain that"
        )
    duplicate = copied_to_look(classifier.network).to(device)
    return Adapter(duplicate, find_call(duplicate, classifier.size))


def trace_geometry(
    adapter: Adapter, name: str | None, input_size: tuple[int, int]
) -> tuple[str, MapGeometry]:
    """Return a layer's name and the geometry of its map; name=None finds the last map.

    The network is in evaluation mode, on any device. Raises as ``map_geometry`` does.
    """
    model = adapter.network
    device = device_of(model)
    tracer, image = _Tracer(), torch.zeros(1, 3, *input_size, device=device)
    seen: dict[str, tuple[Any, Layout | None, str | None]] = {}

    def keep(layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: tuple, output: Any) -> None:
            seen.pop(layer, None)  # a second call comes after all layers before it
            seen[layer] = (output, tracer.find(output), tracer.unknown)

        return hook

    wanted = [name] if name else [layer for layer, _ in model.named_modules() if layer]
    handles = [model.get_submodule(layer).register_forward_hook(keep(layer)) for layer in wanted]
    try:
        with random_state_kept(device), torch.inference_mode(False), torch.no_grad(), tracer:
            tracer.mark(image, of_image(image.shape))
            adapter(image)
    finally:
        for handle in handles:
            handle.remove()
    if name is not None:
        return name, _geometry_of(name, seen)
    for layer in reversed(seen):
        output, layout, _ = seen[layer]
        is_map = isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1
        if is_map and layout is not None and (geometry := _as_map(layout)) is not None:
            return layer, geometry
    raise NoMapError(
        "no layer of this network gives a map whose place on the image is known"
        + (f": on the way lies {tracer.unknown}" if tracer.unknown else "")
    )


def _geometry_of(name: str, seen: dict[str, tuple[Any, Layout | None, str | None]]) -> MapGeometry:
    if name not in seen:
        raise NoMapError(f"layer {name!r} takes no part in the model's forward pass")
    output, layout, unknown = seen[name]
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise NoMapError(f"layer {name!r} gives {shape}, expected a map (N, C, H, W)")
    if layout is None:
        raise NoMapError(
            f"the geometry of layer {name!r} is not known: on the way to it lies "
            f"{unknown or 'an operation that does not depend on the image'}"
        )
    geometry = _as_map(layout)
    if geometry is None:
        raise NoMapError(
            f"layer {name!r} gives {tuple(output.shape)}, whose last two dimensions are not the "
            "rows and columns of a map (N, C, H, W): choose a layer after the permutation"
        )
    return geometry


def _as_map(layout: Layout) -> MapGeometry | None:
    """Return the geometry of a tensor (N, C, H, W); None if H and W are not rows and columns."""
    for number in (1, 0):  # channels can lie at different places: take their mean
        layout = layout.without(number)
    rows, columns = layout.dimensions
    if len(rows) > 1 or len(columns) > 1 or rows[0].across or columns[0].down:
        return None
    (rows_apart,), (columns_apart,) = rows, columns
    if (rows_apart.size > 1 and not rows_apart.down) or (
        columns_apart.size > 1 and not columns_apart.across
    ):
        return None
    return MapGeometry((rows_apart.down, columns_apart.across), layout.origin)


class _Tracer(TorchDispatchMode):
    """Follows where the entries of each tensor lie, through every operation of a model."""

    def __init__(self) -> None:
        super().__init__()
        # by id; the tensor is kept, so that no other gets its id
        self.known: dict[int, tuple[Tensor, Layout]] = {}
        self.unknown: str | None = None

    def mark(self, tensor: Tensor, layout: Layout) -> None:
        self.known[id(tensor)] = (tensor, layout)

    def find(self, tensor: Any) -> Layout | None:
        return self.known.get(id(tensor), (None, None))[1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = [one for one in _flat(result) if isinstance(one, Tensor)]
        inputs = [one for one in _flat(args) if isinstance(one, Tensor)]
        sources = [one for one in inputs if self.find(one) is not None]
        if not sources or not outputs:
            return result
        name = func.overloadpacket.__name__
        # of several inputs, one of the result's shape: the others are broadcast to it
        source = next((one for one in sources if one.shape == outputs[0].shape), sources[0])
        several = name in ("split", "split_with_sizes", "chunk", "unbind")
        for output in outputs if several else outputs[:1]:
            layout = behind(name, args, self.known[id(source)][1], source, output)
            if layout is not None and name == "cat" and len(sources) == len(inputs):
                layout = mean_of([layout, *(self.known[id(one)][1] for one in sources[1:])])
            if layout is not None:
                self.mark(output, layout)
            elif self.unknown is None and output.ndim > 2 and not name.startswith("new_"):
                self.unknown = str(func)
        return result


def _flat(values: Any) -> list[Any]:
    """Return the values of nested lists and tuples."""
    if isinstance(values, (list, tuple)):
        return [one for value in values for one in _flat(value)]
    return [values]


def layer_name(model: nn.Module, layer: nn.Module | str) -> str:
    """Return a layer's dotted name, checking that the model has it."""
    names = {name: module for name, module in model.named_modules() if name}
    for name, module in names.items():
        if layer is module or layer == name:
            return name
    known = ", ".join(names)
    wanted = repr(layer) if isinstance(layer, str) else f"that {type(layer).__name__}"
    raise ValueError(f"the model has no layer {wanted}; it has {known}")
