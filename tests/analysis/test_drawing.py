import warnings
from dataclasses import replace

import numpy as np
import pytest
from answers import answered
from IPython.core.formatters import DisplayFormatter
from matplotlib import font_manager, rc_context
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from pytorch_vision.analysis import drawing, galleries, plots
from pytorch_vision.analysis.drawing import finished, fit_text, new_figure
from pytorch_vision.explain import Explanation

DEJAVU = "DejaVu Sans"  # comes with matplotlib


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bird", "predicted: bird (97 %)"),
        ("Animals & Nature", "predicted: Animals &\nNature (97 %)"),
        ("golden_retriever_puppy", "predicted: golden_\nretriever_puppy (97 %)"),
    ],
)
def test_long_text_is_broken_into_lines(text, expected):
    assert fit_text(text, 1.8, lines=2, form="predicted: {} (97 %)") == expected


def test_too_long_text_loses_its_middle():
    one_line = fit_text("the first of many words and the last", 1.8)
    assert one_line.startswith("the first")
    assert one_line.endswith("the last")
    assert one_line.count("…") == 1


@pytest.mark.parametrize("name", ["x" * 300, "W" * 80, "word " * 40, "a_b-c/" * 30, "", "$" * 50])
@pytest.mark.parametrize("lines", [1, 2])
def test_no_line_exceeds_the_width(name, lines):
    text = fit_text(name, 1.8, 9, lines, "true: {} (7 %)")
    figure = new_figure(4, 2, "")
    drawn = figure.text(0, 0, text, fontsize=9)
    figure.draw_without_rendering()
    assert text.count("\n") < lines
    assert drawn.get_window_extent().width / figure.dpi <= 1.8
    assert text.replace("\n", " ").endswith("(7 %)")


def test_a_usual_text_opens_no_other_fonts(caplog):
    """matplotlib logs those whose weight it does not know, in red in a notebook."""
    for remembered in (drawing._family, drawing._largest_first, drawing._characters):
        remembered.cache_clear()
    finished(new_figure(5, 2, "a title"))
    assert not drawing._largest_first.cache_info().currsize
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bird", ["bird"]),
        ("a\tb\nc", ["a b c"]),
        ("a\u00a0b", ["a b"]),
        ("5 $", [r"5 \$"]),
        ("\udcff.png", [r"\udcff.png"]),
        ("\U0010fffd", [r"\U0010fffd"]),
        # it depends on what fonts a machine has
        ("\u732b", ["\u732b", r"\u732b"]),
        ("\U0001f408", ["\U0001f408", r"\U0001f408"]),
    ],
)
def test_characters_that_no_font_has_are_named(text, shown):
    assert fit_text(text, 9) in shown


def test_a_font_that_has_a_character_is_used():
    """Such as STIX, which comes with matplotlib too."""
    usual, other = (
        set(FT2Font(font_manager.findfont(name)).get_charmap()) for name in (DEJAVU, "STIXGeneral")
    )
    character = chr(min(other - usual))
    assert fit_text(f"a {character}", 9) == f"a {character}"
    figure = finished(new_figure(3, 2, f"a {character}"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    assert not figure.get_supxlabel()


NAMES = (
    *("\u732b", "\u72ac", "\u092c\u093f\u0932\u094d\u0932\u0940", "\u2764\ufe0f"),
    *("\U0001f408", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "a$b_c%d<e>", "new\nline"),
    *("\u0639\u0631\u0628\u064a", "\u05e2\u05d1\u05e8\u05d9\u05ea", "tab\there"),
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647",
)


def test_names_in_any_script_are_drawn_without_a_warning():
    labels = np.arange(12)
    predictions = replace(answered((labels + 1) % 12, labels, NAMES), files=NAMES)
    maps = np.zeros((12, 8, 8), np.float32)
    explained = Explanation(predictions.images[0], NAMES[:3], np.ones(3), maps[:3], NAMES[4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (
            plots.confusion_matrix(predictions, NAMES[0]),
            galleries.gradcam_gallery(predictions, maps, maps, title=NAMES[8]),
            galleries.explanation(explained),
        ):
            figure.draw_without_rendering()
            texts = [one.get_text() for axes in figure.axes for one in axes.findobj(Text)]
            escaped = any("\\u" in text for text in texts)
            assert ("no font" in figure.get_supxlabel()) == escaped


@pytest.mark.parametrize(
    "chosen",
    [
        *({"font.family": family} for family in ("Tahoma", ["Tahoma", "Arial"], "sans-serif")),
        {"text.usetex": True},
    ],
)
def test_fonts_that_are_not_installed_and_latex_are_left_out_without_a_word(chosen, caplog):
    with rc_context({"font.sans-serif": ["SimHei"], **chosen}):
        figure = new_figure(4, 3, "50 % of a_b")
        figure.subplots().plot([0.1, 1000])
        finished(figure).draw_without_rendering()
        assert not any(text.get_usetex() for text in figure.findobj(Text))
    assert not caplog.records


def test_a_notebook_shows_a_figure_once_and_without_pyplot():
    """As the last line of a cell, in a kernel that has not imported pyplot."""
    data, _ = DisplayFormatter().format(finished(new_figure(2, 1, "a title")))
    assert data.keys() == {"text/plain", "image/png"}
    assert data["image/png"].startswith(b"\x89PNG")
