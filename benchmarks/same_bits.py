"""Print the SHA-256 of all weights after two epochs, which a refactoring must not change.

    OMP_NUM_THREADS=1 python benchmarks/same_bits.py

A small network and CustomResNet, with Muon and with SGD, in float32 on one thread, from a fresh
start and resumed after the first epoch. The hashes differ between processors and between versions
of torch: compare two commits on one machine.
"""

import contextlib
import hashlib
import io
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "PyTorch_Vision"), str(ROOT / "tests")]

from small import tiny_network  # noqa: E402

from pytorch_vision.data import ImageData, load_data, subset  # noqa: E402
from pytorch_vision.models import Classifier, create  # noqa: E402
from pytorch_vision.runtime import Machine  # noqa: E402
from pytorch_vision.training import TrainConfig, fit  # noqa: E402

MACHINE = Machine(accelerator="cpu", precision="32-true")


def network(kind: str) -> nn.Module:
    """Return a network with the weights of seed 0."""
    torch.manual_seed(0)
    return tiny_network() if kind == "small" else create(kind, 10, mirrored=True)


def recipe(kind: str, optimizer: str) -> TrainConfig:
    """Return a recipe of two epochs; CustomResNet's is ``quick`` with averaged weights."""
    if kind == "small":
        return TrainConfig(epochs=2, batch_size=32, optimizer=optimizer)
    return TrainConfig.quick(epochs=2, batch_size=32, optimizer=optimizer, average_weights=True)


def digest(classifier: Classifier) -> str:
    """Return the SHA-256 of all weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(classifier.network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def trained(kind: str, optimizer: str, data: ImageData, resumed: bool) -> str:
    """Return the hash of the weights after a run, which is stopped and resumed or not."""
    classifier, config = Classifier(network(kind), data), recipe(kind, optimizer)
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
        if resumed:
            fit(classifier, data, config, MACHINE, folder, lambda tested: True)
            classifier = Classifier(network(kind), data)
        fit(classifier, data, config, MACHINE, folder if resumed else None)
    return digest(classifier)


def main() -> None:
    """Print a line for each network and optimizer, fresh and resumed."""
    torch.set_num_threads(1)
    sample = load_data("sample")
    data = replace(
        subset(sample, 200),
        test_images=sample.test_images[:50],
        test_labels=sample.test_labels[:50],
    )
    for kind in ("small", "CustomResNet"):
        for optimizer in ("muon", "sgd"):
            for resumed in (False, True):
                way = "resumed" if resumed else "fresh"
                print(kind, optimizer, way, trained(kind, optimizer, data, resumed), flush=True)


if __name__ == "__main__":
    main()
