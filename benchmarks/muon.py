"""The time of a Muon step on ResNet18's filters, with matrix products in each dtype.

    python benchmarks/muon.py

Measured in turn in one run: each dtype, and the chosen one with the iteration as its authors wrote
it, on the whole matrix instead of the square of its shorter side. A dtype that a device emulates in
software, as most CPUs do bfloat16, is slow here.
"""

import time

import torch
from torch import Tensor, nn

from pytorch_vision.models import ResNet18
from pytorch_vision.runtime.devices import fast_dtype, make_fabric
from pytorch_vision.training import muon

TYPES = (torch.float32, torch.bfloat16, torch.float16)
ROUNDS = 3


def written_out(matrices: Tensor) -> Tensor:
    """Compute ``orthogonalized`` with each iteration on the whole matrix."""
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True)
    x = x.to(fast_dtype(x.device))
    a, b, c = muon.NEWTON_SCHULZ
    for _ in range(muon.NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def main() -> None:
    device = make_fabric().device
    chosen, wait = fast_dtype(device), torch.cuda.synchronize if device.type == "cuda" else int
    model = ResNet18().to(device)
    filters = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    for weight in filters:
        weight.grad = torch.randn_like(weight)
    ways = {str(dtype).removeprefix("torch."): (dtype, muon.orthogonalized) for dtype in TYPES}
    ours = str(chosen).removeprefix("torch.")
    ways["whole matrix"] = (chosen, written_out)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, (dtype, way) in ways.items():
            muon.fast_dtype = lambda _device, dtype=dtype: dtype
            muon.orthogonalized = way
            optimizer = muon.FilterMuon(filters, lr=1e-3)
            for _ in range(2):  # the second is captured as a CUDA graph
                optimizer.step()
            wait()
            start = time.perf_counter()
            optimizer.step()
            wait()
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        print(f"{name:12} {seconds:8.4f} s{'  (chosen)' if name == ours else ''}")
    others = min(best[name] for name in best if name not in (ours, "whole matrix"))
    print(
        f"chosen_ratio={others / best[ours]:.2f} "
        f"whole_matrix_ratio={best['whole matrix'] / best[ours]:.2f}"
    )


if __name__ == "__main__":
    main()
