"""Dataclasses whose fields say what they take, and refuse anything else in one line.

A field is declared once, with its type, its range, its default and a sentence::

    epochs: Annotated[int, Field(ge=0, description="passes over the images")] = 20

pydantic checks and converts what it is given: text from a command line, numbers from numpy.
"""

import functools
from typing import Any, TypeVar, dataclass_transform

import numpy as np
import pydantic
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Class = TypeVar("Class", bound=type)
WHOLE = TypeAdapter(int)
CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def checked_dataclass(cls: Class) -> Class:
    """Make a frozen dataclass that checks its values when it is made.

    Raises (when the dataclass is made):
        ValueError: a value is of another type or out of range; the message names each of them,
            and what was expected.
    """
    checked: Any = pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)(cls)
    make = checked.__init__

    @functools.wraps(make)
    def init(self: Any, *args: Any, **values: Any) -> None:
        try:
            make(self, *args, **values)
        except ValidationError as error:
            raise ValueError(explained(error, tuple(declared(checked)))) from None

    checked.__init__ = init
    return checked


def whole_number(value: Any, name: str) -> int:
    """Return a whole number, which may be numpy's, or a float without a fraction, as an int.

    Raises:
        ValueError: it is something else; says what ``name`` is.
    """
    try:
        return WHOLE.validate_python(value)
    except ValidationError:
        raise ValueError(f"{name} is {value!r}, expected a whole number") from None


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return an image's size, given as two whole numbers or as one for both.

    Raises:
        ValueError: it is something else, or less than 1.
    """
    sides: Any = (size, size) if np.shape(size) != (2,) else size
    height, width = (whole_number(side, "size") for side in sides)
    if min(height, width) < 1:
        raise ValueError(f"size is {size}, expected 1 pixel or more")
    return height, width


def explained(error: ValidationError, names: tuple[str, ...]) -> str:
    """Return in one line what pydantic found wrong, once for each value.

    Args:
        error: of a dataclass.
        names: of its fields, for values that were given by their place.
    """
    found: dict[str, list[str]] = {}
    for one in error.errors():
        wrong, expected = _explained(one, names)
        found.setdefault(wrong, []).append(expected)
    return "; ".join(wrong + " or ".join(expected) for wrong, expected in found.items())


def _explained(one: Any, names: tuple[str, ...]) -> tuple[str, str]:
    """Return what is wrong, and what was expected: of a union, each of its types is."""
    parts = list(one["loc"])
    if parts and parts[0] in range(len(names)):
        parts[0] = names[parts[0]]
    name = ".".join(part for part in parts if isinstance(part, str) and part.isidentifier())
    if one["type"] == "unexpected_keyword_argument":
        return f"there is no setting {name!r}", ""
    message = one["msg"].removeprefix("Value error, ")
    expected = message.removeprefix("Input should be ")
    if expected == message:  # a sentence of our own
        return message, ""
    return f"{name} is {one['input']!r}, expected ", expected


def declared(cls: type) -> dict[str, Any]:
    """Return pydantic's description of each field of a checked dataclass, by name."""
    fields: dict[str, Any] = cls.__pydantic_fields__  # type: ignore[attr-defined]
    return fields
