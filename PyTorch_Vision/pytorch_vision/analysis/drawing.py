"""A figure to draw on, and anybody's texts in it: as they are, in fonts that have them, in bounds.

Names of classes, files and folders come from anybody. In a picture they are no formulas, run into
no neighbour, and have no character that is drawn as an empty box.
"""

import re
import textwrap
import unicodedata
from functools import cache

from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from pytorch_vision.runtime.text import cut

DPI = 110  # ten inches are then about as wide as a page of GitHub
TITLE = 11  # points
SMALL = 9  # points, of captions and of what stands in a chart
LINE = 0.17  # inches, the height of a line of small text
LEFT = "\N{LEFT-TO-RIGHT MARK}"
ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
MISSING = (
    r"\u… stands for a character that no font of this machine has; the page of errors shows it."
)


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of that many inches, made higher by the lines of its title."""
    text = fit(title, width - 0.2, TITLE, lines=3)
    figure = Figure(figsize=(width, height + LINE * text.count("\n")), dpi=DPI)
    figure.set_layout_engine("constrained")
    figure.suptitle(text, fontsize=TITLE)
    return figure


def finished(figure: Figure) -> Figure:
    """Give each text the fonts that its characters need, and say where no font has them."""
    texts = figure.findobj(Text)
    for text in texts:
        if families := _families(text.get_text()):
            text.set_fontfamily([*text.get_fontfamily(), *families])
    if any(ESCAPED.search(text.get_text()) for text in texts):
        note = textwrap.fill(MISSING, round(14 * figure.get_size_inches()[0]))
        figure.supxlabel(note, fontsize=8, color="0.35")
    return figure


def plain(text: str) -> str:
    """Return a text as matplotlib needs it to draw it as it is, dollar signs and all."""
    return _escaped(_drawable(text))


def fit(text: str, inches: float, size: float = SMALL, lines: int = 1, form: str = "{}") -> str:
    """Return a text, as ``plain`` does, in lines that are no wider than given.

    What is too long is broken at blanks, after ``_-/``, then anywhere; what is still too long
    loses its middle, as names often differ in their ends.

    Args:
        text: such as a name.
        inches: the width of a line.
        size: of the letters, in points.
        lines: at most so many.
        form: what stands around the text, and is never cut, as in "predicted: {} (50 %)".
    """
    text = _drawable(text)
    if any(unicodedata.bidirectional(one) in ("R", "AL") for one in text) and _drawable(LEFT):
        form = form.replace("{}", "{}" + LEFT)  # what follows is written from left to right again
    kept, too_many = 0, len(text) + 1
    while too_many - kept > 1:  # the most characters that fit; all of them, mostly
        tried = len(text) if too_many > len(text) and not kept else (kept + too_many) // 2
        if len(_broken(form.format(cut(text, tried)), inches, size)) <= lines:
            kept = tried
        else:
            too_many = tried
    return _escaped("\n".join(_broken(form.format(cut(text, kept)), inches, size)))


def _escaped(text: str) -> str:
    return text.replace("$", r"\$")


def _broken(text: str, inches: float, size: float) -> list[str]:
    """Break a text into lines, each of which is at most so wide, or a single character."""
    lines = [""]
    # a blank before a percent sign is no place to break at
    for part in re.findall(r"[^ _/-]+[ _/-]*|[ _/-]+", text.replace(" %", "\N{NO-BREAK SPACE}%")):
        whole = _width(part.rstrip(), size) <= inches
        for piece in [part] if whole else part:
            if lines[-1] and _width(lines[-1] + piece.rstrip(), size) > inches:
                lines.append("")
            lines[-1] += piece
    return [line.replace("\N{NO-BREAK SPACE}%", " %").rstrip() for line in lines]


def _width(text: str, size: float) -> float:
    """Return the width of a line of text, in inches."""
    return 1.04 * sum(map(_advance, text)) * size / 72  # at few pixels, letters are a little wider


@cache
def _advance(character: str) -> float:
    """Return how wide a character is, as a share of the size of the letters."""
    font = font_manager.get_font(_file(_family(character) or rcParams["font.family"][0]))
    font.set_size(100, 72)
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


def _drawable(text: str) -> str:
    """Return a text in one line, in characters that some font has.

    Of the others, a symbol becomes its name, as in ":cat:"; a letter its number, as in ``\\u732b``;
    and what is invisible goes.
    """
    return "".join(
        one if _family(one) is not None else _named(one) for one in " ".join(text.split())
    )


def _named(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cf" or unicodedata.name(character, "").startswith("VARIATION SELECTOR"):
        return ""
    if kind.startswith("S") and (name := unicodedata.name(character, "")):
        return f":{name.lower().replace(' ', '_')}:"
    return character.encode("ascii", "backslashreplace").decode() if kind != "Cc" else " "


def _families(text: str) -> list[str]:
    """Return the families that a text needs beside the usual one."""
    return sorted({family for one in text if one != "\n" and (family := _family(one))})


@cache
def _family(character: str) -> str | None:
    """Return the family whose font has a character: "" for the usual one, None for no font."""
    usual = [font_manager.get_font(_file(family)) for family in rcParams["font.family"]]
    if any(font.get_char_index(ord(character)) for font in usual):
        return ""
    return _other_fonts().get(ord(character))


def _file(family: str) -> str:
    return font_manager.findfont(font_manager.FontProperties(family=[family]))


@cache
def _other_fonts() -> dict[int, str]:
    """Return a family for each character that some installed font has, the largest fonts first."""
    fonts: dict[str, list[int]] = {}
    # of each family the font that is drawn with: the one whose strokes are nearest to the usual
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda one: abs(_weight(one) - 400)):
        # the last resort draws a box for everything; a coloured font has no outlines to draw
        if entry.style != "normal" or re.search("last resort|color", entry.name, re.IGNORECASE):
            continue
        if entry.name in fonts:
            continue
        try:
            font = FT2Font(entry.fname)
            fonts[entry.name] = list(font.get_charmap()) if font.scalable else []
        except (OSError, RuntimeError, ValueError):  # not a font, or no longer there
            continue
    families: dict[int, str] = {}
    for name, characters in sorted(fonts.items(), key=lambda item: (-len(item[1]), item[0])):
        for character in characters:
            families.setdefault(character, name)
    return families


def _weight(entry: font_manager.FontEntry) -> int:
    """Return how thick a font's strokes are; 400 is usual."""
    if isinstance(entry.weight, int):
        return entry.weight
    return font_manager.weight_dict.get(entry.weight, 400)
