"""The time of an evaluation beside that of its forward passes alone.

    python benchmarks/evaluate.py

Measured in turn in one run, on the bundled sample's test images, in the same precision.
"""

import time

import torch

from pytorch_vision.data import eval_batches, load_data
from pytorch_vision.models import Classifier
from pytorch_vision.models.inference import images_at_once
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.devices import describe_hardware, device_settings, make_fabric
from pytorch_vision.training.evaluate import evaluate_on

ROUNDS = 5


def main() -> None:
    data, fabric = load_data("sample"), make_fabric()
    classifier = Classifier("ResNet18", data)
    network = fabric.to_device(classifier.network).eval()
    size = images_at_once(data.size, fabric.device)
    batches = list(eval_batches(data.test_images, classifier.normalization, fabric.device, size))

    def forward() -> None:
        with torch.no_grad(), fabric.autocast():
            for images in batches:
                logits = network(images.to(memory_format=torch.channels_last))
        float(logits.sum())  # waits for the device

    processes = Processes(fabric)
    with device_settings(fabric.device), classifier.on(fabric) as adapter:
        works = {
            "evaluate": lambda: evaluate_on(processes, classifier, data, adapter),
            "forward pass": forward,
        }
        best = dict.fromkeys(works, float("inf"))
        for _ in range(ROUNDS):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                best[name] = min(best[name], time.perf_counter() - start)

    print(f"{describe_hardware(fabric)}, {len(data.test_images)} images, best of {ROUNDS}")
    for name, seconds in best.items():
        print(f"{name:12} {seconds:6.3f} s {len(data.test_images) / seconds:8.0f} images/s")
    print(f"evaluate_ratio={best['evaluate'] / best['forward pass']:.2f}")


if __name__ == "__main__":
    main()
