import tracemalloc

import albumentations as A
import numpy as np
import pytest
import torch

from pytorch_vision.data import Normalization, denormalize
from pytorch_vision.data.normalization import Normalizer

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NORMALIZATION = Normalization(MEAN, STD)


def test_normalisation_equals_albumentations_bit_by_bit(few):
    """So a user's own pipeline that ends with ``A.Normalize`` gives a network the same input."""
    images = few.train_images[:10]
    found = Normalizer(NORMALIZATION)(torch.from_numpy(images))
    theirs = A.Normalize(MEAN, STD)
    expected = np.stack([theirs(image=image)["image"] for image in images])
    assert found.dtype == torch.float32
    assert np.array_equal(found.permute(0, 2, 3, 1), expected)
    np.testing.assert_allclose(expected, (images / 255 - MEAN) / STD, atol=1e-5)


def test_denormalisation_undoes_it_in_a_new_tensor(few):
    tensor = Normalizer(NORMALIZATION)(torch.from_numpy(few.train_images))
    before = tensor.clone()
    back = denormalize(tensor, NORMALIZATION)
    assert torch.equal(tensor, before)
    np.testing.assert_allclose(back.permute(0, 2, 3, 1), few.train_images / 255, atol=1e-6)
    assert denormalize(torch.full((2, 3, 4, 4), 99.0), NORMALIZATION).max() == 1


def test_mean_and_standard_deviation_equal_numpys(few):
    pixels = few.train_images.reshape(-1, 3) / 255
    found = Normalization.of(few.train_images)
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-9)
    with pytest.raises(ValueError, match="no images from which to compute mean"):
        Normalization.of(few.train_images[:0])


def test_large_images_are_counted_in_parts():
    tracemalloc.start()
    Normalization.of(np.broadcast_to(np.uint8(7), (100, 512, 512, 3)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e8


def test_a_channel_of_equal_pixels_can_be_normalised(few):
    images = few.train_images.copy()
    images[..., 1] = 77
    found = Normalization.of(images)
    assert found.std[1] == 1
    assert found.mean[1] == pytest.approx(77 / 255)
    assert np.isfinite([found.mean, found.std]).all()


def test_a_normalisation_is_plain_numbers():
    """Whatever type they had: normalisations are compared, and written into weights files."""
    given = Normalization(np.float32([0, 0.5, 1]), [1, 2, 3])
    assert given == Normalization((0.0, 0.5, 1.0), (1.0, 2.0, 3.0))
    assert str(given) == "Normalization(mean=(0.0, 0.5, 1.0), std=(1.0, 2.0, 3.0))"


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0, 0, 0), (1, 0, 1)),
        ((0, 0), (1, 1)),
        ((0, 0, 0), (1, 1)),
        ((0, 0, float("nan")), (1, 1, 1)),
        (None, "abc"),
    ],
)
def test_other_values_are_refused(mean, std):
    with pytest.raises(ValueError, match=r"mean is .* and std is .*, expected three numbers each"):
        Normalization(mean, std)


def test_a_users_default_device_changes_nothing():
    with torch.device("meta"):
        normalizer = Normalizer(Normalization((0.5,) * 3, (0.2,) * 3))
    assert {buffer.device.type for buffer in normalizer.buffers()} == {"cpu"}
