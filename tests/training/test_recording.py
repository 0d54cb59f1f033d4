import contextlib

import pytest
import torch
from torch import nn

from pytorch_vision.models import ResNet18, create
from pytorch_vision.training.recording import Recordings, does_the_same


class Graph:
    """Stands for a CUDA graph: does again what was done while it was recorded, and that alone."""

    def __init__(self):
        self.works = []

    def replay(self):
        for work in self.works:
            work()


@pytest.fixture
def recorded(monkeypatch):
    """Let graphs be made without a GPU; return the works that a function hands to the device."""
    recording = []

    @contextlib.contextmanager
    def record(graph, pool):
        recording.append(graph.works)
        yield
        recording.clear()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "graph", record)
    return recording


def doubler(recording):
    """Return a function that doubles a tensor on the device, and the shapes it was called with."""
    calls = []

    def double(x):
        calls.append(tuple(x.shape))
        result = torch.empty_like(x)
        work = lambda: result.copy_(2 * x)  # noqa: E731
        if recording:
            recording[0].append(work)
        else:
            work()
        return result

    return double, calls


def test_from_its_second_call_on_a_function_is_repeated_on_new_inputs(recorded):
    double, calls = doubler(recorded)
    recordings = Recordings(enabled=True)
    for value in (1.0, 2.0, 3.0, 4.0):
        assert recordings(double, torch.full((3,), value)).tolist() == 3 * [2 * value]
    assert calls == [(3,), (3,)]


def test_inputs_of_another_shape_are_recorded_on_their_own(recorded):
    double, calls = doubler(recorded)
    recordings = Recordings(enabled=True)
    for _ in range(3):
        for count in (3, 2):
            assert recordings(double, torch.ones(count)).tolist() == count * [2.0]
    assert calls == [(3,), (2,), (3,), (2,)]


def test_two_functions_are_two_recordings(recorded):
    double, _ = doubler(recorded)
    recordings = Recordings(enabled=True)

    def negated(x):
        return -x

    recordings(double, torch.ones(2))
    assert recordings(negated, torch.ones(2)).tolist() == [-1.0, -1.0]
    assert recordings(double, torch.ones(2)).tolist() == [2.0, 2.0]


def test_without_it_a_function_is_called_each_time():
    calls = []
    recordings = Recordings(enabled=False)
    for _ in range(3):
        recordings(calls.append, torch.ones(1))
    assert len(calls) == 3


class Undecided(nn.Module):
    """A caller's own layer, which may do something else in every step."""

    def forward(self, x):
        return x


def hooked():
    model = ResNet18()
    model.layer4.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (ResNet18(), True),
        (create("CustomResNet"), True),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5)), True),
        (nn.Sequential(nn.Conv2d(3, 4, 3), Undecided()), False),
        (hooked(), False),
    ],
)
def test_networks_that_surely_do_the_same_in_every_step(model, expected):
    assert does_the_same(model) is expected
