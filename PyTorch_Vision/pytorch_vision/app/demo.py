"""A page to try a classifier on: a picture or the camera, its classes, and where it looked.

The page needs gradio, which is not installed with PyTorch_Vision.
"""

import io
import os
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pytorch_vision.analysis import Explainer, NoMapError, galleries
from pytorch_vision.explain import Explanation
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine

try:
    import gradio
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "the page needs gradio, which is not installed here: pip install 'gradio>=6'"
    ) from None

TOP = 5  # classes
LARGEST = "50mb"  # of a file
ASK = "Drop a picture, or take one with the camera. Whatever it shows, the answer is one of these: "
Answer = tuple[dict[str, float] | None, Image.Image | None, str]


def launch_demo(classifier: Classifier, machine: Machine | None = None, **options: Any) -> None:
    """Open a page to try a classifier on, by default only for browsers on this machine.

    In a notebook the page appears below the cell, and ``gradio.close_all()`` ends it. A program
    waits here until Ctrl-C.

    Args:
        classifier: if its network gives a map, the page also shows where it looked.
        machine: where it predicts; ``Machine()`` if None.
        options: arguments of gradio's ``launch``, such as ``server_port=8000``. With
            ``server_name="0.0.0.0"``, other machines of the network can open the page; with
            ``share=True``, anyone can, through gradio's servers.

    Raises:
        OSError: no port is free.
    """
    try:
        explainer, no_map = Explainer(classifier), ""
        explainer.explain(np.zeros((*classifier.size, 3), np.uint8), machine=machine)
    except NoMapError as reason:
        explainer, no_map = None, f"\nNo map: {reason}"
    ask = ASK + textwrap.shorten(", ".join(classifier.class_names), 400, placeholder=" …")

    def answer(path: str | None) -> Answer:
        if path is None:
            return None, None, ask
        try:
            content = Path(path).read_bytes()  # keeps the name of gradio's copy out of messages
            image, summary = classifier.read(content)
            shares = dict(classifier.classify(image, TOP, machine))
            drawn = _drawn(explainer.explain(image, machine=machine)) if explainer else None
        except (ValueError, OSError, MemoryError) as error:
            return None, None, str(error)
        return shares, drawn, summary + no_map

    # pictures are deleted when the page ends, or after a day
    with gradio.Blocks(title="Try it", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        with gradio.Row():
            picture: Any = gradio.Image(type="filepath", label="Picture")
            # gradio would open the file before us, with messages that are not for users
            picture.preprocess = lambda file: file and file.path
            classes = gradio.Label(label="Classes")
        said = gradio.Textbox(ask, label=str(classifier))
        maps = gradio.Image(format="png", show_label=False, buttons=[], visible=bool(explainer))
        picture.change(answer, picture, [classes, maps, said])
    # gradio asks its own page whether it is there
    direct = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    hosts = {one for text in (*direct, "localhost,127.0.0.1") for one in text.split(",") if one}
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(sorted(hosts))
    try:
        page.launch(**{"share": False, "max_file_size": LARGEST} | options)
    except OSError as error:  # gradio's advice is about its own settings
        message = str(error).partition(". ")[0]
        raise OSError(f"{message}: another page may use it, so choose another port") from error


def _drawn(explained: Explanation) -> Image.Image:
    png = io.BytesIO()
    galleries.explanation(explained, "Where the network looked").savefig(png, format="png")
    return Image.open(png)
