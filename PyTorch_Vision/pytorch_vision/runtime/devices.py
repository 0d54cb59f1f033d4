"""The machine that work is done on: its devices, their precision and their memory."""

import contextlib
import ctypes
import functools
import gc
import logging
import random
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning_fabric
import numpy as np
import torch
from lightning_fabric.strategies import Strategy
from pydantic import Field

from pytorch_vision.runtime.checks import checked_dataclass

# how torch's allocator for the CPU says that there is no memory: it has no error of its own
NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")
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
    def first_device(self) -> torch.device:
        """Where the work of a single device is done."""
        return torch.device(
            "cpu" if self.chosen_accelerator == "cpu" else f"{self.chosen_accelerator}:0"
        )

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

    Inside, the types and places that tensors have by default are PyTorch's own.

    Args:
        device: where the loop runs.
        tf32: let a GPU round the inputs of float32 products to 10 bits, which is several times
            faster; False keeps float32 what it is elsewhere.
    """
    if device.type == "cpu":
        with usual_defaults(), _memory_kept():
            yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        # cuDNN chooses its kernels by trial: the shapes of one run are always the same
        cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32)
        with usual_defaults(), cudnn:
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def usual_defaults() -> Iterator[None]:
    """Make tensors float32 and on the CPU where nothing else is said, as PyTorch does by itself.

    A caller can have set other defaults, for work of another kind. Autocast is left, too: weights
    that it has cast would stay as they are until the caller's ends, whatever training does.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    casting = [kind for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind)]
    torch.set_default_dtype(torch.float32)
    try:
        with contextlib.ExitStack() as stack:
            # a mode costs time at every call: only where there is need of one
            if device.type != "cpu":
                stack.enter_context(torch.device("cpu"))
            for kind in casting:
                stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def gradients_on() -> Iterator[None]:
    """Calculate with gradients, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextlib.contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Put the random state of the CPU and of one device back afterwards; touch no other GPU.

    Python's and NumPy's are put back too: somebody's own network may draw from them.
    """
    pythons, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)


def random_state(device: torch.device) -> dict[str, Any]:
    """Return what a network can draw from: the state of torch, of a device, of Python and NumPy.

    It is made of tensors and numbers, for a checkpoint.
    """
    _, keys, *rest = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "python": [version, torch.tensor(words), gauss],
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Take over what ``random_state`` returned, but for a device that is not there.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: it is something else.
    """
    keys, *rest = state["numpy"]
    (version, words, gauss), of_device = state["python"], state["device"]
    try:
        np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
        random.setstate((version, tuple(words.numpy().astype(np.uint32).tolist()), gauss))
    except OverflowError as error:
        raise ValueError(f"a random state is out of range: {error}") from error
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and of_device is not None:
        torch.cuda.set_rng_state(of_device, device)


class NoMemoryError(MemoryError):
    """There is not enough memory; the message says what for, and what to do."""


@contextlib.contextmanager
def memory_explained(work: str = "this test", advice: str = "") -> Iterator[None]:
    """Turn a lack of memory, a GPU's or the CPU's, into a MemoryError that holds none of it.

    A notebook keeps the traceback of its last error, and with it all tensors of its frames: the
    advice to use a smaller batch would then fail too. The frames below this one are cleared, and
    what the allocator kept is given back.

    Args:
        work: what there was no memory for.
        advice: what to do; free some of it if empty.

    Raises:
        NoMemoryError: for each error of a lack of memory, whoever raised it.
    """
    try:
        yield
    except NoMemoryError:  # explained already, by what was called here
        raise
    except (RuntimeError, MemoryError) as error:
        gpu = isinstance(error, torch.OutOfMemoryError)
        if not gpu and not is_lack_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        advice = advice or "free some of it" + (", or set accelerator='cpu'" if gpu else "")
        where = "the GPU" if gpu else "the CPU"
        raise NoMemoryError(f"{where} has no memory for {work}; {advice}") from None


def is_lack_of_memory(error: Exception) -> bool:
    """Tell whether the CPU has no memory left: numpy says so in another way than torch."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in NO_MEMORY)


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
