"""Checkpoints of a training run: saved whole or not at all, and loaded without running anything."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

NAME = "checkpoint.pt"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says why and what to do about it."""


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Give a file to write under a temporary name; at the end, put it in the old one's place.

    Whatever happens before that, the old file is untouched and no temporary one is left.

    Args:
        path: the file; its folder is made if it is missing.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save(folder: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write ``folder/checkpoint.pt``, whole or not at all.

    Args:
        folder: made if it is missing.
        state: tensors, numbers, strings, lists and dictionaries only.

    Raises:
        OSError, RuntimeError: the folder cannot be written; the previous checkpoint is untouched.
    """
    with written_whole(Path(folder) / NAME) as file:
        torch.save(state, file)


def load(folder: str | os.PathLike) -> dict[str, Any] | None:
    """Return what ``save`` wrote, its tensors on the CPU, or None where there is no checkpoint.

    Raises:
        CheckpointError: the file is truncated, foreign, or names code to run.
    """
    path = Path(folder) / NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign file can fail anywhere inside the reader
        raise CheckpointError(
            f"{path} is not a checkpoint of ours ({_first_line(error)}). It was left as it is; "
            "move it away to start afresh, or name another folder."
        ) from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise CheckpointError(
            f"{path} is not a checkpoint of ours (it holds no recipe). It was left as it is; move "
            "it away to start afresh, or name another folder."
        )
    return state


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_recipe(folder: str | os.PathLike, saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Compare what a checkpoint was trained with and what it is to be continued with.

    Raises:
        CheckpointError: they differ; the message names each difference.
    """
    differences = [
        f"{name} was {saved.get(name)!r} and is {current.get(name)!r}"
        for name in sorted(saved.keys() | current.keys())
        if saved.get(name) != current.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"{Path(folder) / NAME} belongs to another run: {'; '.join(differences)}. It was left "
            "as it is; set the old values again, move it away, or name another folder."
        )


def save_weights(
    path: str | os.PathLike,
    model: nn.Module,
    metadata: dict[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model's weights and running statistics as safetensors, whole or not at all.

    Args:
        path: the file; its folder is made if it is missing.
        model: on any device.
        metadata: strings kept in the file's header.
        dtype: that floating-point tensors are stored in.
    """
    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in model.state_dict().items()
    }
    with written_whole(path) as file:
        file.write(to_bytes({name: t.contiguous() for name, t in tensors.items()}, metadata))


def load_weights(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, float32, and the metadata of a safetensors file; it can run no code.

    Raises:
        CheckpointError: the file is missing, truncated or not safetensors.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(
            f"there are no weights at {path}; train first, or name another file"
        ) from None
    except Exception as error:  # a damaged or foreign file can fail anywhere inside the reader
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }, metadata
