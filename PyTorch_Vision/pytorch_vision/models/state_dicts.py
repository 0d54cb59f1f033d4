"""Initial weights for a training, from PyTorch users' state dicts.

They are files of ``torch.save`` or safetensors, from torchvision, timm, Lightning, DataParallel or
any training script; names may have other prefixes, and the last layer other classes.
"""

import argparse
import os
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytorch_vision.models.weights import as_used, first_bytes, is_pickled, read_safetensors
from pytorch_vision.runtime.files import CheckpointError, errors_named, is_system_error
from pytorch_vision.runtime.text import first_line, listed

CORES = ("core", "_core")
WRAPPERS = ("module", "_orig_mod")  # of DataParallel and torch.compile
# names in torchvision's older files, of DenseNet and ViT, and what they are called now
OLDER_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\bmlp\.linear_1\."), "mlp.0."),
    (re.compile(r"\bmlp\.linear_2\."), "mlp.3."),
)
# types that training scripts store with the weights, and that cannot run code
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    # the function that unpickles NumPy's numbers, by its names in NumPy 1 and 2
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in CORES),
    *(type(np.dtype(name)) for name in ("bool", "int64", "float32", "float64")),
]


@dataclass(frozen=True)
class Match:
    """Which tensors of a file are those of a network."""

    taken: dict[str, Tensor]  # the file's tensors that match, by their names in the network
    left: list[str]  # names of the file's tensors that do not match
    missing: list[str]  # names of the network's tensors for which the file has none

    def __str__(self) -> str:
        lines = [f"{len(self.taken)} of {len(self.taken) + len(self.missing)} tensors taken"]
        lines += [f"left in the file: {listed(self.left)}"] if self.left else []
        lines += [f"new, not in the file: {listed(self.missing)}"] if self.missing else []
        return "\n".join(lines)


def read_state_dict(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file of weights, and its metadata if ``save_weights`` wrote it.

    Files of ``torch.save`` are read with ``weights_only=True``, so they cannot run code. Half
    precision becomes float32.

    Raises:
        CheckpointError: the file is missing or damaged, or holds a pickled network, no tensors, or
            NaN.
        OSError: the file cannot be opened.
    """
    if not is_pickled(first_bytes(path)):
        tensors, metadata = read_safetensors(path)
        return tensors, metadata or {}
    unreadable = errors_named(
        lambda error: f"{path} cannot be read: {_why_unreadable(error)}",
        CheckpointError,
        unless=is_system_error,
    )
    with unreadable, torch.serialization.safe_globals(HARMLESS):
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"{damaged} in it has the wrong checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    found = max(_state_dicts(content), key=len, default={})
    if not found:
        raise CheckpointError(f"{path} holds no weights: there is no dict of tensors in it")
    return as_used(path, {name: tensor.detach() for name, tensor in found.items()}), {}


def _why_unreadable(error: Exception) -> str:
    refused = re.search(r"GLOBAL (\S+)|TorchScript", str(error))
    if refused is None:
        return f"it is damaged ({first_line(error)})"
    return (
        f"it holds more than weights ({refused[1] or refused[0]}), and could run code. If you "
        "trust it, load it yourself and save only its weights: torch.save(network.state_dict(), "
        "...)"
    )


def _state_dicts(content: Any, depth: int = 3) -> Iterator[dict[str, Tensor]]:
    """Yield the named tensors of each dict in a checkpoint, including nested dicts.

    A checkpoint is a state dict itself, or has one under a key such as "state_dict" or "model".
    Averaged weights, under a key such as timm's "state_dict_ema", come first.
    """
    if not isinstance(content, Mapping) or not depth:
        return
    yield {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    for key in sorted(content, key=lambda key: not str(key).endswith("_ema")):
        yield from _state_dicts(content[key], depth - 1)


def match_tensors(own: dict[str, Tensor], tensors: dict[str, Tensor]) -> Match:
    """Match a file's tensors with a network's by name and shape.

    In names, the wrappers' parts "module" and "_orig_mod" do not count, and torchvision's older
    names are those of today. Beyond these, the names on each side may have a prefix, such as
    "model." or "backbone."; the pair of prefixes whose removal makes the most tensors match is
    removed.
    """
    mine, theirs = ({_usual_name(name): name for name in one} for one in (own, tensors))
    alike = defaultdict(list)  # the network's names with the same last part and shape
    for name, real in mine.items():
        alike[name.rpartition(".")[2], own[real].shape].append(name)
    votes: Counter[tuple[str, str]] = Counter({("", ""): 0})
    for name, real in theirs.items():
        for other in alike[name.rpartition(".")[2], tensors[real].shape]:
            end = len(_shared_end(name, other))
            votes[name[:-end], other[:-end]] += 1
    (of_file, of_network), _ = votes.most_common(1)[0]
    taken, left = {}, []
    for name, real in theirs.items():
        inner = mine.get(of_network + name.removeprefix(of_file))
        if name.startswith(of_file) and inner and own[inner].shape == tensors[real].shape:
            taken[inner] = tensors[real]
        else:
            left.append(real)
    return Match(taken, left, [name for name in own if name not in taken])


def _usual_name(name: str) -> str:
    name = ".".join(part for part in name.split(".") if part not in WRAPPERS)
    for older, newer in OLDER_NAMES:
        name = older.sub(newer, name)
    return name


def _shared_end(one: str, other: str) -> str:
    """Return the last parts of two dotted names, as far as they are the same."""
    parts = [name.split(".")[::-1] for name in (one, other)]
    shared = os.path.commonprefix(parts)  # noqa: RUF071
    return ".".join(shared[::-1])
