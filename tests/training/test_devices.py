import pytest
import torch

from pytorch_vision.training import TrainConfig, devices


@pytest.mark.parametrize(
    ("flags", "dtype", "precision"),
    [
        ("fma avx2", torch.float32, "32-true"),
        ("avx2 avx512f avx512_bf16", torch.bfloat16, "bf16-mixed"),
        ("avx2 amx_bf16 amx_tile", torch.bfloat16, "bf16-mixed"),
        (None, torch.float32, "32-true"),
    ],
)
def test_a_cpu_has_bfloat16_only_in_hardware(monkeypatch, flags, dtype, precision):
    """In software, Muon's matrix products would take longer than all the rest of a step."""
    monkeypatch.setattr(devices, "_processor", lambda: {} if flags is None else {"flags": flags})
    assert devices.fast_dtype(torch.device("cpu")) is dtype
    assert devices.precision_of(TrainConfig(accelerator="cpu")) == precision
    assert devices.precision_of(TrainConfig(accelerator="cpu", precision="32-true")) == "32-true"


@pytest.mark.parametrize(
    ("capability", "dtype", "precision"),
    [((7, 5), torch.float16, "16-mixed"), ((8, 0), torch.bfloat16, "bf16-mixed")],
)
def test_a_gpu_older_than_the_a100_has_float16(monkeypatch, capability, dtype, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert devices.fast_dtype(torch.device("cuda")) is dtype
    assert devices.precision_of(TrainConfig(accelerator="cuda")) == precision
