import albumentations as A
import pytest
from albumentations.pytorch import ToTensorV2

from pytorch_vision.data import Augmentation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": -1}, "padding is -1, expected 0 or more"),
        ({"flip": "vertical"}, "flip is 'vertical', expected 'alternating', 'random' or 'none'"),
        ({"cutout": 15}, "cutout is 15, expected a multiple of 2"),
        ({"cutout_probability": 1.5}, "cutout_probability is 1.5, expected 1 or less"),
        ({"steps": ["flip"]}, "steps has 'flip', expected albumentations transforms"),
        ({"steps": 3}, "steps is 3, expected a list of albumentations transforms"),
        ({"steps": [A.HorizontalFlip(), A.Normalize()]}, "steps has Normalize: leave it out"),
        ({"steps": [ToTensorV2()]}, "steps has ToTensorV2: leave it out"),
        ({"steps": [A.OneOf([A.Sequential([A.Normalize(p=0.1)])])]}, "steps has Normalize"),
    ],
)
def test_a_wrong_value_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**change)


def test_a_wrong_value_without_a_keyword_is_named():
    with pytest.raises(ValueError, match=r"^flip is 'vertical', .*; cutout is 7, expected a mult"):
        Augmentation(4, "vertical", 7)
