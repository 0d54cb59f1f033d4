"""A training step of CustomResNet, its filters in mirrored pairs, against one with single filters.

    python benchmarks/mirrored.py

In turn in one run, on whatever device there is, with the small images of the quick recipe's first
epochs and the whole ones of its last; four minutes on two CPU cores without bfloat16.
"""

from train_step import fits_step, seconds

from pytorch_vision.models import CustomResNet
from pytorch_vision.training import TrainConfig, describe_hardware, device_settings, make_fabric

KINDS, ROUNDS = ("single", "mirrored"), 3


def main() -> None:
    config = TrainConfig.quick()
    fabric = make_fabric(config)
    ratios = {}
    print(f"{describe_hardware(fabric)}, batch {config.batch_size}, best of {ROUNDS}")
    for size, epoch in {"small": 0, "whole": config.epochs - 1}.items():
        networks = {filters: CustomResNet(mirrored=filters == "mirrored") for filters in KINDS}
        steps = {filters: fits_step(model, config, epoch) for filters, model in networks.items()}
        best = dict.fromkeys(steps, float("inf"))
        for _ in range(ROUNDS):
            for filters, step in steps.items():
                with device_settings(fabric.device):
                    step()  # the first fills caches
                    best[filters] = min(best[filters], seconds(step, fabric.device))
        for filters, duration in best.items():
            print(f"{size} images, {filters:8} filters {duration:8.3f} s")
        ratios[size] = best["mirrored"] / best["single"]
    print(" ".join(f"{size}_ratio={ratio:.2f}" for size, ratio in ratios.items()))


if __name__ == "__main__":
    main()
