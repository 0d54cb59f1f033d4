"""What a step of Muon costs on ResNet18's filters, in each type that its products can be made in.

    python benchmarks/muon.py

In turn in one run, on whatever device there is. A type that a device has only in software shows
here: on a CPU without it, bfloat16 takes half a minute a step.
"""

import time

import torch
from torch import nn

from pytorch_vision.models import ResNet18
from pytorch_vision.training import TrainConfig, make_fabric, optimizers
from pytorch_vision.training.devices import fast_dtype

TYPES = (torch.float32, torch.bfloat16, torch.float16)
ROUNDS = 2


def main() -> None:
    device = make_fabric(TrainConfig()).device
    chosen, wait = fast_dtype(device), torch.cuda.synchronize if device.type == "cuda" else int
    model = ResNet18().to(device)
    filters = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    for weight in filters:
        weight.grad = torch.randn_like(weight)
    best = dict.fromkeys(TYPES, float("inf"))
    for _ in range(ROUNDS):
        for dtype in TYPES:
            optimizers.fast_dtype = lambda _device, dtype=dtype: dtype
            muon = optimizers.FilterMuon(filters, lr=1e-3)
            wait()
            start = time.perf_counter()
            muon.step()
            wait()
            best[dtype] = min(best[dtype], time.perf_counter() - start)
    for dtype, seconds in best.items():
        name = str(dtype).removeprefix("torch.")
        print(f"{name:8} {seconds:8.4f} s{'  (chosen)' if dtype == chosen else ''}")
    others = [seconds for dtype, seconds in best.items() if dtype != chosen]
    print(f"chosen_ratio={min(others) / best[chosen]:.2f}")


if __name__ == "__main__":
    main()
