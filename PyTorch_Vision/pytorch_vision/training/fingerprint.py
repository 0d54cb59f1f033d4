"""By what a run is known again: its recipe, its images and its network, in plain values."""

import functools
import hashlib
import re
import types
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import albumentations as A
from torch import nn

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier
from pytorch_vision.training.config import TrainConfig

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in memory: another one in every process


def identity(config: TrainConfig, data: ImageData, classifier: Classifier) -> dict[str, Any]:
    """Return what must be equal in a run and in the checkpoint that it continues.

    It is the whole recipe, the images, the network's layers and their normalisation.
    """
    recipe = asdict(config)
    steps = config.augmentation.steps
    recipe["augmentation"]["steps"] = None if steps is None else describe_steps(steps)
    return {
        **recipe,
        "data": f"{data.name} ({data.fingerprint[:16]})",
        "network": describe_layers(classifier.network),
        "normalization": str(classifier.normalization),
    }


def describe_layers(network: nn.Module) -> str:
    """Name a network's kind, its size, and a hash of its layers with all their settings."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    layers = hashlib.sha256(ADDRESS.sub("", str(network)).encode()).hexdigest()[:16]
    return f"{type(network).__name__} with {parameters:,} parameters (layers {layers})"


def describe_callable(function: Any) -> str:
    """Name a function, or what can be called like one, the same in every process.

    A function of Python is told by its code, anything else by what it shows of itself.
    """
    functions = sorted({_describe_function(one) for one in _functions_in(function)})
    if isinstance(function, types.FunctionType):
        return functions[0]
    if isinstance(function, type):
        return f"{function.__module__}.{function.__qualname__}"
    text = ADDRESS.sub("", repr(function))
    return text + (f" of {', '.join(functions)}" if functions else "")


def describe_steps(steps: Iterable[Any]) -> str:
    """Return in a text what albumentations' steps do, the same in every process.

    A function of the caller's own is told by what it consists of: its place in memory, which
    stands in its ``repr``, is another one in every process.
    """
    return f"[{', '.join(map(_describe_step, steps))}]"


def _describe_step(step: Any) -> str:
    name = type(step).__name__
    if isinstance(step, A.BaseCompose):
        settings = {k: v for k, v in vars(step).items() if isinstance(v, (bool, int, float, str))}
        shown = ", ".join(f"{key}={value!r}" for key, value in sorted(settings.items()))
        return f"{name}({shown}, {describe_steps(step.transforms)})"
    try:
        text = ADDRESS.sub("", repr(step))
    except Exception:  # a step of the caller's own need not have one that works
        text = f"{name}(p={step.p})"
    functions = sorted({_describe_function(one) for one in _functions_in(vars(step))})
    return text + (f" of {', '.join(functions)}" if functions else "")


def _functions_in(value: Any) -> Iterator[types.FunctionType]:
    """Yield the functions of Python that a value of a step's consists of."""
    if isinstance(value, types.FunctionType):
        yield value
    elif isinstance(value, functools.partial):
        yield from _functions_in([value.func, value.args, value.keywords])
    elif isinstance(value, types.MethodType):
        if not isinstance(value.__self__, A.BasicTransform):  # a method of the step itself
            yield value.__func__  # type: ignore[misc]
    elif isinstance(value, dict):
        yield from _functions_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _functions_in(one)


def _describe_function(function: types.FunctionType) -> str:
    """Name a function, with a hash of its code and of the values that it was made with."""
    cells = [_content(cell) for cell in function.__closure__ or ()]
    given = _ordered(function.__defaults__), _ordered(function.__kwdefaults__)
    parts = [*_code(function.__code__), *given, cells]
    digest = hashlib.sha256(ADDRESS.sub("", repr(parts)).encode()).hexdigest()[:16]
    return f"{function.__qualname__} {digest}"


def _code(code: types.CodeType) -> list[Any]:
    """Return what a function does, but neither where it stands nor on which line."""
    constants = [
        _code(one) if isinstance(one, types.CodeType) else _ordered(one) for one in code.co_consts
    ]
    return [code.co_code, constants, code.co_names, code.co_varnames]


def _content(cell: types.CellType) -> Any:
    try:
        return _ordered(cell.cell_contents)
    except ValueError:  # it has none yet
        return None


def _ordered(value: Any) -> Any:
    """Return sets of texts as lists, which are the same in every process, and all else as it is."""
    if isinstance(value, (set, frozenset)) and any(isinstance(one, str) for one in value):
        return sorted(map(repr, value))
    if type(value) in (tuple, list):
        return type(value)(map(_ordered, value))
    return {k: _ordered(v) for k, v in value.items()} if type(value) is dict else value
