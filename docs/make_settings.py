"""Write the page of all settings, and what the command line says of them, from the code.

python docs/make_settings.py
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pytorch_vision.app.settings import FIELDS, OWNERS, Settings
from pytorch_vision.data import Augmentation
from pytorch_vision.runtime import Machine
from pytorch_vision.training import RECIPES, TrainConfig

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "settings.md"
OPTIONS = ROOT / "PyTorch_Vision" / "pytorch_vision" / "app" / "options.json"
PARTS = {
    "Data, network, output": Settings,
    "Training": TrainConfig,
    "Augmentation": Augmentation,
    "Machine": Machine,
}
INTRODUCTION = """\
# Settings

For readers who want to change something: every setting, with its default and what it means.

Most runs need five of them: `data`, `model`, `epochs`, `seed` and `weights`. You can set one in
three ways: for the notebook, by an environment variable (`S8_` and the name in capitals); by an
option of the command line, which does not read these variables,

```
S8_BATCH_SIZE=256 make run
.venv/bin/python -m pytorch_vision train --batch-size 256
```

or in the notebook's form, as `OVERRIDES = "batch_size=256"`; the most useful settings have fields
of their own there, such as `EPOCHS = 3`. An environment variable overrides the form. Only `report`
has `split`, and only the notebook has `keep_on_drive`. Unless told otherwise, `evaluate`,
`predict`, `explain`, `report`, `serve` and `export` use the weights `pretrained`; `evaluate`,
`explain` and `report` use the data that the `run.json` beside the weights names, or else all of
CIFAR-10.

The environment variable `PYTORCH_VISION_URL` names the git repository from which the notebook
clones PyTorch_Vision if that folder is not beside it.

`make docs` writes this page from the code.
"""


def page() -> str:
    """Return the page, in Markdown."""
    parts = [INTRODUCTION]
    for title, cls in PARTS.items():
        parts.append(f"## {title}\n\n| setting | default | meaning |\n| --- | --- | --- |")
        parts += [_row(name) for name in FIELDS if OWNERS[name] is cls]
        parts.append("")
    parts.append(
        "## What the recipes change\n\nThe defaults above are those of the recipe `default`. "
        "The others differ from it in these (and `few` has `filters=identity` and "
        "`conv_padding=standard`):\n\n"
        "| recipe | settings |\n| --- | --- |"
    )
    usual = _values(TrainConfig())
    for name, recipe in RECIPES.items():
        changed = {k: v for k, v in _values(recipe()).items() if v != usual[k]}
        if changed:
            listed = ", ".join(f"`{key}={value}`" for key, value in changed.items())
            parts.append(f"| `{name}` | {listed} |")
    return "\n".join(parts) + "\n"


def _row(name: str) -> str:
    option = described(name)
    default = "unset" if option["default"] in ("", None) else f"`{option['default']}`"
    choices = ", ".join(f"`{value}`" for value in option["choices"])
    listed = f" ({choices})" if choices else ""
    return f"| `{name}` | {default} | {option['description']}{listed} |"


def options() -> str:
    """Return what the command line says of each setting, as JSON."""
    return json.dumps({name: described(name) for name in FIELDS}, indent=1) + "\n"


def described(name: str) -> dict[str, Any]:
    """Return the description, default and choices of a setting."""
    field = FIELDS[name]
    return {
        "description": field.description,
        "default": field.get_default(call_default_factory=True),
        "choices": choices_of(field.annotation),
    }


def choices_of(annotation: Any) -> list[str]:
    """Return the values that a type lists, if it lists all of them."""
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is Literal:
        return parts
    listed = [choices_of(part) for part in parts]
    return [one for values in listed for one in values] if all(listed) else []


def _values(config: TrainConfig) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if name in FIELDS} | {
        name: value for name, value in vars(config.augmentation).items() if name in FIELDS
    }


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    OPTIONS.write_text(options(), encoding="utf-8")
