"""The script that ``test_processes.py`` runs in several processes.

Every process writes its results into its own file.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from hooks import at_step, batches_shown, recognized
from small import EXACT, UNVARIED, few_images, tiny_classifier, tiny_network, without_seconds
from torch import nn

from pytorch_vision.models import Classifier, History
from pytorch_vision.runtime import Machine, Processes, start_processes
from pytorch_vision.training import TrainConfig, checkpoint, fit
from pytorch_vision.training.trainer import Trainer

CONFIG = TrainConfig(epochs=3, batch_size=16, learning_rate=0.01, pruning=0.1)
# almost no learning, so that losses do not change, and images that can be recognised
STILL = replace(CONFIG, optimizer="sgd", learning_rate=1e-12, pruning=0.4, augmentation=UNVARIED)
STOPPED_AT = 10  # the training step, counted from 1, at which rank 1 is disturbed


def digest(tensors: Iterable[torch.Tensor]) -> str:
    return hashlib.sha256(b"".join(one.detach().numpy().tobytes() for one in tensors)).hexdigest()


def numbers(history: History) -> list[dict]:
    """Return a history without its seconds, which differ between processes."""
    return list(map(asdict, without_seconds(history)))


def gradients(processes: Processes) -> list[list[float]]:
    """Return the gradients of a batch of 33 images and of a batch of one.

    Two processes cannot share these equally. The network has no BatchNorm, whose statistics would
    depend on the shares.
    """
    found, data = [], few_images()
    for batch_size in (33, 1):
        network = tiny_network(normalization=False)
        config = replace(CONFIG, batch_size=batch_size)
        run = Trainer(processes, Classifier(network, data), data, config)
        run.step(*next(run.loader.epoch(0)))
        found.append(torch.cat([p.grad.flatten() for p in network.parameters()]).tolist())
    return found


def whole_run(machine: Machine) -> dict[str, Any]:
    """Train; return digests of the weights and the averaged weights at each test."""
    data = few_images()
    classifier, digests = tiny_classifier(data), []

    def note(module: nn.Module, _: object) -> None:
        if not module.training:
            # running statistics differ between processes, except in the weights that are tested
            tested = digest(module.state_dict().values())
            digests.append((digest(classifier.network.parameters()), tested))

    classifier.network.register_forward_pre_hook(note)
    history = fit(classifier, data, CONFIG, machine)
    # the first three are of images that check the network
    return {"digests": digests[3:], "history": numbers(history)}


def shown(machine: Machine) -> list[list[int]]:
    """Train almost without learning; return the images that this process saw in each epoch."""
    data = few_images()
    classifier = Classifier(tiny_network(normalization=False), data)
    batches = batches_shown(classifier.network)
    fit(classifier, data, STILL, machine)
    found = [recognized(images, data, classifier.normalization) for images in batches]
    return [[i for batch in part for i in batch] for part in (found[:7], found[7:11], found[11:])]


def in_turn(processes: Processes, out: Path) -> dict[str, Any]:
    """Call functions in one process for all, and in one before the others."""

    def signed() -> str:
        with open(out / "order", "a") as file:
            file.write(str(processes.rank))
        return (out / "order").read_text()

    def fails() -> None:
        if processes.is_main:
            raise ValueError("there is no data")

    seen = {
        "order": processes.local_main_first(signed),
        "of the main": processes.on_main(lambda: processes.rank),
    }
    for name in ("local_main_first", "on_main"):
        try:
            getattr(processes, name)(fails)
        except ValueError as error:
            seen[name] = str(error)
    return seen


def disturbed(rank: int, act: Any) -> Classifier:
    """Return a classifier whose training in rank 1 is disturbed in one step."""
    classifier = tiny_classifier(few_images())
    if rank == 1:
        at_step(classifier.network, STOPPED_AT, act)
    return classifier


def main(machine: Machine, out: Path) -> None:
    """Do everything that the tests need from two processes; at the end, one is killed."""
    data, processes = few_images(), Processes(start_processes(machine))
    rank = processes.rank
    seen = {
        "world_size": processes.world_size,
        "gradients": gradients(processes),
        **whole_run(machine),
        "shown": shown(machine),
        **in_turn(processes, out),
    }
    try:
        fit(disturbed(rank, lambda images: images.fill_(float("nan"))), data, CONFIG, machine)
    except FloatingPointError as error:
        seen["not finite"] = str(error)
    interrupted = disturbed(rank, lambda _: os.kill(os.getpid(), signal.SIGINT))
    seen["stopped after"] = len(fit(interrupted, data, CONFIG, machine, out / "stopped").records)
    (out / f"main{rank}.json").write_text(json.dumps(seen))

    checkpoint.SAVE_SECONDS = 0.0
    killed = disturbed(rank, lambda _: os.kill(os.getpid(), signal.SIGKILL))
    fit(killed, data, CONFIG, machine, out / "killed")


def resumed(machine: Machine, out: Path) -> None:
    """Resume the run of a single process."""
    classifier = tiny_classifier(few_images())
    history = fit(classifier, few_images(), CONFIG, machine, out / "alone")
    processes = Processes(start_processes(machine))
    seen = {"world_size": processes.world_size, "history": numbers(history)}
    (out / f"resumed{processes.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    job = {"main": main, "resumed": resumed}[sys.argv[1]]
    job(replace(EXACT, devices=int(sys.argv[3])), Path(sys.argv[2]))
