"""Start a run's processes, one for each device, with Fabric or torchrun."""

import inspect
import logging
import os
import sys
from typing import Any, Literal

import lightning_fabric
import torch
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.strategies.launchers import subprocess_script
from torch.nn.parallel import DistributedDataParallel

from pytorch_vision.runtime.devices import TORCHRUN, Machine, make_fabric
from pytorch_vision.runtime.terminal import is_interactive


def start_processes(machine: Machine) -> lightning_fabric.Fabric:
    """Start the processes of a training run, one for each device, and return their Fabric.

    They train together under DistributedDataParallel. Unless torchrun or ``fabric run`` has started
    them, Fabric does so by running the program's command again.

    Raises:
        ValueError: there are fewer devices than requested, or the program cannot be run again.
    """
    devices, nodes = _devices_and_nodes(machine.devices, machine.chosen_accelerator)
    if devices * nodes == 1:
        return make_fabric(machine)
    script = getattr(sys.modules["__main__"], "__file__", "")
    # Fabric starts argv again, from the folder of now
    again = bool(script) and os.path.realpath(sys.argv[0]) == os.path.realpath(script)
    started = os.environ.keys() & {"LT_CLI_USED", TORCHRUN}  # the first by fabric run
    if not started and (is_interactive() or not again):
        raise ValueError(
            f"devices is {devices}, but this program cannot be started again, because it is no "
            f"script or has changed its folder: run python -m pytorch_vision train --devices "
            f"{devices}, or a script of your own with torchrun --nproc-per-node {devices}"
        )
    fabric = make_fabric(machine, devices, nodes, _data_parallel())
    if "LT_CLI_USED" not in started:
        # otherwise each process prints a screenful of stack frames when the first one is lost
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        fabric.launch()
    return fabric


def _devices_and_nodes(wanted: int | Literal["auto"], accelerator: str) -> tuple[int, int]:
    """Return the number of devices to use on this machine, and the number of machines."""
    there = {"cuda": torch.cuda.device_count(), "cpu": None, "mps": 1}[accelerator]
    devices, nodes = (there or 1) if wanted == "auto" else wanted, 1
    if TORCHRUN in os.environ:
        started = int(os.environ["LOCAL_WORLD_SIZE"])
        if wanted not in ("auto", 1, started):
            raise ValueError(
                f"devices is {wanted}, but torchrun started {started} process(es) on this machine: "
                f"leave devices out, or start {wanted}"
            )
        devices, nodes = started, int(os.environ["WORLD_SIZE"]) // started
    if there is not None and devices > there:
        raise ValueError(
            f"devices is {devices}, but the number of {accelerator!r} devices here is {there}: "
            "set that many at most, or accelerator='cpu'"
        )
    return devices, nodes


def _data_parallel() -> DDPStrategy:
    """Return Fabric's DistributedDataParallel strategy.

    It does not synchronise BatchNorm's running statistics, which are recomputed before each test.
    """
    # so that the launcher's message always names a lost process
    logging.getLogger(subprocess_script.__name__).setLevel(logging.INFO)
    known = inspect.signature(DistributedDataParallel).parameters
    # renamed in torch 2.15
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {"gradient_as_bucket_view": True, buffers: False}
    return DDPStrategy(**settings)


def expect_unused_parameters(fabric: lightning_fabric.Fabric) -> None:
    """Make DistributedDataParallel look for parameters without a gradient in every step.

    It is not the default, as the search takes time, and warns if it finds none.
    """
    strategy: Any = fabric.strategy  # reads its settings when the network is wrapped
    strategy._ddp_kwargs["find_unused_parameters"] = True
