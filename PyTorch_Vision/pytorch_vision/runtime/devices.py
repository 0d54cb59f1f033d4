"""The machine: its devices, their precision, their random state and their memory."""

import contextlib
import ctypes
import functools
import gc
import logging
import os
import random
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning_fabric
import numpy as np
import torch
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import Strategy
from pydantic import Field
from torch import Tensor

from pytorch_vision.runtime.checks import checked_dataclass
from pytorch_vision.runtime.files import ON_THE_CPU, is_lack_of_memory

TORCHRUN = "TORCHELASTIC_RUN_ID"  # set in the processes that torchrun starts
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@checked_dataclass
class Machine:
    """Which devices do the work, and in what precision.

    Results are the same on all devices, except for rounding.

    Raises:
        ValueError: a value is out of range; the message says which and what was expected.
    """

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto",
        description="kind of device; auto: a CUDA GPU if there is one, otherwise the CPU "
        "(Apple's GPUs, mps, are untested, so auto never chooses them)",
    )
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=1,
        description="number of devices to train on, each with its own process; on a CPU, the "
        "processes share the cores; auto: all CUDA devices",
    )
    precision: Literal["auto"] | Precision = Field(
        default="auto",
        description="precision of training; auto: bfloat16 autocast if the device has it in "
        "hardware, float16 with gradient scaling on older CUDA devices, otherwise float32",
    )

    @property
    def chosen_accelerator(self) -> str:
        """The accelerator, with "auto" resolved: "cpu", "cuda" or "mps"."""
        if self.accelerator != "auto":
            return self.accelerator
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def first_device(self) -> torch.device:
        """The device that a single process uses."""
        return torch.device(
            "cpu" if self.chosen_accelerator == "cpu" else f"{self.chosen_accelerator}:0"
        )

    @property
    def chosen_precision(self) -> Precision:
        """The precision, with "auto" resolved for the device."""
        if self.precision != "auto":
            return self.precision
        fast = fast_dtype(torch.device(self.chosen_accelerator))
        if fast is torch.float32:
            return "32-true"
        return "16-mixed" if fast is torch.float16 else "bf16-mixed"


def make_fabric(
    machine: Machine | None = None,
    devices: int = 1,
    nodes: int = 1,
    strategy: str | Strategy = "auto",
) -> lightning_fabric.Fabric:
    """Return a Fabric for devices of each of so many machines, in the machine's precision.

    By default, it is for one device, whatever ``machine.devices`` is.
    """
    machine = machine or Machine()
    # Fabric announces the precision on stderr, which a notebook shows as an error
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # processes are started by torchrun or by this program, whatever a cluster's variables say
    return lightning_fabric.Fabric(
        plugins=None if TORCHRUN in os.environ else LightningEnvironment(),
        accelerator=machine.chosen_accelerator,
        devices=devices,
        num_nodes=nodes,
        precision=machine.chosen_precision,
        strategy=strategy,
    )


def has_room(device: torch.device, size: int) -> bool:
    """Return whether ``size`` bytes take at most half of a GPU's free memory."""
    if device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    elif device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + kept
    else:
        return True
    return size <= free / 2


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for it if that is a CUDA GPU.

    On Apple's GPUs, a copy that does not wait can read memory that is free already (PyTorch's issue
    189690).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype in which a device multiplies matrices fastest.

    float16 on GPUs older than the A100, bfloat16 on newer ones and on CPUs with hardware support,
    float32 elsewhere, where bfloat16 is emulated in software and many times slower.
    """
    if device.type == "cuda":
        older = torch.cuda.get_device_capability(device) < (8, 0)
        return torch.float16 if older else torch.bfloat16
    flags = _processor().get("flags", "").split()
    able = device.type == "cpu" and ("avx512_bf16" in flags or "amx_bf16" in flags)
    return torch.bfloat16 if able else torch.float32


@functools.cache
def _processor() -> dict[str, str]:
    """Return the first processor's entry in /proc/cpuinfo; empty without such a file."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def describe_hardware(fabric: lightning_fabric.Fabric, autocast: bool = True) -> str:
    """Return the names of device and precision, as in "AMD EPYC (2 threads), bf16-mixed".

    ``autocast=False`` is for a network that runs in float32, whatever Fabric's precision.
    """
    if fabric.device.type == "cuda":
        device = torch.cuda.get_device_name(fabric.device)
    elif fabric.device.type == "cpu":
        device = f"{_processor().get('model name', 'CPU')} ({torch.get_num_threads()} threads)"
    else:
        device = str(fabric.device)
    several = f", {fabric.world_size} processes" if fabric.world_size > 1 else ""
    precision = fabric.strategy.precision.precision if autocast else "32-true"
    return f"{device}, {precision}{several}"


@contextlib.contextmanager
def device_settings(device: torch.device, tf32: bool = True) -> Iterator[None]:
    """Set torch's global options for a fast loop over batches, and restore them afterwards.

    Inside, new tensors have PyTorch's default dtype and device. With ``tf32``, a GPU may round the
    inputs of float32 matrix products to 10 bits of mantissa, which is several times as fast.
    """
    if device.type == "cpu":
        with usual_defaults(), _memory_kept():
            yield
        return
    matmul, before = torch.backends.cuda.matmul, torch.backends.cuda.matmul.fp32_precision
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:  # a user has set the newer option
        older = "high" if before == "tf32" else "highest"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        # cuDNN times its kernels and keeps the fastest, as all batches of a run have one shape
        with usual_defaults(), cudnn_settings(benchmark=True, tf32=tf32):
            yield
    finally:
        torch.set_float32_matmul_precision(older)
        matmul.fp32_precision = before


def cudnn_settings(benchmark: bool, tf32: bool) -> contextlib.AbstractContextManager:
    """Return a context that sets cuDNN, unless the user wants the same bits, or no cuDNN."""
    cudnn = torch.backends.cudnn
    fixed = cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    return cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=benchmark and not fixed,
        deterministic=fixed,
        allow_tf32=tf32,
    )


@contextlib.contextmanager
def usual_defaults() -> Iterator[None]:
    """Set PyTorch's own defaults for new tensors (float32, CPU), and disable a caller's autocast.

    A caller's autocast would cache the cast weights until it ends, so that training would not
    change them.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        # a device mode slows down every call of torch, so it is set only if needed
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        yield


@contextlib.contextmanager
def gradients_on() -> Iterator[None]:
    """Enable gradients even inside a caller's ``no_grad`` or ``inference_mode``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextlib.contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Restore the random states of torch, one device, NumPy and Python afterwards.

    A custom network may draw from any of these. The states of other GPUs are not restored.
    """
    before = random_state(device)
    try:
        yield
    finally:
        set_random_state(before, device)


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the random states of torch, one device, NumPy and Python, for a checkpoint.

    They are tensors and numbers, which ``torch.load`` reads with ``weights_only=True``.
    """
    _, keys, *rest = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "python": [version, torch.from_numpy(np.array(words)), gauss],
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore the random states that ``random_state`` returned; that of a GPU only on a GPU.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError, AttributeError: the state is malformed.
    """
    keys, *rest = state["numpy"]
    version, words, gauss = state["python"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
    random.setstate((version, tuple(words.tolist()), gauss))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["device"] is not None:
        torch.cuda.set_rng_state(state["device"], device)


class NoMemoryError(MemoryError):
    """Out of memory; the message says what needed the memory, and what to do."""


@contextlib.contextmanager
def memory_explained(work: str = "this test", advice: str = "") -> Iterator[None]:
    """Replace an out-of-memory error, on a GPU or the CPU, with one that holds no tensors.

    A notebook keeps the traceback of its last error, and with it all tensors in the frames, so a
    second try with smaller batches would fail as well. So this clears the frames below this one
    and empties the allocator's cache.

    Args:
        work: what needed the memory.
        advice: what to do; default: to free some of it.
    """
    try:
        yield
    except NoMemoryError:  # already explained by an inner call
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_lack_of_memory(error):
            raise
        gpu = isinstance(error, RuntimeError) and ON_THE_CPU not in str(error)
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        advice = advice or "free some of it" + (", or set accelerator='cpu'" if gpu else "")
        where = "the GPU" if gpu else "the CPU"
        raise NoMemoryError(f"{where} has no memory for {work}; {advice}") from None


@contextlib.contextmanager
def _memory_kept() -> Iterator[None]:
    """Make glibc's malloc keep freed memory for the next step.

    Otherwise the operating system maps and zeroes memory for large activations again in every step
    (measured by ``kept_ratio`` in ``benchmarks/train_step.py``).
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):  # not glibc
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
