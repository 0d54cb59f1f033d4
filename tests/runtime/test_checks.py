from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field, model_validator

from pytorch_vision.runtime.checks import checked_dataclass, declared


@checked_dataclass
class Recipe:
    """Some fields of each kind."""

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
        ({"count": 0}, "count is 0, expected greater than or equal to 1"),
        ({"count": "many"}, "count is 'many', expected a valid integer, unable to parse .*"),
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


def test_text_and_numpys_numbers_are_taken():
    assert Recipe(count="2", rate="0.5") == Recipe(2, 0.5)
    assert Recipe(count=np.int64(2), rate=np.float32(0.5)) == Recipe(2, 0.5)
    assert type(Recipe(count=np.int64(2)).count) is int


def test_it_is_frozen_and_says_what_its_fields_are():
    with pytest.raises(AttributeError):
        Recipe().count = 3
    assert [field.description for field in declared(Recipe).values()] == [
        "how many",
        "how fast",
        "of which kind",
    ]
