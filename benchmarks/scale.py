"""Compare one process on all cores with two that share them: speed, loss, and equal weights.

    python benchmarks/scale.py

Trains a small network and ResNet18 for the first two of 20 epochs of 4,096 images, in batches of
256, with one process and with two, in turn. Two processes on one CPU cannot be faster than one; the
difference is the cost of their communication. It takes about 10 minutes on two cores.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import torch
from torch import nn

from pytorch_vision.data import load_data
from pytorch_vision.models import Classifier, create
from pytorch_vision.runtime import Machine
from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.trainer import Trainer

EPOCHS = 2


def small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def measure(network: str, devices: int) -> None:
    """Train, and print this process's losses, speed and weights' hashes as a line of JSON."""
    end_epoch, digests = Trainer.end_epoch, []

    def recorded(trainer: Trainer, *arguments) -> None:
        end_epoch(trainer, *arguments)
        tested = trainer.average.network.state_dict()
        tensors = [tensor.numpy().tobytes() for tensor in tested.values()]
        digests.append(hashlib.sha256(b"".join(tensors)).hexdigest())
        if len(digests) == EPOCHS:
            os.kill(os.getpid(), signal.SIGINT)  # the schedule is that of 20 epochs

    Trainer.end_epoch = recorded
    data = load_data("4096")
    data = replace(data, test_images=data.test_images[:500], test_labels=data.test_labels[:500])
    torch.manual_seed(0)
    made = create("ResNet18", 10) if network == "ResNet18" else small_network()
    config, machine = TrainConfig(batch_size=256), Machine(devices=devices)
    records = fit(Classifier(made, data), data, config, machine).records
    losses = [one.train_loss for one in records]
    speed = len(data.train_images) / records[-1].train_seconds
    print("measured " + json.dumps({"losses": losses, "speed": speed, "digests": digests}))


def measured(network: str, devices: int, threads: int) -> list[dict]:
    """Measure in other processes; return what each of them printed."""
    command = [sys.executable, __file__, "--network", network, "--devices", str(devices)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("measured ")]
    return [json.loads(line.removeprefix("measured ")) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network")
    parser.add_argument("--devices", type=int)
    options = parser.parse_args()
    if options.network:
        measure(options.network, options.devices)
        return
    cores = os.cpu_count()
    for network, rounds in (("small", 2), ("ResNet18", 1)):
        for _ in range(rounds):
            (one,) = measured(network, 1, cores)
            two = measured(network, 2, cores // 2)
            assert two[0]["digests"] == two[1]["digests"], "the processes' weights differ"
            off = max(abs(a / b - 1) for a, b in zip(two[0]["losses"], one["losses"], strict=True))
            print(
                f"{network}: one process {one['speed']:.0f} images/s, two "
                f"{two[0]['speed']:.0f} images/s; equal weights after {len(two[0]['digests'])} "
                f"epochs; losses of two {two[0]['losses']}, of one {one['losses']}"
            )
            ratio = two[0]["speed"] / one["speed"]
            print(f"{network}_ratio={ratio:.2f} {network}_loss_off={off:.4f}", flush=True)


if __name__ == "__main__":
    main()
