import numpy as np
import pytest
import torch

from pytorch_vision.runtime import Machine, devices
from pytorch_vision.runtime.devices import device_settings, make_fabric, memory_explained


@pytest.mark.parametrize(
    ("flags", "capability", "dtype", "precision"),
    [
        ("fma avx2", None, torch.float32, "32-true"),
        ("avx2 avx512f avx512_bf16", None, torch.bfloat16, "bf16-mixed"),
        ("avx2 amx_bf16 amx_tile", None, torch.bfloat16, "bf16-mixed"),
        (None, None, torch.float32, "32-true"),
        (None, (7, 5), torch.float16, "16-mixed"),
        (None, (8, 0), torch.bfloat16, "bf16-mixed"),
    ],
)
def test_the_precision_is_one_that_the_device_has_in_hardware(
    monkeypatch, flags, capability, dtype, precision
):
    monkeypatch.setattr(devices, "_processor", lambda: {} if flags is None else {"flags": flags})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    kind = "cpu" if capability is None else "cuda"
    assert devices.fast_dtype(torch.device(kind)) is dtype
    assert Machine(accelerator=kind).chosen_precision == precision
    assert Machine(accelerator=kind, precision="32-true").chosen_precision == "32-true"


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_is_used_if_there_is_one(monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert Machine().chosen_accelerator == ("cuda" if there else "cpu")
    assert Machine(accelerator="cpu").chosen_accelerator == "cpu"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_make_fabric_uses_one_device_in_the_machines_precision(precision):
    fabric = make_fabric(Machine(accelerator="cpu", devices=2, precision=precision))
    assert (fabric.device.type, fabric.world_size) == ("cpu", 1)
    assert devices.describe_hardware(fabric).endswith(f" threads), {precision}")
    assert devices.describe_hardware(fabric, autocast=False).endswith(" threads), 32-true")


def test_the_variables_of_a_scheduler_start_nothing(monkeypatch):
    for name, value in {"NTASKS": "4", "JOB_NAME": "x", "PROCID": "1", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert make_fabric(Machine(accelerator="cpu")).world_size == 1


def test_a_users_newer_option_for_matrix_products_is_restored():
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
    try:
        with device_settings(torch.device("cuda"), tf32=False):
            assert torch.get_float32_matmul_precision() == "highest"
        assert matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
        matmul.fp32_precision = before


def test_a_user_who_wants_the_same_bits_gets_them(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    with device_settings(torch.device("cuda")):
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark


def test_torchs_global_options_are_restored():
    """A GPU's options can be set without a GPU."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    for tf32, precision in ((True, "high"), (False, "highest")):
        with device_settings(torch.device("cuda"), tf32):
            assert torch.get_float32_matmul_precision() == precision
            assert torch.backends.cudnn.benchmark
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == before


HUGE = 2**46  # more than any machine can map


@pytest.mark.parametrize(
    "work", [lambda: torch.empty(HUGE), lambda: np.empty(HUGE), lambda: bytearray(HUGE)]
)
def test_lack_of_cpu_memory_is_explained(work):
    message = "the CPU has no memory for this; take less"
    raised = pytest.raises(MemoryError, match=f"^{message}$")
    with raised as caught, memory_explained("that"), memory_explained("this", "take less"):
        work()
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), KeyError("mine")])
def test_another_error_is_not_changed(error):
    with pytest.raises(type(error)) as caught, memory_explained():
        raise error
    assert caught.value is error
