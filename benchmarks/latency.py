"""What one picture through a classifier costs beside plain PyTorch.

    python benchmarks/latency.py [NETWORK ...]

Both in turn in one run: ``classifier.predict(image[None])``, and a loop as anybody would write it
(normalise, forward pass without gradients, softmax) with the same network in float32.
"""

import sys
import time
from statistics import median

import numpy as np
import torch

from pytorch_vision.data import Normalization
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.devices import describe_hardware, make_fabric

NETWORKS = ("torchvision:mobilenet_v3_small", "ResNet18")
SIDE, ROUNDS = 64, 100


def measure(name: str, machine: Machine) -> dict[str, float]:
    """Return the median seconds of both for a picture of 64x64 pixels."""
    normalization = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    names = [str(number) for number in range(10)]
    classifier = Classifier(name, class_names=names, normalization=normalization, size=(SIDE, SIDE))
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    device = machine.first_device
    network = classifier.network.to(device).eval()
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1)
        for values in (normalization.mean, normalization.std)
    )

    def plain() -> None:
        with torch.no_grad():
            pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None] / 255
            network((pixels - mean) / std).softmax(1).cpu().numpy()

    works = {"plain": plain, "predict": lambda: classifier.predict(image[None], machine)}
    seconds: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(ROUNDS):
        for what, work in works.items():
            start = time.perf_counter()
            work()
            seconds[what].append(time.perf_counter() - start)
    return {what: median(found) for what, found in seconds.items()}


def main() -> None:
    """Print a line for each network."""
    machine = Machine()
    print(f"{describe_hardware(make_fabric(machine))}, one image of {SIDE}x{SIDE} pixels")
    for name in sys.argv[1:] or NETWORKS:
        found = measure(name, machine)
        plain, predict = (1000 * found[what] for what in ("plain", "predict"))
        print(
            f"{name}: plain {plain:.2f} ms, predict {predict:.2f} ms, ratio={predict / plain:.2f}"
        )


if __name__ == "__main__":
    main()
