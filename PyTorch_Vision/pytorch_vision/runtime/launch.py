"""How the processes of a run are started: by Fabric, by torchrun, or as forks of a notebook."""

import inspect
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any, Literal

import lightning_fabric
import torch
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.strategies.launchers import subprocess_script
from torch.nn.parallel import DistributedDataParallel

from pytorch_vision.runtime.devices import Machine, Precision, fabric_on
from pytorch_vision.runtime.terminal import in_notebook


def start_processes(machine: Machine) -> lightning_fabric.Fabric:
    """Return the Fabric of a training run, with its processes started.

    Several devices are trained on by as many processes, under DistributedDataParallel. Fabric
    starts them, if torchrun or ``fabric run`` has not: in a script by running the same command
    again, in a notebook as forks once ``launch`` is given their work.

    Raises:
        ValueError: there are fewer devices than asked for.
        RuntimeError: a notebook has used the GPU already, and can be forked no more.
    """
    devices, nodes = _devices_and_nodes(machine.devices, machine.chosen_accelerator)
    if devices * nodes == 1:
        return fabric_on(machine, 1, 1)
    if in_notebook():
        if torch.cuda.is_initialized():  # after that, forks cannot train on a CPU either
            raise RuntimeError(
                "this notebook has used a GPU already, and several need processes that start "
                "before: restart the kernel, and train before anything else uses the GPU"
            )
        if "fork" not in multiprocessing.get_all_start_methods():
            raise RuntimeError(
                "several devices in a notebook need processes that are forks, which this system "
                "has not: run python -m pytorch_vision train --devices 2 in a terminal"
            )
        # looking at a GPU is using it: a fork looks
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            precision = pool.submit(_chosen_precision, machine).result()
            machine = replace(machine, precision=precision)
        return fabric_on(machine, devices, nodes, _several_processes("fork"))
    fabric = fabric_on(machine, devices, nodes, _several_processes("popen"))
    if not os.environ.get("LT_CLI_USED"):  # ``fabric run`` has launched it already
        # without it, each process that loses the first one adds a screenful of stack frames
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        fabric.launch()
    return fabric


def _chosen_precision(machine: Machine) -> Precision:
    return machine.chosen_precision


def _devices_and_nodes(wanted: int | Literal["auto"], accelerator: str) -> tuple[int, int]:
    """Return how many devices to use on this machine, and how many machines there are."""
    there = {"cuda": torch.cuda.device_count(), "cpu": None, "mps": 1}[accelerator]
    devices, nodes = (there or 1) if wanted == "auto" else wanted, 1
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        started = int(os.environ["LOCAL_WORLD_SIZE"])
        if wanted not in ("auto", 1, started):
            raise ValueError(
                f"devices is {wanted}, but {started} process(es) were started on this machine: "
                "leave devices out, or start as many processes"
            )
        devices, nodes = started, int(os.environ["WORLD_SIZE"]) // started
    if there is not None and devices > there:
        raise ValueError(
            f"devices is {devices}, but the number of {accelerator!r} devices here is {there}: ask "
            "for that many at most, or set accelerator='cpu'"
        )
    return devices, nodes


def _several_processes(start_method: Literal["fork", "popen"]) -> DDPStrategy:
    """Return Fabric's DistributedDataParallel.

    BatchNorm's running statistics are each process's own: those of what is tested are computed.
    """
    # With the launcher's own message, a lost process is named even if nothing else is printed.
    logging.getLogger(subprocess_script.__name__).setLevel(logging.INFO)
    known = inspect.signature(DistributedDataParallel).parameters
    # torch 2.15 has another name for it
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {"gradient_as_bucket_view": True, buffers: False}
    return DDPStrategy(start_method=start_method, **settings)


def expect_unused_parameters(fabric: lightning_fabric.Fabric) -> None:
    """Have DistributedDataParallel look, in every step, which parameters take no part.

    Where all of them do, it would warn that looking is for nothing.
    """
    strategy: Any = fabric.strategy  # which takes its settings before there is a network
    strategy._ddp_kwargs["find_unused_parameters"] = True
