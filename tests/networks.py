"""Custom networks: what trains in a plain PyTorch loop must train here, and load again."""

import random
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from small import tiny_network
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


class Body(nn.Module):
    """Two convolutions and a linear layer; the networks below each differ in one thing."""

    def __init__(self, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 2, 1)
        self.conv2 = nn.Conv2d(width, width, 3, 2, 1)
        self.linear = nn.Linear(width, 10)

    def features(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x).relu()).relu()

    def head(self, maps: Tensor) -> Any:
        return self.linear(maps.mean((2, 3)))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x))


class Viewed(Body):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8 * 8 * 8, 10)

    def head(self, maps: Tensor) -> Tensor:
        return self.linear(maps.view(maps.size(0), -1))


class ViewedInTraining(Body):
    """Like an auxiliary classifier, it needs contiguous maps in training mode only."""

    def head(self, maps: Tensor) -> Tensor:
        return super().head(maps.view(len(maps), -1).view(maps.shape) if self.training else maps)


class TwoNames(Body):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(self.conv1, nn.ReLU(), self.conv2)
        self.again = nn.Conv2d(8, 8, 3, 2, 1)
        self.again.weight = self.conv2.weight

    def features(self, x: Tensor) -> Tensor:
        return self.again(self.backbone(x).relu())


class Odd(Body):
    """A counter, a bool mask, an empty buffer, a mask of minus infinity and a float64 scale."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("used", torch.zeros(10, dtype=torch.bool))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("mask", torch.full((3,), -torch.inf))
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def head(self, maps: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            self.used[0] = True
        weights = torch.cat([self.mask, torch.zeros(5)]).softmax(0) + 1
        return (self.linear(maps.mean((2, 3)) * weights).double() * self.scale).float()


class Answering(Body):
    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.wrap = wrap

    def head(self, maps: Tensor) -> Any:
        return self.wrap(super().head(maps), maps)


class Chancy(Body):
    """Draws from all random states: torch's, NumPy's and Python's."""

    def head(self, maps: Tensor) -> Tensor:
        x = F.dropout(maps.mean((2, 3)), 0.2, self.training)
        if self.training:
            x = x * (1 + 0.1 * random.random()) + 0.1 * float(np.random.rand())
        return self.linear(x)


class ThroughNumpy(Body):
    def head(self, maps: Tensor) -> Tensor:
        return super().head(maps / float(maps.detach().numpy().max() + 1))  # has no bfloat16


class Squeezed(Body):
    def head(self, maps: Tensor) -> Tensor:
        return F.log_softmax(self.linear(F.adaptive_avg_pool2d(maps, 1).squeeze()), dim=1)


class Remembering(Body):
    """Stores its features, also by a hook, and a table that it makes in its first forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.table = [], None
        self.conv1.register_forward_hook(self.keep)

    def keep(self, _layer: nn.Module, _inputs: Any, maps: Tensor) -> None:
        self.seen = [maps]

    def head(self, maps: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.arange(10.0) / 10
        self.last = maps
        return super().head(maps + self.seen[0].mean()) * (1 + self.table)


class Foreign(Body):
    """Its state dict holds extra state that is no tensor, and that no file may hold.

    It checks the version of its weights, as MNASNet does, and its loader has an old signature.
    """

    steps, _version = 0, 2

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return super().forward(x)

    def get_extra_state(self) -> Any:
        return {"steps": self.steps, "kind": object}

    def set_extra_state(self, state: Any) -> None:
        self.steps = state["steps"]

    def load_state_dict(self, state_dict: Any, strict: bool = True) -> Any:
        return super().load_state_dict(state_dict, strict)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local: Any, *rest: Any) -> None:
        assert local.get("version") == 2
        super()._load_from_state_dict(state_dict, prefix, local, *rest)


class OfChannels(Body):
    """BatchNorm after pooling: it cannot be trained on a batch of one image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def head(self, maps: Tensor) -> Tensor:
        return self.linear(self.norm(maps.mean((2, 3))))


def lazy() -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(8, 3, 2), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
    )


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = Body()
    norm(network.conv1)
    norm(network.conv2)
    return network


def frozen() -> nn.Module:
    network = tiny_network()
    network[0].requires_grad_(False)
    return network


class OnePool(nn.Module):
    """PyTorch's tutorial: one pooling, called twice."""

    def __init__(self, again: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.last = again or self.pool
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(F.relu(self.conv2(self.pool(F.relu(self.conv1(x))))))
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class Full(OnePool):
    """Runs out of memory at a call, counted from 1, and at every call after it."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.call, self.calls = call, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls >= self.call:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(x)


class FrozenNorm(Body):
    """With a common snippet, which forgets that ``train`` returns the network."""

    def train(self, mode: bool = True) -> Any:
        super().train(mode)


class FrozenBelow(Body):
    """Its features are calculated under ``no_grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.below = nn.Sequential(self.conv1, nn.ReLU(), self.conv2, nn.ReLU())

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return self.below(x)


class WithHook(Body):
    """Keeps its features by a hook that closes over the network."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}
        self._hooks: list[Any] = []  # a usual name, which is none of torch's

        @torch.enable_grad()
        def keep(layer: nn.Module, inputs: Any, maps: Tensor) -> None:
            self.kept.update(maps=maps)

        self._hooks.append(self.conv2.register_forward_hook(keep))

    def head(self, maps: Tensor) -> Tensor:
        return super().head(self.kept.pop("maps").relu())


class WithLock(Body):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1.lock, self.functions = threading.Lock(), torch.nn.functional
        self.stages = {"first": self.conv1}

    def features(self, x: Tensor) -> Tensor:
        return self.conv2(self.stages["first"](x).relu()).relu()


class Checkpointed(Body):
    """Computes a layer again in the backward pass, to save memory."""

    def __init__(self, reentrant: bool = True) -> None:
        super().__init__()
        self.reentrant = reentrant

    def features(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu()
        if torch.is_grad_enabled():
            return checkpoint(self.conv2, x, use_reentrant=self.reentrant).relu()
        return self.conv2(x).relu()


class FromScratch(Body):
    """Normalises by statistics that are plain attributes, as in a textbook."""

    def __init__(self) -> None:
        super().__init__()
        self.moving_mean = torch.zeros(8, 1, 1)

    def features(self, x: Tensor) -> Tensor:
        x = super().features(x)
        if self.training:
            mean = x.detach().mean((0, 2, 3))[:, None, None]
            self.moving_mean = 0.5 * self.moving_mean + 0.5 * mean
            return x - mean
        return x - self.moving_mean


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "view": Viewed,
    "view in training": ViewedInTraining,
    "two names": TwoNames,
    "odd buffers": Odd,
    "tuple": lambda: Answering(lambda logits, x: (logits, x)),
    "dictionary": lambda: Answering(lambda logits, x: {"features": x, "logits": logits}),
    "object": lambda: Answering(lambda logits, x: SimpleNamespace(logits=logits)),
    "chance": Chancy,
    "numpy": ThroughNumpy,
    "squeeze": Squeezed,
    "remembering": Remembering,
    "one channel": lambda: Body(1),
    "one channel, flat": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 10)),
    "norm of features": OfChannels,
    "lazy": lazy,
    "weight_norm": lambda: normed(torch.nn.utils.weight_norm),
    "spectral_norm": lambda: normed(torch.nn.utils.spectral_norm),
    "new weight_norm": lambda: normed(parametrizations.weight_norm),
    "scripted": lambda: torch.jit.script(tiny_network()),
    "traced": lambda: torch.jit.trace(tiny_network().eval(), torch.zeros(2, 3, 32, 32)),
    "foreign state": Foreign,
    "frozen": frozen,
    "one pooling": OnePool,
    "no answer to train": FrozenNorm,
    "frozen below": FrozenBelow,
    "half": lambda: tiny_network().half(),
    "hook": WithHook,
    "lock": WithLock,
    "checkpoint": Checkpointed,
}


def made(kind: str) -> nn.Module:
    """Return a network of the table, with weights of seed 0."""
    torch.manual_seed(0)
    return NETWORKS[kind]()
