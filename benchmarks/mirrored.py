"""A training step of CustomResNet, its filters in mirrored pairs, against one with single filters.

    python benchmarks/mirrored.py

In turn in one run, on whatever device there is, with the small images of the quick recipe's first
epochs and the whole ones of its last; four minutes on two CPU cores without bfloat16.
"""

from train_step import BATCH_SIZE, ROUNDS, fits_step, in_turn

from pytorch_vision.models import CustomResNet
from pytorch_vision.runtime.devices import describe_hardware, device_settings, make_fabric
from pytorch_vision.training import TrainConfig


def main() -> None:
    config = TrainConfig.quick(batch_size=BATCH_SIZE)
    fabric = make_fabric()
    device = fabric.device
    ratios = []
    print(f"{describe_hardware(fabric)}, batch {config.batch_size}, best of {ROUNDS}")
    for size, epoch in {"small": 0, "whole": config.epochs - 1}.items():
        works = {
            filters: (
                fits_step(CustomResNet(mirrored=mirrored), config, epoch),
                lambda: device_settings(device),
            )
            for filters, mirrored in {"single": False, "mirrored": True}.items()
        }
        best = in_turn(works, device)
        for filters, duration in best.items():
            print(f"{size} images, {filters:8} filters {duration:8.3f} s")
        ratios.append(f"{size}_ratio={best['mirrored'] / best['single']:.2f}")
    print(*ratios)


if __name__ == "__main__":
    main()
