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
from torch.overrides import TorchFunctionMode

HALVES = (torch.float16, torch.bfloat16)
OF_EVERY_MODULE = frozenset(vars(nn.Module()))
HOOKS = [name for name in OF_EVERY_MODULE if name.endswith("_hooks")]


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


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights; the CPU if it has none."""
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        return tensor.device
    return torch.device("cpu")


def copied(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network.

    Computed tensors, which a layer keeps with ``weight_norm``, or a hook that stores features, are
    copied without their graph. Attributes that cannot be copied, such as a lock or a log file, are
    shared. Hooks and functions that are attributes use the copies of the layers and containers that
    they close over.
    """
    with _WithoutGraph():
        try:
            result = copy.deepcopy(network, made := dict[int, Any]())
        except TypeError:
            result = copy.deepcopy(network, made := _not_copyable(network))
    for module in set(result.modules()) - set(network.modules()):
        for held in (vars(module), *(vars(module)[name] for name in HOOKS)):
            functions = {k: v for k, v in held.items() if isinstance(v, types.FunctionType)}
            held.update({name: _rebound(value, made) for name, value in functions.items()})
    for parameter in result.parameters():
        if not parameter.is_leaf:  # a copied parameter of a traced network has a graph
            parameter.detach_().requires_grad_()
    return result


class _WithoutGraph(TorchFunctionMode):
    """Lets ``copy.deepcopy`` copy computed tensors, which it refuses, without their graph."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return function(*args, **(kwargs or {}))


def _not_copyable(network: nn.Module) -> dict[int, Any]:
    """Return the attributes and hooks of a network that ``copy.deepcopy`` refuses, by their id."""
    modules = {id(module): module for module in network.modules()}  # no copy goes into one

    def fails(value: Any, known: dict[int, Any]) -> bool:
        try:
            copy.deepcopy(value, modules | known)
        except TypeError:
            return True
        return False

    found = dict[int, Any]()
    for module in network.modules():
        own = [value for name, value in vars(module).items() if name not in OF_EVERY_MODULE]
        hooks = [hook for name in HOOKS for hook in vars(module)[name].values()]
        found |= {id(value): value for value in (*own, *hooks) if fails(value, {})}
    # what only leads to another of them can be copied
    return {
        key: value
        for key, value in found.items()
        if fails(value, {k: v for k, v in found.items() if k != key})
    }


def _rebound(value: Any, memo: dict[int, Any]) -> Any:
    """Return the copy of an object, or of a function that closes over copied objects, else itself.

    ``memo`` is that of ``copy.deepcopy``.
    """
    if id(value) in memo or not isinstance(value, types.FunctionType):
        return memo.get(id(value), value)
    memo[id(value)] = value  # ends a recursion
    closure = value.__closure__ or ()
    cells = tuple(_rebound_cell(cell, memo) for cell in closure)
    if any(new is not old for new, old in zip(cells, closure, strict=True)):
        made = types.FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, cells
        )
        made.__kwdefaults__ = value.__kwdefaults__
        vars(made).update(vars(value))
        memo[id(value)] = made
    return memo[id(value)]


def _rebound_cell(cell: types.CellType, memo: dict[int, Any]) -> types.CellType:
    try:
        held = cell.cell_contents
    except ValueError:  # it is empty
        return cell
    new = _rebound(held, memo)
    return cell if new is held else memo.setdefault(id(cell), types.CellType(new))


def copied_to_look(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode, for gradients even in inference mode."""
    with torch.inference_mode(False):
        result = copied(network)
    result.eval()  # not chained to the above: a user's eval may return nothing
    return result


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
                    as_before = tensor.data.new_empty_strided(tensor.shape, stride)
                    tensor.data = as_before.copy_(tensor.data)


def _filters(network: nn.Module) -> list[Tensor]:
    """Return a network's four-dimensional tensors: mostly the weights of its 2D convolutions."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return [tensor for tensor in tensors if not is_lazy(tensor) and tensor.ndim == 4]
