import pydoc
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from pydantic import Field, model_validator

from pytorch_vision.runtime.checks import (
    checked_dataclass,
    height_and_width,
    whole_number,
)


@checked_dataclass
class Recipe:
    """One field of each kind."""

    count: Annotated[int, Field(ge=1, description="how many")] = 1
    rate: Annotated[float | None, Field(gt=0, allow_inf_nan=False, description="how fast")] = None
    kind: Annotated[Literal["a", "b"], Field(description="of which kind")] = "a"

    @model_validator(mode="after")
    def check(self) -> "Recipe":
        if self.kind == "b" and self.count == 1:
            raise ValueError("one of kind b is no recipe")
        return self


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count is 0, expected 1 or more"),
        ({"count": "many"}, "count is 'many', expected a whole number"),
        ({"rate": float("nan")}, "rate is nan, expected a finite number"),
        ({"kind": "c"}, "kind is 'c', expected 'a' or 'b'"),
        ({"count": 0, "kind": "c"}, "count is 0, expected .*; kind is 'c', expected 'a' or 'b'"),
        ({"kind": "b"}, "one of kind b is no recipe"),
        ({"size": 3}, "there is no setting 'size'"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(values, message):
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        Recipe(**values)
    assert type(caught.value) is ValueError
    assert caught.value.__suppress_context__  # pydantic's own, longer one is not shown


def test_text_and_numpys_numbers_are_converted():
    assert Recipe(count="2", rate="0.5") == Recipe(2, 0.5)
    assert Recipe(count=np.int64(2), rate=np.float32(0.5)) == Recipe(2, 0.5)
    assert type(Recipe(count=np.int64(2)).count) is int


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        Recipe().count = 3


def test_help_shows_the_fields_as_they_are_declared():
    text = pydoc.plain(pydoc.render_doc(Recipe))
    assert "Recipe(count: int = 1, rate: float | None = None, kind: Literal['a', 'b']" in text
    assert "rate: how fast" in text
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
