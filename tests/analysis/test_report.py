"""The page of errors, opened in a real browser."""

import base64
import html
import io
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from answers import answered, made_up
from PIL import Image
from playwright.sync_api import Page
from small import tiny_classifier, without_data
from torch import nn

from pytorch_vision.analysis import Predictions, correctly_classified, misclassified, write_report
from pytorch_vision.analysis.calibration import describe_scaling
from pytorch_vision.analysis.galleries import overlay
from pytorch_vision.explain import baseline_maps, grad_cam, map_geometry, removal
from pytorch_vision.explain.removal import describe_removal
from pytorch_vision.models import Classifier

CORRECT = 20  # of the correct answers are on the page too


@pytest.fixture(scope="module")
def predictions(sample) -> Predictions:
    """Test images with probabilities of which about a quarter are wrong."""
    random, count = np.random.default_rng(0), 250
    labels = sample.test_labels[:count]
    logits = random.normal(size=(count, 10))
    logits[np.arange(count), labels] += 2
    some = made_up(labels, scipy.special.softmax(logits, axis=1), sample.class_names)
    return replace(some, images=sample.test_images[:count])


def write(folder: Path, predictions: Predictions, classifier: Classifier, count: int = 0) -> str:
    """Write the page of some predictions, with ``count`` correct answers, and return its text."""
    write_report(classifier, predictions, folder / "new" / "errors.html", count)
    assert os.listdir(folder / "new") == ["errors.html"]
    return (folder / "new" / "errors.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def path(sample, predictions, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write(folder, predictions, tiny_classifier(sample), CORRECT)
    return folder / "new" / "errors.html"


@pytest.fixture(scope="module")
def tab(browser) -> Page:
    return browser.new_context(offline=True).new_page()


def open_anew(tab: Page, address: str) -> None:
    """Open a page as in a new tab: from the page itself, another fragment would not open it."""
    tab.goto("about:blank")
    tab.goto(address)


@pytest.fixture
def page(tab, path):
    """The page, just opened; afterwards checks that it logged nothing and requested no other."""
    tab.set_viewport_size({"width": 1200, "height": 1000})
    complaints, requests = [], []
    listeners = {
        "console": lambda message: complaints.append(message.text),
        "pageerror": lambda error: complaints.append(str(error)),
        "request": lambda request: requests.append(request.url),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    open_anew(tab, path.as_uri())
    yield tab
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert complaints == []
    asked_for = {url.partition("#")[0] for url in requests if not url.startswith("data:")}
    assert asked_for - {"about:blank"} == {path.as_uri()}


def shown(page: Page) -> list[int]:
    """Return the indices of the visible cards, in the order on the screen."""
    cards = page.locator("#gallery > li:visible")
    return cards.evaluate_all("cards => cards.map(card => Number(card.dataset.index))")


def test_it_opens_with_every_error_in_test_order(page, predictions):
    errors = misclassified(predictions)
    assert shown(page) == errors.indices.tolist()
    assert page.locator("#shown").inner_text() == f"{len(errors)} shown"
    assert f"{len(errors)} of 250 test images" in page.locator("header").inner_text()
    assert page.locator("img").evaluate_all("all => all.every(img => img.naturalWidth === 32)")
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("th.axis").all_inner_texts() == ["Predicted class", "True class"]
    text = page.locator("#gallery > li:visible").first.inner_text()
    for kind, (label, *_) in {"true": errors.labels, "predicted": errors.predicted}.items():
        probability = 100 * errors.probabilities[0, label]
        assert f"{kind}: {errors.class_names[label]}, {probability:.1f}\N{NO-BREAK SPACE}%" in text


CAT, DOG = 3, 5


@pytest.mark.parametrize(
    ("choices", "which"),
    [
        ({"predicted": "dog"}, lambda some: some.predicted == DOG),
        (
            {"true": "cat", "predicted": "dog"},
            lambda some: (some.labels == CAT) & (some.predicted == DOG),
        ),
        (
            {"true": "cat", "order": "test order", "predicted": "any"},
            lambda some: some.labels == CAT,
        ),
        ({"answers": "correctly classified"}, lambda some: np.arange(CORRECT)),
        ({"answers": "correctly classified", "true": "cat"}, lambda some: some.labels == CAT),
        ({"order": "most confident first"}, lambda some: np.argsort(-some.confidence)),
        ({"order": "least confident first"}, lambda some: np.argsort(some.confidence)),
    ],
)
def test_choices_are_shown_and_kept_in_the_address(page, predictions, choices, which):
    for name, label in choices.items():
        page.select_option(f"#{name}", label=label)
    correct = correctly_classified(predictions, CORRECT, "spread")
    some = correct if "answers" in choices else misclassified(predictions)
    indices = some.indices[which(some)].tolist()
    assert shown(page) == indices
    open_anew(page, page.url)
    assert shown(page) == indices


def test_both_answers_and_all_errors(page, predictions):
    errors = misclassified(predictions)
    page.select_option("#answers", label="both")
    assert len(shown(page)) == len(errors) + CORRECT
    page.evaluate("location.hash = '#answers=right&true=999&unknown=1'")
    page.wait_for_function("document.getElementById('answers').value === 'right'")
    assert len(shown(page)) == CORRECT
    assert page.locator("#gallery > li:visible").first.locator("img").count() == 2
    page.get_by_role("button", name="Show all errors").click()
    page.wait_for_function(f"document.querySelectorAll('li:not([hidden])').length == {len(errors)}")


def test_an_image_opens_large(page):
    card = page.locator("#gallery > li:visible").nth(1)
    card.locator("img").first.click()
    large = page.locator("#large")
    assert large.is_visible()
    assert large.locator("img").count() == 3
    assert large.locator("img").first.bounding_box()["width"] >= 200
    assert large.locator("h3").inner_text() == card.locator("h3").inner_text()
    page.keyboard.press("Escape")
    assert not large.is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert large.is_visible()
    large.get_by_role("button", name="Close").click()
    assert not large.is_visible()


@pytest.mark.parametrize("width", [400, 1200])
def test_controls_stay_in_view_and_nothing_sticks_out(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#gallery > li:visible").last.scroll_into_view_if_needed()
    top = "{}.getBoundingClientRect().top"
    controls = "document.querySelector('.controls')"
    page.wait_for_function(f"Math.abs({top.format(controls)}) < 1")
    height = page.evaluate(f"{controls}.offsetHeight")
    assert height < 0.3 * 800
    page.keyboard.press("Home")
    page.wait_for_function("scrollY === 0")  # which takes a while, and would undo what comes next
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    # not hidden below them
    page.wait_for_function(f"{top.format('document.activeElement')} >= {height} - 1")
    for label in ("Answers", "True class", "Predicted class", "Order"):
        assert page.get_by_label(label, exact=True).bounding_box()["width"] >= 100


def test_a_matrix_cell_opens_its_errors(page, predictions):
    errors = misclassified(predictions)
    label, predicted = errors.labels[0], errors.predicted[0]
    wanted = (errors.labels == label) & (errors.predicted == predicted)
    names = predictions.class_names
    name = f"{wanted.sum()} of true class {names[label]} predicted as {names[predicted]}"
    cell = page.get_by_role("button", name=name, exact=True)
    cell.click()
    assert shown(page) == errors.indices[wanted].tolist()
    assert cell.get_attribute("aria-pressed") == "true"
    assert page.locator("#true").input_value() == str(label)
    cell.click()
    assert len(shown(page)) == len(errors)


def test_arrow_keys_go_from_card_to_card(page):
    order = shown(page)
    # three cards a row at this width
    places = {"ArrowRight": 0, "ArrowDown": 3, "ArrowLeft": 2, "ArrowUp": 0, "End": -1, "Home": 0}
    for key, place in places.items():
        page.keyboard.press(key)
        focused = page.evaluate("Number(document.activeElement.dataset.index)")
        assert focused == order[place], key
    assert page.locator("#gallery > li[tabindex='0']").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(page, scheme):
    """The contrast that WCAG 2.1 asks of text: 4.5, for the body and for each class of it."""
    page.emulate_media(color_scheme=scheme)
    contrasts = page.evaluate(
        """() => [...document.querySelectorAll("p, h1, label, th, td, figcaption, h3")].map(e => {
          const parse = text => text.match(/[\\d.]+/g).map(Number);
          const luminance = rgb => rgb.slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          let ground = e;
          while (parse(getComputedStyle(ground).backgroundColor)[3] === 0)
            ground = ground.parentElement;
          const levels = [getComputedStyle(e).color, getComputedStyle(ground).backgroundColor]
            .map(parse).map(luminance).sort();
          return (levels[1] + 0.05) / (levels[0] + 0.05);
        })"""
    )
    assert min(contrasts) >= 4.5


def classifier_of(predictions: Predictions, description: str = "") -> Classifier:
    """A tiny network for the classes and the size of some predictions."""
    names, size = predictions.class_names, predictions.images.shape[1:3]
    layers = nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, len(names))
    return without_data(nn.Sequential(*layers), *names, size=size, description=description)


def opened(
    tab: Page, folder: Path, predictions: Predictions, width: int = 1200, description: str = ""
) -> Page:
    """Write a page for a tiny network, and open it in a window of the given width."""
    write(folder, predictions, classifier_of(predictions, description), 3)
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto((folder / "new" / "errors.html").as_uri())
    return tab


def some_of(count: int, images_each: int, size=(8, 8), name: str = "class {}") -> Predictions:
    """Return predictions in a folder's order; of each class, the first image is misclassified."""
    labels = np.repeat(np.arange(count), images_each)
    predicted = (labels + (np.arange(len(labels)) % images_each == 0)) % count
    return answered(labels, predicted, tuple(name.format(label) for label in range(count)), size)


def test_a_page_says_that_no_gradient_reaches_the_last_map(tmp_path):
    class Detached(nn.Sequential):
        def forward(self, x):
            return self[1](self[0](x).detach().mean(dim=(2, 3)))

    some, network = some_of(2, 2), Detached(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
    classifier = without_data(network, *some.class_names, size=(8, 8))
    write_report(classifier, some, tmp_path / "errors.html")
    told = "There are no Grad-CAM maps: no gradient of the logits reaches layer"
    assert told in (tmp_path / "errors.html").read_text()


@pytest.mark.parametrize("width", [420, 1200])
def test_of_many_classes_the_largest_confusions_are_listed(tab, tmp_path, width):
    predictions = some_of(100, 4, name="class {} " + "of a long name " * 5)
    labels = predictions.labels.copy()
    labels[4:8] = 2  # four images of class 2 are taken for 1, or one for 2
    page = opened(tab, tmp_path, replace(predictions, labels=labels), width)
    assert page.get_by_role("heading", name="Largest confusions").count() == 1
    cells = page.locator("td button")
    assert cells.count() == 25
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cells.first.click()
    assert shown(page) == [5, 6, 7]  # images of class 2 that were taken for class 1
    assert cells.first.inner_text() == "3"
    assert page.locator("details tbody tr").count() == 25
    assert page.locator("#true option").count() <= 101
    longest = "Math.max(...[...document.querySelectorAll('option')].map(o => o.text.length))"
    assert page.evaluate(longest) <= 61


def test_a_matrix_that_is_wider_than_its_window_says_so(tab, tmp_path):
    page = opened(tab, tmp_path, some_of(20, 3, name="Animals & Nature {}"), 420)
    hint, wide = page.locator(".hint").first, page.locator(".wide").first
    assert "scrolls to the right" in hint.inner_text()
    assert wide.evaluate("one => one.parentElement.classList.contains('more')")
    wide.evaluate("one => one.scrollLeft = one.scrollWidth")
    page.wait_for_function("!document.querySelector('.scroller').classList.contains('more')")
    page.set_viewport_size({"width": 1400, "height": 900})
    page.wait_for_function("!document.querySelector('.scroller').classList.contains('scrolls')")
    assert not hint.is_visible()


def test_no_name_breaks_inside_a_word_or_widens_a_narrow_window(tab, tmp_path):
    predictions = some_of(7, 3, name="mimetype{}")
    page = opened(tab, tmp_path, predictions, 420, "torchvision:efficientnet_v2_small on icons")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    row = page.locator('tbody th[scope="row"]').first
    assert row.bounding_box()["height"] < 40  # one line
    hint = page.locator(".hint").first.bounding_box()
    top = page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y).className",
        [hint["x"] + hint["width"] - 3, hint["y"] + hint["height"] - 3],
    )
    assert "hint" in top  # not under the shade of the matrix


def test_figures_of_each_class_are_on_the_page(tab, tmp_path):
    page = opened(tab, tmp_path, some_of(3, 4, name="Animals & Nature of two lines {}"), 420)
    heights = page.locator("td button").evaluate_all(
        "all => all.map(one => [one.offsetHeight, one.parentElement.clientHeight])"
    )
    assert heights
    assert all(button == cell for button, cell in heights)
    page.locator("summary").click()
    row = page.locator("details tbody tr").first.inner_text().replace("\N{NO-BREAK SPACE}", " ")
    assert row.split("\t")[1:] == ["75.0 %", "75.0 %", "75.0 %", "4"]
    assert "balanced" in page.locator("header").inner_text()
    assert "top-5" not in page.locator("header").inner_text()


def test_colours_are_shares_of_their_rows(tab, tmp_path):
    some = answered([0] * 4 + [1] * 12, [1] + [0] * 4 + [1] * 11, ("ant", "bee"))
    page = opened(tab, tmp_path, some)
    shares = page.locator("td.heat").evaluate_all(
        "all => all.map(one => Number(one.style.getPropertyValue('--share')))"
    )
    assert shares == [0.53, pytest.approx(0.08 + 0.45 / 3, abs=0.006)]  # 1 of 4, 1 of 12


def test_ticks_collect_names_into_a_list_to_copy(tab, tmp_path):
    some = some_of(3, 2)
    some = replace(some, files=tuple(f"folder/{number} é.png" for number in range(6)))
    page = opened(tab, tmp_path, some)
    assert not page.locator("#collected").is_visible()
    page.locator("#gallery > li:visible input").nth(1).check()
    page.keyboard.press("Home")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    names = page.locator("#names")
    assert names.input_value() == "folder/0 é.png\nfolder/2 é.png"
    assert page.locator("#collected-count").inner_text() == "2 collected"
    page.get_by_role("button", name="Copy the list").click()
    copied = page.evaluate("getSelection().toString() || document.activeElement.value")
    assert copied.count("\n") == 1
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Empty it").click()
    assert not page.locator("#collected").is_visible()


def test_the_training_images_begin_with_the_most_confident_errors(tab, tmp_path):
    some = some_of(3, 2)
    probabilities = some.probabilities * np.linspace(0.5, 1, 6, dtype=np.float32)[:, None]
    probabilities += (1 - probabilities.sum(axis=1, keepdims=True)) / 3
    page = opened(tab, tmp_path, replace(some, probabilities=probabilities, split="train"))
    assert shown(page) == [4, 2, 0]
    assert "3 of 6 training images are misclassified" in page.locator("header").inner_text()
    assert page.locator("h3:visible").first.inner_text().startswith("training image 4")


def test_more_errors_than_a_browser_can_show_are_sampled(tmp_path):
    some = some_of(60, 2)
    path = tmp_path / "errors.html"
    write_report(classifier_of(some), some, path, right_count=0, error_count=20)
    page = path.read_text(encoding="utf-8")
    assert page.count("<li ") == 20
    assert "60 of 120 test images are misclassified" in page
    assert "20 of the errors are here" in " ".join(page.split())


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (16, 48), (300, 200)])
def test_images_of_any_size_are_shown_in_their_shape(tab, tmp_path, size):
    page = opened(tab, tmp_path, some_of(3, 2, size))
    images = page.locator("#gallery > li:visible").first.locator("img")
    shape = images.first.evaluate("one => [one.naturalHeight, one.naturalWidth]")
    assert shape[0] / shape[1] == pytest.approx(size[0] / size[1], rel=0.02)
    assert max(shape) <= 256
    assert images.first.evaluate("one => getComputedStyle(one).objectFit") == "contain"
    no_maps = size == (1, 1)
    assert ("no Grad-CAM maps" in page.locator("header").inner_text()) == no_maps
    assert images.count() == (1 if no_maps else 3)


def test_names_are_text_in_any_script_and_no_markup(tab, tmp_path):
    names = ("\u732b", "\u0639\u0631\u0628\u064a", "\U0001f408 \ud800", "<b>bold</b>")
    files = ("a\udcff.png", *[f"<b>/a_{number}&.png" for number in range(7)])
    some = replace(some_of(4, 2), class_names=names, files=files)
    page = opened(tab, tmp_path, some, description="<script>alert(1)</script>")
    text = page.locator("body").inner_text()
    for expected in (*names[:2], "\U0001f408 \\ud800", "a\\udcff.png", *names[3:], "<script>alert"):
        assert expected in text
    assert "&lt;b&gt;/<wbr>a_<wbr>" in page.content()  # where a line may end


def test_a_page_without_errors_or_with_a_single_one(sample, tmp_path, predictions):
    page = write(tmp_path, correctly_classified(predictions), tiny_classifier(sample), 3)
    assert "There is no error to show" in page
    assert page.count("<li ") == 3
    assert "How far to believe the maps" not in page
    page = write(tmp_path, misclassified(predictions, 1), tiny_classifier(sample))
    assert "How far to believe the maps" in page
    assert "How far to believe the probabilities" not in page


def test_the_page_has_the_maps_and_what_they_are_worth(sample, tmp_path, predictions):
    classifier, some = tiny_classifier(sample), predictions.select(np.arange(12))
    page = write(tmp_path, some, classifier, 3)
    errors, correct = misclassified(some), correctly_classified(some, 3, "spread")
    assert page.count("<li ") == len(errors) + len(correct)
    assert f"<h1>Errors of {classifier}</h1>" in page
    classes = np.stack([errors.predicted, errors.labels])
    predicted_maps, true_maps = grad_cam(classifier, errors.images, classes)
    both = {"map": predicted_maps, "random": baseline_maps(errors.images)["random"]}
    removals = removal(classifier, errors.images, errors.predicted, both, (0.3,))
    note = describe_removal(removals["map"], removals["random"])
    apart = map_geometry(classifier).stride[0]
    fine = f"The cells of a map lie {apart:g} pixels apart, on images of 32x32. "
    assert f"How far to believe the maps: {html.escape(fine + note)}</p>" in page
    scaling = html.escape(describe_scaling(some))
    assert f"How far to believe the probabilities: {scaling}</p>" in page
    of_correct = grad_cam(classifier, correct.images, correct.labels)
    pictures = re.findall(r'img src="[^"]+,([^"]+)" alt="Grad-CAM map', page)
    for place, image, heat in (
        (0, errors.images[0], predicted_maps[0]),
        (1, errors.images[0], true_maps[0]),
        (-len(correct), correct.images[0], of_correct[0]),
    ):
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[place]))))
        np.testing.assert_allclose(drawn, 255 * overlay(image, heat), atol=2)
