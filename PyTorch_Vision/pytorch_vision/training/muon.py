"""Muon for convolution filters: steps along an orthogonalised momentum."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pytorch_vision.runtime.cuda_graphs import CudaGraphs
from pytorch_vision.runtime.devices import fast_dtype

MOMENTUM = 0.6  # this and the number of steps suit small images
NEWTON_SCHULZ_STEPS = 3
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the coefficients that Muon's authors chose


class FilterMuon(Optimizer):
    """Muon for convolution weights, each seen as a matrix (out, in * k * k).

    Every step scales each weight to the Frobenius norm sqrt(out) and moves it along its
    orthogonalised Nesterov momentum, so the rate is the relative size of a step in every layer.
    Learned weights can keep their own norms, which frozen layers after them depend on. Weights
    of one shape are computed as one batch of matrices, which launches fewer kernels.

    Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.

    Args:
        filters: convolution weights (out, in, k, k), in any memory format.
        lr: the relative size of a step.
        keeps_norms: whether each weight has its first norm after every step, in place of sqrt(out).
    """

    def __init__(self, filters: list[nn.Parameter], lr: float, keeps_norms: bool = False) -> None:
        super().__init__(filters, {"lr": lr})
        self._keeps_norms = keeps_norms
        self._graphs = CudaGraphs(all(weight.is_cuda for weight in filters))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move the filters by their gradients; a closure is not called."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for weight in group["params"]:
                by_shape.setdefault(weight.shape, []).append(weight)
            directions = self._graphs(_all_orthogonalized, *map(self._pushed, by_shape.values()))
            for weights, moves in zip(by_shape.values(), directions, strict=True):
                _move(weights, moves, group["lr"], self._keeps_norms)

    def _pushed(self, weights: list[nn.Parameter]) -> Tensor:
        """Return the Nesterov momentum of weights of one shape, (N, out, in * k * k)."""
        every = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        gradients = torch.stack(every).flatten(2)
        state = self.state[weights[0]]  # has the momentum of all of them
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradients)
        momentum = state["momentum"].lerp_(gradients, 1 - MOMENTUM)
        return gradients.lerp(momentum, MOMENTUM)


def _move(weights: list[nn.Parameter], moves: Tensor, lr: float, keeps_norms: bool) -> None:
    out, inputs = moves.shape[1:]
    length = lr * max(1, out / inputs) ** 0.5
    for weight, move in zip(weights, moves, strict=True):
        if weight.grad is None:  # the loss does not depend on it
            continue
        norm = weight.norm()
        growth = out**0.5 / norm
        weight.mul_(growth.where(growth.isfinite(), 1))  # zero filters cannot be scaled
        weight.sub_(move.view_as(weight), alpha=length)
        if keeps_norms:
            weight.mul_((norm / weight.norm()).where(norm > 0, 1))


def _all_orthogonalized(*matrices: Tensor) -> list[Tensor]:
    return [orthogonalized(same) for same in matrices]


def orthogonalized(matrices: Tensor) -> Tensor:
    """Bring all singular values of each matrix close to one, by Newton-Schulz iterations.

    Each iteration multiplies X by a polynomial in X X'. So all of them together are one product
    with a square matrix, as large as the shorter side, computed from the first X X'. For filters,
    which are wide, that is half the work (``benchmarks/muon.py`` compares both). Products are in 16
    bits if the hardware supports them; each matrix is first divided by its norm in float32, so that
    float16 cannot overflow.

    Args:
        matrices: float32 (N, rows, columns).

    Returns:
        float32 (N, rows, columns); singular values between about 0.5 and 1.2.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x.to(fast_dtype(x.device))
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.mT
    product = factor = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand_as(gram)
    for step in range(NEWTON_SCHULZ_STEPS):
        if step > 0:  # X X' of the X after the last step; all of these matrices commute
            gram = torch.baddbmm(gram, gram, factor, beta=a)
            gram = torch.baddbmm(gram, gram, factor, beta=a)
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # plus a times the identity
        product = torch.baddbmm(product, factor, product, beta=a)
    x = product @ x
    return (x.mT if tall else x).to(matrices.dtype)
