"""The settings of the augmentation, which ``views`` applies to training images."""

from collections.abc import Sequence
from typing import Any, Literal

import albumentations as A
from albumentations.pytorch import ToTensor3D, ToTensorV2
from pydantic import Field, field_validator

from pytorch_vision.runtime.checks import checked_dataclass

DONE_AFTERWARDS = (A.Normalize, ToTensorV2, ToTensor3D)


@checked_dataclass
class Augmentation:
    """How to augment training images.

    Raises:
        ValueError: a value is out of range, or a step is not an albumentations transform.
    """

    padding: int = Field(
        default=4,
        ge=0,
        description="pixels of the mean colour that are added on every side before a random "
        "crop of the image's size; 0: no crop",
    )
    flip: Literal["alternating", "random", "none"] = Field(
        default="alternating",
        description="how images are mirrored: random: with probability 1/2; alternating: each "
        "image in every other epoch (arXiv 2404.00498); none: never, for letters or arrows",
    )
    cutout: int = Field(
        default=16,
        ge=0,
        multiple_of=2,
        description="side in pixels of a square hole filled with the mean colour, which may "
        "extend over the edge (CutOut, arXiv 1708.04552); 0: no hole",
    )
    cutout_probability: float = Field(
        default=0.5, ge=0, le=1, description="probability that an image has a hole"
    )
    steps: Sequence[Any] | None = Field(
        default=None,
        description="a list of albumentations transforms that replaces all of the above. They "
        "take a uint8 image (H, W, 3) and return one of the same size, on the CPU, one by one",
    )

    @field_validator("steps", mode="plain")
    @classmethod
    def _check_steps(cls, steps: Any) -> Any:
        if steps is not None and not isinstance(steps, Sequence):
            raise ValueError(f"steps is {steps!r}, expected a list of albumentations transforms")
        ahead = list(steps or ())
        while ahead:
            step = ahead.pop(0)
            if not isinstance(step, (A.BasicTransform, A.BaseCompose)):
                raise ValueError(f"steps has {step!r}, expected albumentations transforms")
            if isinstance(step, DONE_AFTERWARDS):
                raise ValueError(
                    f"steps has {type(step).__name__}: leave it out, as every image is normalised "
                    "after the steps, with the classifier's mean and standard deviation, and made "
                    "into a tensor"
                )
            if isinstance(step, A.BaseCompose):
                ahead += step.transforms
        return steps
