"""What ``test_processes.py`` runs in several processes: a script, as someone would write it.

Every process writes what it saw into a file of its own.
"""

import hashlib
import json
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from small import few_images, tiny_network

from pytorch_vision.training import (
    History,
    Processes,
    ProcessLostError,
    TrainConfig,
    fit,
    start_processes,
)
from pytorch_vision.training import checkpoint as checkpoint_module
from pytorch_vision.training import epochs as epochs_module
from pytorch_vision.training.run import Run

CONFIG = TrainConfig(
    epochs=3,
    batch_size=16,
    precision="32-true",
    accelerator="cpu",
    learning_rate=0.01,
    skip_share=0.1,
)
STOPPED_AT = 10  # the training step, counted from 1, in which something happens to rank 1


def digest(model: torch.nn.Module) -> str:
    tensors = [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
    return hashlib.sha256(b"".join(tensors)).hexdigest()


def numbers(history: History) -> list[dict]:
    """Return a history without its seconds, which are every process's own."""
    return [asdict(replace(one, train_seconds=0.0, test_seconds=0.0)) for one in history.records]


def gradients(processes: Processes) -> list[list[float]]:
    """Return the gradients of a batch of 33 images and of one of a single image.

    Two processes cannot share them equally. The network has no BatchNorm, whose statistics would
    depend on the shares.
    """
    found = []
    for batch in (0, 3):
        model = tiny_network(normalization=False)
        run = Run(processes, model, few_images(), replace(CONFIG, batch_size=33))
        run.progress.batch = batch
        run.step(*next(run.loader.epoch(0, batch)))
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]).tolist())
    return found


def whole_run() -> dict:
    """Train, and tell the weights and the images' losses after every epoch."""
    digests, losses, test = [], [], epochs_module._test

    def tested(run, *others):
        whole = test(run, *others)
        digests.append((digest(run.model), digest(run.averaged)))
        losses.append(run.skipping.losses.tolist())
        return whole

    epochs_module._test = tested
    history = fit(tiny_network(), few_images(), CONFIG)
    epochs_module._test = test
    return {"digests": digests, "losses": losses, "history": numbers(history)}


def in_turn(processes: Processes, out: Path) -> dict:
    """Do what one process does for all, and what one does before the others."""

    def signed() -> str:
        with open(out / "order", "a") as file:
            file.write(str(processes.rank))
        return (out / "order").read_text()

    def fails() -> None:
        if processes.rank == 0:
            raise ValueError("there is no data")

    seen = {
        "order": processes.one_a_machine_first(signed),
        "of the first": processes.first_does(lambda: processes.rank),
    }
    for name in ("one_a_machine_first", "first_does"):
        try:
            getattr(processes, name)(fails)
        except ValueError as error:
            seen[name] = str(error)
    return seen


def at_step(rank: int, happens) -> None:
    """Have something happen to rank 1 in the middle of a training step."""
    step, calls = Run.step, []

    def counted(run, images, labels):
        calls.append(None)
        if rank == 1 and len(calls) == STOPPED_AT:
            happens(run, images)
        step(run, images, labels)

    Run.step = counted


class Breaks(torch.nn.Sequential):
    def forward(self, x):
        return super().forward(x) * float("nan")


class Dies(torch.nn.Sequential):
    def forward(self, x):
        if os.environ["LOCAL_RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def notebook(out: Path) -> None:
    """Train as where Python is interactive: the other processes are forks of this one."""
    sys.ps1 = ">>> "
    model = tiny_network()
    history = fit(model, few_images(), CONFIG)
    seen = {"history": numbers(history), "digest": digest(model)}
    for network in (Breaks, Dies):
        try:
            fit(network(tiny_network()), few_images(), CONFIG, out / network.__name__)
        except (FloatingPointError, ProcessLostError) as error:
            seen[network.__name__] = f"{type(error).__name__}: {error}"
    (out / "notebook.json").write_text(json.dumps(seen))


def main(what: str, out: Path) -> None:
    processes = Processes(start_processes(CONFIG))
    rank, seen, step = processes.rank, {}, Run.step
    if what == "everything":
        seen = {"gradients": gradients(processes), **whole_run(), **in_turn(processes, out)}

        at_step(rank, lambda run, images: images.fill_(float("nan")))
        try:
            fit(tiny_network(), few_images(), CONFIG)
        except FloatingPointError as error:
            seen["not finite"] = str(error)

        Run.step = step
        at_step(rank, lambda run, images: os.kill(os.getpid(), signal.SIGINT))
        history = fit(tiny_network(), few_images(), CONFIG, out / "stopped")
        seen["stopped after"] = len(history.records)
    elif what == "resumed":
        history = fit(tiny_network(), few_images(), CONFIG, out / "alone")
        seen["history"] = numbers(history)
    else:  # killed
        checkpoint_module.SAVE_SECONDS = 0.0
        at_step(rank, lambda run, images: os.kill(os.getpid(), signal.SIGKILL))
        fit(tiny_network(), few_images(), CONFIG, out / "killed")
    (out / f"{what}{rank}.json").write_text(json.dumps({**seen, "count": processes.count}))


if __name__ == "__main__":
    CONFIG = replace(CONFIG, devices=int(sys.argv[3]))
    if sys.argv[1] == "notebook":
        notebook(Path(sys.argv[2]))
    else:
        main(sys.argv[1], Path(sys.argv[2]))
