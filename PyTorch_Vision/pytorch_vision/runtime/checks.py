"""Dataclasses that check the values of their fields and name wrong ones in one line.

A field is declared once, with its type, range, default and description::

    epochs: int = Field(default=20, ge=0, description="passes over the images")

pydantic checks and converts the values: text from a command line, numbers from NumPy.
"""

import functools
import inspect
from inspect import Parameter
from typing import Any, TypeVar, dataclass_transform, get_type_hints

import numpy as np
import pydantic
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Class = TypeVar("Class", bound=type)
WHOLE = TypeAdapter(int)
CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
# what was expected, by pydantic's error type; other types keep pydantic's message
EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
}


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def checked_dataclass(cls: Class) -> Class:
    """Make a class a frozen dataclass that checks its values when it is instantiated.

    Its docstring and signature, which ``help`` prints, list the fields as they are declared.

    Raises (on instantiation):
        ValueError: a value has the wrong type or is out of range; the message gives each such value
            and what was expected.
    """
    checked: Any = pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)(cls)
    make = checked.__init__

    @functools.wraps(make)
    def init(self: Any, *args: Any, **values: Any) -> None:
        try:
            make(self, *args, **values)
        except ValidationError as error:
            raise ValueError(_explained(error, tuple(declared(checked)))) from None

    checked.__init__ = init
    types, fields = get_type_hints(checked), declared(checked)
    parameters = [
        Parameter(
            name,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=field.get_default(call_default_factory=True),
            annotation=types[name],
        )
        for name, field in fields.items()
    ]
    checked.__signature__ = inspect.Signature(parameters)  # without pydantic's annotations
    described = [f"    {name}: {field.description}" for name, field in fields.items()]
    checked.__doc__ = "\n".join([inspect.getdoc(cls) or "", "\nAttributes:", *described])
    return checked


def whole_number(value: Any, name: str) -> int:
    """Return a value as an int, if it is an integer of any type or a float without a fraction.

    Raises:
        ValueError: it is not a whole number; the message begins with ``name``.
    """
    try:
        return WHOLE.validate_python(value)
    except ValidationError:
        raise ValueError(f"{name} is {value!r}, expected a whole number") from None


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return an image size as (height, width), given as that pair or as one number for both.

    Raises:
        ValueError: the sides are not whole numbers of pixels, or less than 1.
    """
    sides: Any = (size, size) if np.shape(size) != (2,) else size
    height, width = (whole_number(side, "size") for side in sides)
    if min(height, width) < 1:
        raise ValueError(f"size is {size}, expected 1 pixel or more")
    return height, width


def _explained(error: ValidationError, names: tuple[str, ...]) -> str:
    """Return pydantic's errors as one line that names each wrong value once.

    ``names`` are the dataclass's field names: pydantic numbers values that are passed by position.
    """
    found: dict[str, list[str]] = {}
    for one in error.errors():  # a union has one error for each type
        wrong, expected = _wrong_and_expected(one, names)
        if expected not in found.setdefault(wrong, []):
            found[wrong].append(expected)
    return "; ".join(wrong + " or ".join(expected) for wrong, expected in found.items())


def _wrong_and_expected(one: Any, names: tuple[str, ...]) -> tuple[str, str]:
    path = list(one["loc"])
    if path and path[0] in range(len(names)):
        path[0] = names[path[0]]
    name = ".".join(step for step in path if isinstance(step, str) and step.isidentifier())
    if one["type"] == "unexpected_keyword_argument":
        return f"there is no setting {name!r}", ""
    if one["type"] == "value_error":  # our own validators' message
        return one["msg"].removeprefix("Value error, "), ""
    expected = one["msg"].removeprefix("Input should be ")
    expected = EXPECTED.get(one["type"], expected).format(**one.get("ctx", {}))
    return f"{name} is {one['input']!r}, expected ", expected


def declared(cls: type) -> dict[str, Any]:
    """Return pydantic's ``FieldInfo`` for each field of a checked dataclass, by name."""
    fields: dict[str, Any] = cls.__pydantic_fields__  # type: ignore[attr-defined]
    return fields
