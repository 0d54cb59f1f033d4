"""Images and a network small enough for a test, for the tests and for the jobs that they start."""

import csv
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from pytorch_vision.data import Augmentation, ImageData, Normalization, load_data, subset
from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.runtime import Machine

EXACT = Machine(accelerator="cpu", precision="32-true")  # gives the same bits each time
UNVARIED = Augmentation(padding=0, flip="none", cutout=0)


def few_images() -> ImageData:
    """100 training and 50 test images: seven batches of 16, the last of which has 4."""
    sample = load_data("sample")
    return replace(
        subset(sample, 100),
        test_images=sample.test_images[:50],
        test_labels=sample.test_labels[:50],
        name="a few images",
    )


def paint(folder: Path, counts: Mapping[str, int], first: int = 0, side: int = 8) -> None:
    """Write so many square pictures into each folder; they differ, most of all between folders."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            picture = np.full((side, side, 3), (number % 200, 60 * label % 256, 50), np.uint8)
            picture[0] = 255
            Image.fromarray(picture).save(folder / name / f"{number}.png")


def contents(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder, with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def csv_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, with its header."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def served(answer: bytes | Callable[[socket.socket], object]) -> str:
    """Start a server on this machine that answers every request alike; return its address."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=reply, args=(connection,), daemon=True).start()

    def reply(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client may hang up
            connection.recv(1 << 16)
            connection.sendall(answer) if isinstance(answer, bytes) else answer(connection)

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


State = dict[str, torch.Tensor]


def state_of(network: nn.Module) -> State:
    """Return a copy of a network's state dict, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def equal(one: State | nn.Module, other: State | nn.Module) -> bool:
    """Tell whether two networks, or the states of networks, have the same bits."""
    first, second = (state_of(x) if isinstance(x, nn.Module) else x for x in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def without_seconds(history: History) -> list[EpochRecord]:
    """Return a history's records without its times, which differ between runs."""
    return [replace(one, train_seconds=0, test_seconds=0) for one in history.records]


@contextmanager
def left_alone(network: nn.Module) -> Iterator[None]:
    """Assert that whatever is done leaves a network and torch's random state as they were."""

    def now() -> tuple:
        modules = list(network.modules())
        hooks = [(len(one._forward_hooks), len(one._backward_hooks)) for one in modules]
        weights = [(one.requires_grad, one.grad) for one in network.parameters()]
        return [one.training for one in modules], hooks, weights

    before, state, random_state = now(), state_of(network), torch.get_rng_state()
    yield
    assert now() == before
    assert equal(network, state)
    assert torch.equal(torch.get_rng_state(), random_state)


def tiny_network(normalization: bool = True, classes: int = 10) -> nn.Module:
    """A network with all that training treats differently."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8) if normalization else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    )


def tiny_classifier(data: ImageData, **options: Any) -> Classifier:
    """The tiny network, as a classifier for some data."""
    return Classifier(tiny_network(classes=len(data.class_names)), data, **options)


def without_data(network: nn.Module, *names: str, **options: Any) -> Classifier:
    """A classifier of some classes, whose network is shown the pixels in [0, 1] as they are."""
    unit = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    options = {"class_names": names, "normalization": unit, "size": (32, 32)} | options
    return Classifier(network, **options)
