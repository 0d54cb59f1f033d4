"""Where the cells of a layer's map lie on the input image."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pytorch_vision.training import random_state_kept


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


def map_geometry(
    model: nn.Module, layer: nn.Module | str, input_size: tuple[int, int]
) -> MapGeometry:
    """Return where a layer's cells are centred, found by following one image through the model.

    Every convolution and pooling on the way moves the centres by its stride, padding, kernel and
    dilation; whatever leaves height and width as they are leaves the centres too.

    Args:
        model: the network; left as it is.
        layer: one of its modules or the dotted name of one, such as "layer4".
        input_size: height and width of the image, in pixels.

    Raises:
        ValueError: there is no such layer, its output is no map, or it lies behind an operation
            whose geometry is not known.
    """
    name = layer_name(model, layer)
    return trace_geometry(copy.deepcopy(model).cpu().float().eval(), name, input_size)


def trace_geometry(model: nn.Module, name: str, input_size: tuple[int, int]) -> MapGeometry:
    """Do the work of ``map_geometry`` with a float32 model in evaluation mode, on any device."""
    device = next(model.parameters()).device
    tracer, image = _Tracer(), torch.zeros(1, 3, *input_size, device=device)
    found = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda _module, _inputs, output: found.append((output, tracer.find(output)))
    )
    with random_state_kept(device), torch.inference_mode(False), torch.no_grad(), tracer:
        tracer.mark(image, MapGeometry((1.0, 1.0), (0.0, 0.0)))
        model(image)
    handle.remove()
    if not found:
        raise ValueError(f"layer {name!r} takes no part in the model's forward pass")
    output, geometry = found[0]
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"layer {name!r} gives {shape}, expected a map (N, C, H, W)")
    if geometry is None:
        raise ValueError(
            f"the geometry of layer {name!r} is not known: on the way to it lies "
            f"{tracer.unknown or 'an operation that does not depend on the image'}"
        )
    return geometry


class _Tracer(TorchDispatchMode):
    """Follows where the cells of each map lie, through every operation that a model makes."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, tuple[Tensor, MapGeometry]] = {}  # the tensor keeps its id in use
        self.unknown: str | None = None

    def mark(self, tensor: Tensor, geometry: MapGeometry) -> None:
        self.known[id(tensor)] = (tensor, geometry)

    def find(self, tensor: Any) -> MapGeometry | None:
        return self.known.get(id(tensor), (None, None))[1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple) else result
        inputs = [tensor for arg in args for tensor in (arg if isinstance(arg, list) else [arg])]
        source = next((tensor for tensor in inputs if self.find(tensor) is not None), None)
        if source is None or not isinstance(output, Tensor) or output.ndim != 4:
            return result
        before: Any = self.find(source)
        geometry = _behind(func.overloadpacket.__name__, args, before)
        if source.shape[2:] == output.shape[2:] and geometry is None:
            geometry = before
        if geometry is None:
            self.unknown = self.unknown or str(func)
        else:
            self.mark(output, geometry)
        return result


def _behind(operation: str, args: tuple, geometry: MapGeometry) -> MapGeometry | None:
    """Return the geometry behind a convolution, a pooling or padding; None for all others."""
    if operation == "convolution":
        transposed = args[6]
        if transposed:
            return None
        kernel, (stride, padding, dilation) = args[1].shape[2:], args[3:6]
    elif operation in ("max_pool2d_with_indices", "avg_pool2d"):
        names = ("kernel", "stride", "padding", "dilation")[: 4 if "max" in operation else 3]
        given = dict(zip(names, args[1:], strict=False))
        kernel = given["kernel"]
        stride = given.get("stride") or kernel
        padding, dilation = given.get("padding", (0,)), given.get("dilation", (1,))
    elif operation == "constant_pad_nd":
        left_and_right, top_and_bottom = args[1][:2], args[1][2:] or (0, 0)
        kernel, stride, dilation = (1,), (1,), (1,)
        padding = (top_and_bottom[0], left_and_right[0])
    else:
        return None
    kernel, stride, padding, dilation = (
        tuple(values) * 2 if len(values) == 1 else tuple(values)
        for values in (kernel, stride, padding, dilation)
    )
    return MapGeometry(
        stride=tuple(s * t for s, t in zip(geometry.stride, stride, strict=True)),
        offset=tuple(
            o + s * ((k - 1) * d / 2 - p)
            for o, s, k, d, p in zip(
                geometry.offset, geometry.stride, kernel, dilation, padding, strict=True
            )
        ),
    )


def layer_name(model: nn.Module, layer: nn.Module | str) -> str:
    """Return a layer's dotted name, checking that the model has it."""
    names = {name: module for name, module in model.named_modules() if name}
    for name, module in names.items():
        if layer is module or layer == name:
            return name
    known = ", ".join(names)
    wanted = repr(layer) if isinstance(layer, str) else f"that {type(layer).__name__}"
    raise ValueError(f"the model has no layer {wanted}; it has {known}")
