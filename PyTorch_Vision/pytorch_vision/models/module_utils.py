"""Operations on any module: unwrap, copy, read and load its state, set its memory format."""

import contextlib
import copy
import itertools
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

HALVES = (torch.float16, torch.bfloat16)


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside ``torch.compile`` and (Distributed)DataParallel.

    These wrappers rename its weights.
    """
    while True:
        # not getattr, which a user's wrapper may forward, nor its class, whose import takes 1 s
        inner: Any = dict(network.named_children()).get("_orig_mod")
        if isinstance(network, (DataParallel, DistributedDataParallel)):
            inner = network.module
        if inner is None:
            return network
        network = inner


def ready(network: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Return a network whose weights can be trained, averaged, saved and counted.

    Unwraps it, initialises lazy layers with a black image, and converts a network without any
    float32 to float32, as are its images: ``Machine`` sets a lower precision.

    Args:
        network: changed in place.
        size: height and width of its images.
    """
    network = unwrapped(network)
    tensors = [*network.parameters(), *network.buffers()]
    if any(map(is_lazy, tensors)):
        _materialize(network, size)
    types = {one.dtype for one in network.parameters() if one.is_floating_point()}
    if types and torch.float32 not in types:
        network.float()
    return network


def _materialize(network: nn.Module, size: tuple[int, int]) -> None:
    error: Exception | None = None
    for channels in (3, 1):
        try:
            with evaluating(network), torch.no_grad():
                network(torch.zeros(1, channels, *size, device=device_of(network)))
            return
        except Exception as caught:  # a user's network can raise anything
            error = error or caught
    raise ValueError(
        f"{type(network).__name__} has lazy layers, which cannot be initialised with images of "
        f"{size[0]}x{size[1]} pixels: {error}"
    ) from error


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights; the CPU if it has none."""
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        return tensor.device
    return torch.device("cpu")


def copied(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network.

    ``copy.deepcopy`` refuses computed tensors, which a layer keeps with ``weight_norm``, or if it
    stores its last features; they are copied without their graph. What else cannot be copied, such
    as a lock or a log file, is shared. Functions, such as hooks, use the copies of what they used.
    """
    memo: dict[int, Any] = {}
    values = [value for module in network.modules() for value in vars(module).values()]
    for tensor in _tensors(values):
        if not tensor.is_leaf:
            memo[id(tensor)] = tensor.detach().clone()
    try:
        result = copy.deepcopy(network, made := dict(memo))
    except TypeError:
        result = copy.deepcopy(network, made := memo | _not_copyable(network, memo))
    for module in result.modules():
        _rebind_functions(module, made)
    for parameter in result.parameters():
        if not parameter.is_leaf:  # a copied parameter of a traced network has a graph
            parameter.detach_().requires_grad_()
    return result


def _not_copyable(network: nn.Module, memo: dict[int, Any]) -> dict[int, Any]:
    """Return the attributes of a network's modules that ``copy.deepcopy`` refuses, by their id."""
    found = {}
    for module in network.modules():
        for name in vars(module).keys() - vars(nn.Module()).keys():
            value = vars(module)[name]
            try:
                copy.deepcopy(value, dict(memo))
            except TypeError:
                found[id(value)] = value
    return found


def _rebind_functions(module: nn.Module, memo: dict[int, Any]) -> None:
    """Let the functions in a copied module use the copies of the objects in their closures."""
    hooks = [values for name, values in vars(module).items() if name.endswith("_hooks")]
    for values in (vars(module), *hooks):
        for name, value in values.items():
            if isinstance(value, types.FunctionType) and value.__closure__:
                held = [cell.cell_contents for cell in value.__closure__]
                cells = tuple(types.CellType(memo.get(id(one), one)) for one in held)
                values[name] = types.FunctionType(
                    value.__code__, value.__globals__, value.__name__, value.__defaults__, cells
                )
                values[name].__kwdefaults__ = value.__kwdefaults__


def copied_to_look(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode, for gradients even in inference mode."""
    with torch.inference_mode(False):
        result = copied(network)
    result.eval()  # not chained to the above: a user's eval may return nothing
    return result


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode; afterwards, restore the mode of each layer."""
    training = [module for module in network.modules() if module.training]
    if training:
        network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def norm_layers(network: nn.Module) -> list[_NormBase]:
    """Return a network's layers with running statistics: BatchNorm and InstanceNorm."""
    return [layer for layer in network.modules() if isinstance(layer, _NormBase)]


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's ``state_dict`` without its extra state: only tensors."""
    return {
        name: value.detach()
        for name, value in network.state_dict().items()
        if isinstance(value, Tensor)
    }


def load_state(network: nn.Module, state: dict[str, Any], assign: bool = False) -> None:
    """Load tensors that ``tensors_of`` returned; extra state stays as it is.

    Raises:
        RuntimeError: the network's tensors have other names or shapes.
    """
    whole = network.state_dict()  # knows the version of each layer, which some of them check
    for name in [name for name, value in whole.items() if isinstance(value, Tensor)]:
        del whole[name]
    whole.update(state)
    # only if needed, as a user's own ``load_state_dict`` may not take it
    network.load_state_dict(whole, **({"assign": True} if assign else {}))


def memory_order(network: nn.Module) -> torch.memory_format:
    """Return channels-last if any convolution's weights are in that format, else contiguous."""
    last = any(
        tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
        for tensor in _filters(network)
    )
    return torch.channels_last if last else torch.contiguous_format


@torch.inference_mode(False)  # no gradient can pass through tensors made in inference mode
def put_in_order(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Put a network's four-dimensional weights in a memory format, in place."""
    for tensor in _filters(network):
        tensor.data = tensor.data.to(memory_format=memory_format)


@contextlib.contextmanager
def order_kept(network: nn.Module) -> Iterator[None]:
    """Restore each weight's memory format afterwards, as the caller's code may rely on it."""
    before = [(tensor, tensor.stride()) for tensor in _filters(network)]
    try:
        yield
    finally:
        with torch.inference_mode(False):
            for tensor, stride in before:
                if tensor.stride() != stride:
                    as_before = torch.empty_strided(
                        tensor.shape, stride, dtype=tensor.dtype, device=tensor.device
                    )
                    tensor.data = as_before.copy_(tensor.data)


def _filters(network: nn.Module) -> list[Tensor]:
    """Return a network's four-dimensional tensors: mostly the weights of its 2D convolutions."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return [tensor for tensor in tensors if tensor.ndim == 4]
