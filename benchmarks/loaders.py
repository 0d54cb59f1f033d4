"""How many training images a second each loader makes, and what share of a training step that is.

    python benchmarks/loaders.py

Both loaders run in turn in one run, on the device that training would take; on a CPU the device's
loader is measured there too, although training takes albumentations.
"""

import time

import torch

from pytorch_vision.data import Augmentation, TrainLoader, load_data
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.devices import describe_hardware, device_settings, make_fabric
from pytorch_vision.training import TrainConfig
from pytorch_vision.training.trainer import Trainer

BATCH_SIZE = 250
ROUNDS = 5


def rate(loader: TrainLoader, device: torch.device, epoch: int) -> float:
    """Return the images a second of one epoch."""
    start = time.perf_counter()
    for images, _ in loader.epoch(epoch):
        images.to(device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return len(loader.images) / (time.perf_counter() - start)


def main() -> None:
    data, config = load_data("sample"), TrainConfig(epochs=1, batch_size=BATCH_SIZE)
    fabric, classifier = make_fabric(), Classifier("ResNet18", data)
    arguments = (data, classifier.normalization, Augmentation(), BATCH_SIZE, 0)
    loaders = {
        "albumentations": TrainLoader(*arguments),
        "on the device": TrainLoader(*arguments, device=fabric.device),
    }
    run = Trainer(Processes(fabric), classifier, data, config)
    best = dict.fromkeys(loaders, 0.0)
    step = 0.0
    with device_settings(fabric.device):
        images, labels = next(run.loader.epoch(0))
        for epoch in range(ROUNDS):
            for name, loader in loaders.items():
                best[name] = max(best[name], rate(loader, fabric.device, epoch))
            start = time.perf_counter()
            run.progress.batch = 0  # the same batch again
            run.step(images, labels)
            float(run.metrics.sums[0])  # waits for the device
            step = max(step, BATCH_SIZE / (time.perf_counter() - start))

    print(f"{describe_hardware(fabric)}, best of {ROUNDS}")
    for name, value in {**best, "training step": step}.items():
        print(f"{name:15} {value:10,.0f} images/s")
    share = (1 / best["albumentations"]) / (1 / best["albumentations"] + 1 / step)
    print(
        f"device_ratio={best['on the device'] / best['albumentations']:.2f} "
        f"albumentations_share={share:.3f}"
    )


if __name__ == "__main__":
    main()
