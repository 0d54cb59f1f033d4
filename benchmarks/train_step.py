"""The speed of the training step, a plain PyTorch loop and the device's matrix products.

    python benchmarks/train_step.py

Measured in turn in one run, because machines are noisy: the step of ``fit``; the same without
keeping freed memory; on a GPU, the same with each kernel launched by the host instead of replayed
from a CUDA graph; the float32 loop of a tutorial with the same network and batch; and a matrix
product in the dtype that is fastest on the device. A multiply-add counts as two operations, and the
backward pass as two forward passes. It takes about three minutes on two CPU cores with AVX512-BF16,
a quarter of an hour on older ones.
"""

import contextlib
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pytorch_vision.data import load_data
from pytorch_vision.models import Classifier, ResNet18
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.cuda_graphs import CudaGraphs
from pytorch_vision.runtime.devices import (
    describe_hardware,
    device_settings,
    fast_dtype,
    make_fabric,
)
from pytorch_vision.training import TrainConfig
from pytorch_vision.training.trainer import Trainer

BATCH_SIZE = 512  # the default for the full data
ROUNDS = 3
Settings = Callable[[], contextlib.AbstractContextManager]


def fits_step(network: nn.Module, config: TrainConfig, epoch: int = 0) -> Callable[[], None]:
    """Return the step of ``fit`` in an epoch."""
    data = load_data("sample")
    run = Trainer(Processes(make_fabric()), Classifier(network, data), data, config)
    run.network.train()
    images, labels = run.fabric.to_device(next(run.loader.epoch(0)))

    def step() -> None:
        run.progress.epoch, run.progress.batch = epoch, 0  # the same batch again
        run.step(images, labels)

    return step


def launched_step(network: nn.Module, config: TrainConfig) -> Callable[[], None]:
    """Return the same step, with each kernel launched by the host."""
    own_step = fits_step(network, config)

    def step() -> None:
        with mock.patch.object(CudaGraphs, "__call__", lambda _own, work, *inputs: work(*inputs)):
            own_step()

    return step


def plain_step(device: torch.device) -> Callable[[], None]:
    """Return a tutorial's step: float32, eager, SGD."""
    model = ResNet18().to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(BATCH_SIZE, 3, 32, 32, device=device)
    labels = torch.randint(0, 10, (BATCH_SIZE,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def product(device: torch.device, side: int = 4096) -> tuple[Callable[[], None], float]:
    """Return a matrix product in the device's fastest dtype, and its number of operations."""
    a, b = (torch.randn(side, side, dtype=fast_dtype(device), device=device) for _ in range(2))
    return lambda: torch.mm(a, b), 2 * side**3


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """Return the seconds of a function; on a GPU, the mean of ten asynchronous calls."""
    wait, times = (torch.cuda.synchronize, 10) if device.type == "cuda" else (lambda: None, 1)
    wait()
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return (time.perf_counter() - start) / times


def in_turn(
    works: dict[str, tuple[Callable[[], None], Settings]], device: torch.device
) -> dict[str, float]:
    """Return the least seconds of each function, under its settings, over several rounds."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, (work, settings) in works.items():
            with settings():
                for _ in range(2):  # to fill caches and capture graphs
                    work()
                best[name] = min(best[name], seconds(work, device))
    return best


def main() -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ResNet18().eval()(torch.zeros(1, 3, 32, 32))
    step_operations = 3 * counter.get_total_flops() * BATCH_SIZE
    config = TrainConfig(epochs=1, batch_size=BATCH_SIZE)
    fabric = make_fabric()
    device = fabric.device
    multiply, product_operations = product(device)
    kept, returned = lambda: device_settings(device), contextlib.nullcontext
    launched = {}
    if device.type == "cuda":  # there are no graphs elsewhere
        step = launched_step(ResNet18(), config)
        launched = {"  without graphs": (step, kept, step_operations)}
    works = {
        "fit's step": (fits_step(ResNet18(), config), kept, step_operations),
        "  memory returned": (fits_step(ResNet18(), config), returned, step_operations),
        **launched,
        "plain float32 loop": (plain_step(device), returned, step_operations),
        "matrix product": (multiply, kept, product_operations),
    }
    best = in_turn({name: work[:2] for name, work in works.items()}, device)

    print(f"{describe_hardware(fabric)}, batch {BATCH_SIZE}, best of {ROUNDS}")
    print(f"{'':20} {'seconds':>8} {'images/s':>9} {'GFLOP/s':>8}")
    for name, (_, _, operations) in works.items():
        images = "" if name == "matrix product" else f"{BATCH_SIZE / best[name]:.1f}"
        print(f"{name:20} {best[name]:8.4f} {images:>9} {operations / best[name] / 1e9:8.0f}")
    ours = best["fit's step"]
    fraction = step_operations / ours / (product_operations / best["matrix product"])
    graphs = f" graphs_ratio={best['  without graphs'] / ours:.2f}" if launched else ""
    print(
        f"plain_ratio={best['plain float32 loop'] / ours:.2f} matmul_fraction={fraction:.2f} "
        f"kept_ratio={best['  memory returned'] / ours:.2f}{graphs}"
    )


if __name__ == "__main__":
    main()
