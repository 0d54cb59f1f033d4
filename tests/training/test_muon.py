import pytest
import torch
from torch import nn

from pytorch_vision.training.muon import FilterMuon, orthogonalized

SHAPES = [(8, 3, 3, 3), (16, 8, 3, 3), (16, 8, 3, 3)]


def test_a_step_is_that_of_torchs_muon():
    """Over three steps, up to bfloat16's rounding; torch's takes matrices only, one at a time."""
    weights = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    matrices = [nn.Parameter(weight.detach().clone().flatten(1)) for weight in weights]
    ours = FilterMuon(weights, lr=0.1)
    theirs = torch.optim.Muon(
        matrices, lr=0.1, weight_decay=0.0, momentum=0.6, nesterov=True, ns_steps=3
    )
    for _ in range(3):
        for weight, matrix in zip(weights, matrices, strict=True):
            weight.grad = torch.randn_like(weight)
            matrix.grad = weight.grad.flatten(1).clone()
            with torch.no_grad():
                matrix.mul_(len(matrix) ** 0.5 / matrix.norm())
        ours.step()
        theirs.step()
    for weight, matrix in zip(weights, matrices, strict=True):
        assert torch.allclose(weight.flatten(1), matrix, atol=3e-3)


def test_weights_keep_their_norms_if_that_is_asked_for():
    """And move as far, by their own size, as weights of the usual norm do."""
    first = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    usual = nn.Parameter(first * 8**0.5 / first.norm())
    kept = nn.Parameter(0.1 * usual.detach())
    zeros = [nn.Parameter(torch.zeros_like(first)) for _ in range(2)]  # as in some residual blocks
    for weight, keeps_norms in zip([usual, kept, *zeros], [False, True, False, True], strict=True):
        weight.grad = first.flip(0)
        FilterMuon([weight], lr=0.1, keeps_norms=keeps_norms).step()
    assert kept.norm().item() == pytest.approx(0.1 * 8**0.5)
    assert torch.allclose(kept / kept.norm(), usual / usual.norm(), atol=1e-6)
    assert all(0 < zero.norm() < 8 for zero in zeros)  # they can be trained, too


@pytest.mark.parametrize("shape", [(2, 16, 144), (1, 8, 8), (1, 30, 5)])
def test_orthogonalized_is_three_iterations_on_the_whole_matrix(shape):
    """Though it computes them with the square of the shorter side; singular values are near 1."""
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    x = matrices.double() / matrices.double().norm(dim=(1, 2), keepdim=True)
    for _ in range(3):
        x = 3.4445 * x - 4.7750 * x @ x.mT @ x + 2.0315 * x @ x.mT @ x @ x.mT @ x
    found = orthogonalized(matrices)
    assert (found - x).norm() < 0.02 * x.norm()
    singular = torch.linalg.svdvals(orthogonalized(1e-4 * matrices))
    assert singular.max() < 1.4
    assert singular.median() > 0.6


def test_float16_orthogonalizes_as_well_as_bfloat16(monkeypatch):
    """As on GPUs that have no bfloat16; gradients times a scaler's scale must not overflow."""
    matrices = 1e6 * torch.randn(2, 64, 576, generator=torch.Generator().manual_seed(0))
    found = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        monkeypatch.setattr(
            "pytorch_vision.training.muon.fast_dtype", lambda _device, dtype=dtype: dtype
        )
        found[dtype] = orthogonalized(matrices)
    errors = {
        dtype: float((found[dtype] - found[torch.float32]).norm() / found[torch.float32].norm())
        for dtype in (torch.float16, torch.bfloat16)
    }
    assert errors[torch.float16] < errors[torch.bfloat16] < 0.02
