import sys
from types import ModuleType

import pytest
import torch

from pytorch_vision.runtime import Machine, launch, start_processes


def test_too_many_devices_are_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    numbers = launch._devices_and_nodes
    assert numbers("auto", "cuda") == (2, 1)
    assert numbers(1, "cuda") == (1, 1)
    assert start_processes(Machine(accelerator="cpu", devices="auto")).world_size == 1
    with pytest.raises(
        ValueError, match=r"devices is 3, but the number of 'cuda' devices here is 2"
    ):
        start_processes(Machine(accelerator="cuda", devices=3, precision="32-true"))


def test_torchrun_decides_the_number_of_processes(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "8")
    numbers = launch._devices_and_nodes
    assert numbers(1, "cpu") == numbers("auto", "cpu") == numbers(4, "cpu") == (4, 2)
    with pytest.raises(ValueError, match=r"devices is 3, but torchrun started 4 process\(es\)"):
        start_processes(Machine(accelerator="cpu", devices=3))


@pytest.mark.parametrize("kind", ["interactive", "code", "changed folder"])
def test_several_devices_without_a_script_are_refused_in_one_sentence(monkeypatch, kind, tmp_path):
    """Python is interactive, runs code from its command line, or its script's path is not valid."""
    monkeypatch.setattr(launch, "is_interactive", lambda: kind == "interactive")
    if kind == "code":
        monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    if kind == "changed folder":
        script = str(tmp_path / "train.py")
        monkeypatch.setattr(sys.modules["__main__"], "__file__", script, raising=False)
        monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(ValueError, match="devices is 2") as caught:
        start_processes(Machine(accelerator="cpu", devices=2, precision="32-true"))
    assert str(caught.value) == (
        "devices is 2, but this program cannot be started again, because it is no script or has "
        "changed its folder: run python -m pytorch_vision train --devices 2, or a script of your "
        "own with torchrun --nproc-per-node 2"
    )
