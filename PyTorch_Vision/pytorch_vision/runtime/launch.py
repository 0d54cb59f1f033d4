"""How the processes of a run are started: by Fabric or by torchrun."""

import inspect
import logging
import os
import sys
from pathlib import Path
from typing import Any, Literal

import lightning_fabric
import torch
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.strategies.launchers import subprocess_script
from torch.nn.parallel import DistributedDataParallel

from pytorch_vision.runtime.devices import Machine, fabric_on
from pytorch_vision.runtime.terminal import is_interactive


def start_processes(machine: Machine) -> lightning_fabric.Fabric:
    """Start the processes of a training run, one for each device, and return their Fabric.

    They train together under DistributedDataParallel. Unless torchrun or ``fabric run`` has started
    them, Fabric does, by running the program's command again.

    Raises:
        ValueError: there are fewer devices than asked for, or the program cannot be run again.
    """
    devices, nodes = _devices_and_nodes(machine.devices, machine.chosen_accelerator)
    if devices * nodes == 1:
        return fabric_on(machine, 1, 1)
    if is_interactive():
        raise _not_started(devices, "an interactive session cannot start other processes")
    strategy = _data_parallel()
    fabric = fabric_on(machine, devices, nodes, strategy)
    environment: Any = strategy.cluster_environment
    if not environment.creates_processes_externally and (problem := _why_not_again()):
        raise _not_started(devices, problem)
    if not os.environ.get("LT_CLI_USED"):  # else ``fabric run`` has launched it already
        # without it, each process that loses the first one adds a screenful of stack frames
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        fabric.launch()
    return fabric


def _not_started(devices: int, problem: str) -> ValueError:
    return ValueError(
        f"devices is {devices}, but {problem}: run python -m pytorch_vision train --devices "
        f"{devices}, or a script of your own with torchrun --nproc-per-node {devices}"
    )


def _why_not_again() -> str | None:
    """Return why the program's command, run again from the current folder, would do another thing.

    Fabric runs ``sys.argv`` or ``python -m`` with the module's name.
    """
    main = sys.modules["__main__"]
    spec, script = main.__spec__, getattr(main, "__file__", "")
    if not os.path.isfile(script) or (spec is not None and spec.name == "__main__"):
        return "code from python -c, standard input or a folder cannot be run again"
    if spec is None and not (os.path.exists(sys.argv[0]) and os.path.samefile(sys.argv[0], script)):
        return f"{sys.argv[0]!r} does not lead from {os.getcwd()} to the running script"
    if spec is not None and _started_elsewhere(spec.name):
        return f"{spec.name} was not started in the current folder, {os.getcwd()}"
    return None


def _started_elsewhere(module: str) -> bool:
    """Tell whether ``python -m`` found its module in a folder that is no longer the current one."""
    start, name = Path(sys.path[0]), module.partition(".")[0]
    found = (start / name).is_dir() or (start / f"{name}.py").is_file()
    return found and start.resolve() != Path.cwd().resolve()


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


def _data_parallel() -> DDPStrategy:
    """Return Fabric's DistributedDataParallel.

    BatchNorm's running statistics are each process's own: those of what is tested are computed.
    """
    # With the launcher's own message, a lost process is named even if nothing else is printed.
    logging.getLogger(subprocess_script.__name__).setLevel(logging.INFO)
    known = inspect.signature(DistributedDataParallel).parameters
    # renamed in torch 2.15
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {"gradient_as_bucket_view": True, buffers: False}
    return DDPStrategy(**settings)


def expect_unused_parameters(fabric: lightning_fabric.Fabric) -> None:
    """Have DistributedDataParallel find, in every step, the parameters that take no part.

    It warns about the time this costs if all of them take part, so it is not the default.
    """
    strategy: Any = fabric.strategy  # whose settings are read when the network is wrapped
    strategy._ddp_kwargs["find_unused_parameters"] = True
