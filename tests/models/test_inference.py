import torch

from pytorch_vision.models.inference import scaled_down


def test_scaling_down_does_not_shift_images():
    """At three quarters of the size, the edge between two halves stays between them."""
    images = torch.zeros(2, 3, 32, 48)
    images[:, :, :, 24:] = 1.0
    small = scaled_down(images, 0.75)
    assert small.shape == (2, 3, 24, 36)
    assert torch.allclose(small[..., :17], torch.zeros(()), atol=1e-6)
    assert torch.allclose(small[..., 19:], torch.ones(()))
    assert torch.equal(scaled_down(images, 1.0), images)


def test_no_side_becomes_too_small_for_networks():
    assert scaled_down(torch.ones(1, 3, 20, 224), 0.5).shape == (1, 3, 16, 112)
    assert scaled_down(torch.ones(1, 3, 8, 16), 0.5).shape == (1, 3, 8, 16)
