import pydoc

import albumentations as A
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2

from pytorch_vision.data import Augmentation
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.checks import height_and_width, whole_number
from pytorch_vision.training import TrainConfig

WRONG = {
    TrainConfig: [
        ({"epochs": -1}, "epochs is -1, expected 0 or more"),
        ({"epochs": "many"}, "epochs is 'many', expected a whole number"),
        ({"optimizer": "adam"}, "optimizer is 'adam', expected 'muon', 'sgd' or 'adamw'"),
        ({"learning_rate": 0}, "learning_rate is 0, expected more than 0"),
        ({"muon_learning_rate": -0.1}, "muon_learning_rate is -0.1, expected more than 0"),
        ({"momentum": 1}, "momentum is 1, expected less than 1"),
        ({"progressive_resizing": 1}, "progressive_resizing is 1, expected less than 1"),
        ({"learning_rate": float("inf")}, "learning_rate is inf, expected a finite number"),
        ({"momentum": float("nan")}, "momentum is nan, expected .*"),
        ({"accelerator": "cpu"}, "there is no setting 'accelerator'"),
        (
            {"epochs": -1, "optimizer": "adam"},
            "epochs is -1, expected .*; optimizer is 'adam', expected .*",
        ),
    ],
    Augmentation: [
        ({"padding": -1}, "padding is -1, expected 0 or more"),
        ({"flip": "vertical"}, "flip is 'vertical', expected 'alternating', 'random' or 'none'"),
        ({"cutout": 15}, "cutout is 15, expected a multiple of 2"),
        ({"cutout_probability": 1.5}, "cutout_probability is 1.5, expected 1 or less"),
        ({"steps": ["flip"]}, "steps has 'flip', expected albumentations transforms"),
        ({"steps": 3}, "steps is 3, expected a list of albumentations transforms"),
        ({"steps": [A.HorizontalFlip(), A.Normalize()]}, "steps has Normalize: leave it out.*"),
        ({"steps": [ToTensorV2()]}, "steps has ToTensorV2: leave it out.*"),
        ({"steps": [A.OneOf([A.Sequential([A.Normalize(p=0.1)])])]}, "steps has Normalize.*"),
    ],
    Machine: [
        ({"accelerator": "tpu"}, "accelerator is 'tpu', expected 'auto', 'cpu', 'cuda' or 'mps'"),
        ({"precision": "fp8"}, "precision is 'fp8', expected 'auto' or '32-true', 'bf16-mixed' .*"),
        ({"devices": 0}, "devices is 0, expected 1 or more or 'auto'"),
        ({"devices": "many"}, "devices is 'many', expected a whole number or 'auto'"),
        ({"devices": 1.5}, "devices is 1.5, expected a whole number.*"),
    ],
}


@pytest.mark.parametrize(
    ("settings", "values", "message"), [(one, *row) for one, rows in WRONG.items() for row in rows]
)
def test_a_wrong_value_is_named_in_one_line(settings, values, message):
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        settings(**values)
    assert type(caught.value) is ValueError
    assert caught.value.__suppress_context__  # pydantic's own, longer one is not shown
    assert len(str(caught.value).splitlines()) == 1


def test_a_wrong_value_without_a_keyword_is_named():
    with pytest.raises(ValueError, match=r"^flip is 'vertical', .*; cutout is 7, expected a mult"):
        Augmentation(4, "vertical", 7)


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        TrainConfig().epochs = 3


def test_help_shows_the_fields_as_they_are_declared():
    text = pydoc.plain(pydoc.render_doc(TrainConfig))
    assert "TrainConfig(epochs: int = 20, " in text
    assert "learning_rate: " in text
    assert "FieldInfo(" not in text.partition("Methods defined here")[0]


def whole_size(value: object) -> int:
    return whole_number(value, "size")


@pytest.mark.parametrize(
    ("check", "values", "expected"),
    [
        (whole_size, [3, 3.0, np.int8(3), np.float64(3), np.array(3), torch.tensor(3)], 3),
        (height_and_width, [32, np.int64(32), (32, 32), [32, 32], np.array([32, 32])], (32, 32)),
    ],
)
def test_numbers_of_numpy_and_torch_are_converted(check, values, expected):
    for value in values:
        found = check(value)
        assert found == expected
        assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (whole_size, [2.5, np.float32(2.5), None, "many", [3], float("nan")]),
        (height_and_width, [0, (32, 0), (32,), (1, 2, 3), "large", 1.5]),
    ],
)
def test_another_value_is_named(check, values):
    for value in values:
        with pytest.raises(ValueError, match=r"^size is .*, expected "):
            check(value)
