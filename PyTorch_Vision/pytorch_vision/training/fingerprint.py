"""The identity of a run: what it must share with the checkpoint that it continues.

It holds names, numbers and fingerprints, which are hashes.
"""

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

# the code of their classes is not described: it differs between versions, and not by itself
LIBRARIES = ("builtins", "functools", "pytorch_vision", "timm", "torch", "torchvision")
DIGITS = 16  # of a digest, in hexadecimal


def identity(config: TrainConfig, data: ImageData, classifier: Classifier) -> dict[str, Any]:
    """Return a run's identity, as plain values.

    These are the recipe's settings, "data" (name and fingerprint), "network" (name, number of
    parameters and fingerprint), the images' "normalization", and, unless they are the network's
    own, the weights that the run "begins_with".
    """
    begins_with = {"begins_with": classifier.begins_with} if classifier.begins_with else {}
    recipe = asdict(config)
    steps = config.augmentation.steps
    recipe["augmentation"]["steps"] = None if steps is None else describe_steps(steps)
    return {
        **recipe,
        "data": {"name": data.name, "fingerprint": data.fingerprint[:DIGITS]},
        "network": describe_layers(classifier.network),
        "normalization": str(classifier.normalization),
        **begins_with,
    }


def describe_layers(network: nn.Module) -> dict[str, Any]:
    """Return a network's "name", number of "parameters" and "fingerprint".

    The fingerprint is a hash of the layers, their settings, and the code of a user's layers; not
    of the weights.
    """
    classes = {type(module) for module in network.modules()}
    code = sorted(filter(None, map(_describe_class, classes)))
    return {
        "name": type(network).__name__,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "fingerprint": _digest("".join([ADDRESS.sub("", str(network)), *code])),
    }


def describe_callable(function: Any) -> str:
    """Describe a function or another callable, identically in every process.

    A function is described by its code, defaults and closure, an object, such as a loss, by its
    ``repr``, the functions in it, its numbers, texts and buffers, and the code of its class.
    """
    if isinstance(function, types.FunctionType):
        return _describe_function(function)
    if isinstance(function, type):
        return f"{function.__module__}.{function.__qualname__}"
    parts = list(function.modules()) if isinstance(function, nn.Module) else [function]
    text = ADDRESS.sub("", repr(function)) + "".join(map(_describe_content, parts))
    return _with_functions(text, function)


def _describe_content(value: Any) -> str:
    """Describe an object's numbers and texts, its buffers, and its class if it is a user's."""
    held = vars(value) if hasattr(value, "__dict__") else {}
    buffers = dict(value.named_buffers(recurse=False)) if isinstance(value, nn.Module) else {}
    plain = {
        name: one
        for name, one in held.items()
        if isinstance(one, (bool, int, float, str)) and name != "training"
    }
    content = plain | {name: one.detach().cpu().tolist() for name, one in buffers.items()}
    values = f" with {_digest(repr(sorted(content.items())))}" if content else ""
    return values + _describe_class(type(value))


def _describe_class(kind: type) -> str:
    """Describe the functions of a user's class, or return an empty text for a library's."""
    functions = [
        _describe_function(one)
        for parent in kind.__mro__
        if parent.__module__.partition(".")[0] not in LIBRARIES
        for one in vars(parent).values()
        if isinstance(one, types.FunctionType)
    ]
    return f" {kind.__qualname__} of {', '.join(functions)}" if functions else ""


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
