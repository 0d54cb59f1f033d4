"""The machine that work is done on: its devices, their precision and their memory."""

import contextlib
import ctypes
import functools
import gc
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import lightning_fabric
import torch
from lightning_fabric.strategies import Strategy
from pydantic import Field
from torch import nn

from pytorch_vision.runtime.checks import checked_dataclass

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@checked_dataclass
class Machine:
    """Which devices do the work, and how exactly they calculate.

    What is trained does not depend on it, but for rounding.

    Raises:
        ValueError: a value is out of range; the message says which and what was expected.
    """

    accelerator: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Field(
            description="kind of device; auto is a CUDA GPU where there is one, else the CPU; "
            "Apple's GPUs (mps) only when asked for, as nobody has tried them"
        ),
    ] = "auto"
    devices: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto"],
        Field(
            description="how many train together, each in a process of its own; auto is all CUDA "
            "devices; on a CPU, processes that share the cores. A step's batch size is that of "
            "all together"
        ),
    ] = 1
    precision: Annotated[
        Literal["auto"] | Precision,
        Field(
            description="auto is bfloat16 autocast where the device has it in hardware, float16 "
            "with gradient scaling on older CUDA devices, and float32 elsewhere"
        ),
    ] = "auto"

    @property
    def chosen_accelerator(self) -> str:
        """ "cpu", "cuda" or "mps"."""
        if self.accelerator != "auto":
            return self.accelerator
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def chosen_precision(self) -> Precision:
        """The precision, chosen by the device if it is left to it."""
        if self.precision != "auto":
            return self.precision
        fast = fast_dtype(torch.device(self.chosen_accelerator))
        if fast is torch.float32:
            return "32-true"
        return "16-mixed" if fast is torch.float16 else "bf16-mixed"


def make_fabric(machine: Machine | None = None) -> lightning_fabric.Fabric:
    """Return the Fabric that places tensors and chooses the precision, on one device.

    Args:
        machine: ``Machine()`` if None.
    """
    return fabric_on(machine or Machine(), 1, 1)


def fabric_on(
    machine: Machine, devices: int, nodes: int, strategy: str | Strategy = "auto"
) -> lightning_fabric.Fabric:
    """Return the Fabric for some devices on each of some machines."""
    # Fabric announces the precision on stderr, which a notebook shows as an error.
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return lightning_fabric.Fabric(
        accelerator=machine.chosen_accelerator,
        devices=devices,
        num_nodes=nodes,
        precision=machine.chosen_precision,
        strategy=strategy,
    )


def place(fabric: lightning_fabric.Fabric, model: nn.Module) -> nn.Module:
    """Put a model, in place, on Fabric's device and in the memory order that is fastest there.

    Channels-last suits convolutions on CPU and GPU alike.
    """
    return fabric.to_device(model.to(memory_format=torch.channels_last))


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the type in which a device multiplies matrices fastest.

    float16 on GPUs older than the A100; bfloat16 on others, and on CPUs that have it in hardware;
    float32 elsewhere, where bfloat16 is done in software, many times slower.
    """
    if device.type == "cuda":
        older = torch.cuda.get_device_capability(device) < (8, 0)
        return torch.float16 if older else torch.bfloat16
    flags = _processor().get("flags", "").split()
    able = device.type == "cpu" and ("avx512_bf16" in flags or "amx_bf16" in flags)
    return torch.bfloat16 if able else torch.float32


@functools.cache
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
