"""Figures whose texts are drawn literally, within bounds, in fonts that have their characters.

Names of classes, files and folders are arbitrary. In a figure they are never parsed as formulas,
never overlap, and no character is drawn as an empty box.
"""

import bisect
import io
import re
import textwrap
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

from matplotlib import font_manager, rc_context, rcParams
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from pytorch_vision.runtime.text import cut

DPI = 110  # ten inches are then about as wide as a page of GitHub
TITLE = 11  # points
SMALL = 9  # points, of captions and of texts in a chart
LINE = 0.17  # inches, the height of a line of small text
LEFT_TO_RIGHT = "\N{LEFT-TO-RIGHT MARK}"
DEFAULT_FAMILY = "DejaVu Sans"  # comes with matplotlib
ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
MISSING = (
    r"\u… stands for a character that no font of this machine has; the page of errors shows it."
)


class NotebookFigure(Figure):
    """A figure that a notebook shows as the last line of a cell, without pyplot.

    Its texts are drawn literally, whatever matplotlib's settings say of LaTeX.
    """

    def draw(self, renderer: Any) -> None:
        with rc_context({"text.usetex": False}):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure, its size in inches, made taller if its title takes several lines."""
    text = fit_text(title, width - 0.2, TITLE, lines=3)
    size = (width, height + LINE * text.count("\n"))
    figure = NotebookFigure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(text, fontsize=TITLE)
    return figure


def finished(figure: Figure) -> Figure:
    """Give each text installed fonts that have its characters; add a note if no font has some."""
    families = _default_families()
    for axes in figure.axes:
        axes.tick_params(which="both", labelfontfamily=families)  # also for ticks made later
    texts = figure.findobj(Text)
    for text in texts:
        text.set_usetex(False)
        found = {_family(one, families) for one in text.get_text().replace("\n", "")}
        others = sorted(family for family in found if family and family not in families)
        text.set_fontfamily([*families, *others])
    if any(ESCAPED.search(text.get_text()) for text in texts):
        note = textwrap.fill(MISSING, round(14 * figure.get_size_inches()[0]))
        figure.supxlabel(note, fontsize=8, color="0.35")
    return figure


def fit_text(
    text: str, inches: float, size: float = SMALL, lines: int = 1, form: str = "{}"
) -> str:
    """Return a text that matplotlib draws literally, broken into lines of a limited width.

    Lines are at most ``inches`` wide at a font size in points. They are broken at blanks or after
    ``_-/`` if possible, else anywhere. A text that needs more than ``lines`` loses its middle,
    because names often differ at their ends. ``form`` has the words around the text, which are
    never cut, as in "predicted: {} (50 %)".
    """
    families = _default_families()

    def width(line: str) -> float:
        """In inches; at few pixels, letters are a little wider than their outlines."""
        return 1.04 * sum(_advance(one, families) for one in line) * size / 72

    text = _drawable(text, families)
    if any(unicodedata.bidirectional(one) in ("R", "AL") for one in text):
        form = form.replace("{}", "{}" + LEFT_TO_RIGHT)  # keeps the words after it behind it

    def broken(kept: int) -> list[str]:
        return _broken(form.format(cut(text, kept)), inches, width)

    kept = len(text)
    if len(broken(kept)) > lines:
        kept = max(bisect.bisect(range(kept), lines, key=lambda some: len(broken(some))) - 1, 0)
    return "\n".join(broken(kept)).replace("$", r"\$")


def _broken(text: str, inches: float, width: Callable[[str], float]) -> list[str]:
    """Break a text into lines at most ``inches`` wide, or of a single character."""
    lines = [""]
    # never between a number and its percent sign
    for part in re.findall(r"[^ _/-]+[ _/-]*|[ _/-]+", text.replace(" %", "\N{NO-BREAK SPACE}%")):
        whole = width(part.rstrip()) <= inches
        for piece in [part] if whole else part:
            if lines[-1] and width(lines[-1] + piece.rstrip()) > inches:
                lines.append("")
            lines[-1] += piece
    return [line.replace("\N{NO-BREAK SPACE}%", " %").rstrip() for line in lines]


@cache
def _advance(character: str, families: tuple[str, ...]) -> float:
    """Return the width of a character, as a share of the font size."""
    font = FT2Font(_file(_family(character, families) or families[0]))
    font.set_size(100, 72)
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


def _drawable(text: str, families: tuple[str, ...]) -> str:
    """Return a text in one line, with escapes such as ``\\u732b`` for characters no font has."""
    return "".join(
        one if _family(one, families) else one.encode("ascii", "backslashreplace").decode()
        for one in " ".join(text.split())
        if unicodedata.category(one) != "Cf"  # invisible, such as a joiner
    )


def _default_families() -> tuple[str, ...]:
    """Return the installed ones of the font families that rcParams name."""
    settings: Any = rcParams
    wanted = [
        family
        for name in settings["font.family"]
        for family in settings.get(f"font.{name}", [name])  # "serif" names a list of families
    ]
    return tuple(name for name in wanted if name in _installed()) or (DEFAULT_FAMILY,)


@cache
def _family(character: str, families: tuple[str, ...]) -> str | None:
    """Return a family that has a character, preferably one of ``families``; None if none has it."""
    for family in families:
        if ord(character) in _characters(family):
            return family
    return next((one for one in _largest_first() if ord(character) in _characters(one)), None)


@cache
def _installed() -> frozenset[str]:
    return frozenset(font_manager.get_font_names())


@cache
def _largest_first() -> list[str]:
    """Return the installed families, those with the most characters first.

    Without Last Resort, which has a box for every character, and colour fonts, without outlines.
    """
    usable = [one for one in _installed() if not re.search("last resort|color", one, re.IGNORECASE)]
    return sorted(usable, key=lambda name: (-len(_characters(name)), name))


@cache
def _characters(family: str) -> frozenset[int]:
    """Return the characters of a family; none if its font cannot be read or has no outlines."""
    try:
        font = FT2Font(_file(family))
        return frozenset(font.get_charmap() if font.scalable else ())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _file(family: str) -> str:
    return font_manager.findfont(font_manager.FontProperties(family=[family]))
