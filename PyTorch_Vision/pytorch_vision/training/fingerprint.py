"""Fingerprints that identify a run by its recipe, images, network and functions."""

import functools
import hashlib
import pprint
import types
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import albumentations as A
from torch import nn

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier
from pytorch_vision.runtime.text import ADDRESS
from pytorch_vision.training.config import TrainConfig

DIGITS = 16  # of a digest, in hexadecimal


def identity(config: TrainConfig, data: ImageData, classifier: Classifier) -> dict[str, Any]:
    """Return, as plain values, what a run must share with the checkpoint that it continues.

    These are the recipe's settings, "data" (name and fingerprint), "network" (name, number of
    parameters and fingerprint) and the images' "normalization".
    """
    recipe = asdict(config)
    steps = config.augmentation.steps
    recipe["augmentation"]["steps"] = None if steps is None else describe_steps(steps)
    return {
        **recipe,
        "data": {"name": data.name, "fingerprint": data.fingerprint[:DIGITS]},
        "network": describe_layers(classifier.network),
        "normalization": str(classifier.normalization),
    }


def describe_layers(network: nn.Module) -> dict[str, Any]:
    """Return a network's "name", number of "parameters" and "fingerprint".

    The fingerprint is a hash of the layers and their settings, not of the weights.
    """
    return {
        "name": type(network).__name__,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "fingerprint": _digest(ADDRESS.sub("", str(network))),
    }


def describe_callable(function: Any) -> str:
    """Describe a function or another callable, identically in every process.

    A function is described by its code, defaults and closure, an object by its ``repr`` and the
    functions in it.
    """
    if isinstance(function, types.FunctionType):
        return _describe_function(function)
    if isinstance(function, type):
        return f"{function.__module__}.{function.__qualname__}"
    return _with_functions(ADDRESS.sub("", repr(function)), function)


def describe_steps(steps: Iterable[Any]) -> str:
    """Describe albumentations steps and the functions in them, identically in every process."""
    return f"[{', '.join(map(_describe_step, steps))}]"


def _describe_step(step: Any) -> str:
    name = type(step).__name__
    if isinstance(step, A.BaseCompose):
        settings = {k: v for k, v in vars(step).items() if isinstance(v, (bool, int, float, str))}
        shown = ", ".join(f"{key}={value!r}" for key, value in sorted(settings.items()))
        return f"{name}({shown}, {describe_steps(step.transforms)})"
    try:
        text = ADDRESS.sub("", repr(step))
    except Exception:  # albumentations' repr fails for some custom steps
        text = f"{name}(p={step.p})"
    return _with_functions(text, vars(step))


def _with_functions(text: str, value: Any) -> str:
    functions = sorted({_describe_function(one) for one in _functions_in(value)})
    return text + (f" of {', '.join(functions)}" if functions else "")


def _functions_in(value: Any) -> Iterator[types.FunctionType]:
    """Yield the Python functions in a value."""
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
    """Return a function's name and a digest of its code, its defaults and its closure."""
    closure = list(map(_content, function.__closure__ or ()))
    parts = [_code(function.__code__), function.__defaults__, function.__kwdefaults__, closure]
    # with a width of 1, pprint sorts sets, whose order differs between processes
    return f"{function.__qualname__} {_digest(ADDRESS.sub('', pprint.pformat(parts, width=1)))}"


def _code(code: types.CodeType) -> list[Any]:
    """Return a function's code without its file and line numbers."""
    constants = [_code(one) if isinstance(one, types.CodeType) else one for one in code.co_consts]
    return [code.co_code, constants, code.co_names, code.co_varnames]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
