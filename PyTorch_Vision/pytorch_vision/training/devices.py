"""All that depends on the machine: device, precision, memory, compiling."""

import contextlib
import ctypes
import gc
import inspect
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import lightning_fabric
import torch
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.strategies.launchers import subprocess_script
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pytorch_vision.training.config import Precision, TrainConfig


def make_fabric(config: TrainConfig) -> lightning_fabric.Fabric:
    """Return the Fabric that places tensors and chooses the precision, on one device."""
    return _fabric(config, 1, 1)


def start_processes(config: TrainConfig) -> lightning_fabric.Fabric:
    """Return the Fabric of a training run, with its processes started.

    Several devices are trained on by as many processes, under DistributedDataParallel. Fabric
    starts them, if torchrun or ``fabric run`` has not: in a script by running the same command
    again, in a notebook as forks once ``launch`` is given their work.

    Raises:
        ValueError: there are fewer devices than asked for.
    """
    fabric = _fabric(config, *_devices_and_nodes(config.devices, _accelerator(config)))
    if fabric.world_size > 1 and not in_notebook() and not os.environ.get("LT_CLI_USED"):
        # without it, each process that loses the first one adds a screenful of stack frames
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        fabric.launch()  # ``fabric run`` has done it
    return fabric


def _accelerator(config: TrainConfig) -> str:
    if config.accelerator != "auto":
        return config.accelerator
    return "cuda" if torch.cuda.is_available() else "cpu"


def _fabric(config: TrainConfig, devices: int, nodes: int) -> lightning_fabric.Fabric:
    # Fabric announces the precision on stderr, which a notebook shows as an error.
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    accelerator = _accelerator(config)
    precision = _auto_precision(accelerator) if config.precision == "auto" else config.precision
    strategy = "auto" if devices * nodes == 1 else _several_processes()
    return lightning_fabric.Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        precision=precision,
        strategy=strategy,
    )


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
            f"devices is {devices}, but there is or are {there} of {accelerator!r} here: ask for "
            f"{there} or less, or set accelerator='cpu'"
        )
    return devices, nodes


def _several_processes() -> DDPStrategy:
    """Return Fabric's DistributedDataParallel; in a notebook, its processes are forks.

    BatchNorm's running statistics are each process's own, and averaged where they are used.
    """
    # With the launcher's own message, a lost process is named even if nothing else is printed.
    logging.getLogger(subprocess_script.__name__).setLevel(logging.INFO)
    known = inspect.signature(DistributedDataParallel).parameters
    # torch 2.15 has another name for it
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DDPStrategy(
        start_method="fork" if in_notebook() else "popen",
        gradient_as_bucket_view=True,
        **{buffers: False},
    )


def in_notebook() -> bool:
    """Tell whether Python is interactive, where other processes must be forks of this one."""
    return hasattr(sys, "ps1")


def place(fabric: lightning_fabric.Fabric, model: nn.Module) -> nn.Module:
    """Put a model, in place, on Fabric's device and in the memory order that is fastest there.

    Channels-last suits convolutions on CPU and GPU alike.
    """
    return fabric.to_device(model.to(memory_format=torch.channels_last))


def half_precision(device: torch.device) -> torch.dtype:
    """Return the 16-bit type of a device: float16 on GPUs older than the A100, else bfloat16."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    return torch.bfloat16


def _auto_precision(accelerator: str) -> Precision:
    if accelerator == "cuda":
        older = half_precision(torch.device("cuda")) is torch.float16
        return "16-mixed" if older else "bf16-mixed"
    flags = _processor().get("flags", "").split()
    able = accelerator == "cpu" and ("avx512_bf16" in flags or "amx_bf16" in flags)
    return "bf16-mixed" if able else "32-true"


def _processor() -> dict[str, str]:
    """Return what Linux tells of the first processor; nothing on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def describe_hardware(fabric: lightning_fabric.Fabric) -> str:
    """Name the device and the precision, as in "AMD EPYC (2 threads), bf16-mixed"."""
    if fabric.device.type == "cuda":
        device = torch.cuda.get_device_name(fabric.device)
    elif fabric.device.type == "cpu":
        device = f"{_processor().get('model name', 'CPU')} ({torch.get_num_threads()} threads)"
    else:
        device = str(fabric.device)
    several = f", {fabric.world_size} processes" if fabric.world_size > 1 else ""
    return f"{device}, {fabric.strategy.precision.precision}{several}"


def _has_compiler() -> bool:
    """Tell whether ``torch.compile`` will find the C++ compiler that it needs."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "g++"))


def can_compile(config: TrainConfig) -> bool:
    """Tell whether to compile the model; a line says so if it is wanted but cannot be done."""
    if config.compile and not _has_compiler():
        print("No C++ compiler found: training without torch.compile")
        return False
    return config.compile


@contextlib.contextmanager
def device_settings(device: torch.device, tf32: bool = True) -> Iterator[None]:
    """Set what makes a loop over batches fast on its device; put all back afterwards.

    Args:
        device: where the loop runs.
        tf32: let a GPU round the inputs of float32 products to 10 bits, which is several times
            faster; False keeps float32 what it is elsewhere.
    """
    if device.type == "cpu":
        with _memory_kept():
            yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        # cuDNN chooses its kernels by trial: the shapes of one run are always the same
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def random_state_kept(device: torch.device) -> contextlib.AbstractContextManager:
    """Put the random state of the CPU and of one device back afterwards; touch no other GPU."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextlib.contextmanager
def memory_explained(
    work: str = "this test", advice: str = "free some of it, or set accelerator='cpu'"
) -> Iterator[None]:
    """Turn a GPU's lack of memory into a MemoryError that holds none of that memory.

    A notebook keeps the traceback of its last error, and with it all tensors of its frames: the
    advice to use a smaller batch would then fail too. The frames below this one are cleared, and
    what the allocator kept is given back.

    Args:
        work: what there was no memory for.
        advice: what to do.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        raise MemoryError(f"the GPU has no memory for {work}; {advice}") from None


@contextlib.contextmanager
def _memory_kept() -> Iterator[None]:
    """Have glibc's malloc keep freed memory for the next step instead of returning it at once.

    Otherwise every large activation is mapped and zeroed by the kernel afresh at every step:
    ``kept_ratio`` in ``benchmarks/train_step.py``.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):  # not glibc: its allocator has other ways
        yield
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        mallopt(mmap_max, 65_536)  # glibc's defaults
        mallopt(trim_threshold, 128 * 1024)
        trim(0)
