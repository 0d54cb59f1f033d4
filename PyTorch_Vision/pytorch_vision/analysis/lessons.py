"""What the tests showed, in sentences: result, errors, what to try next, trust in the maps."""

import re

import numpy as np

from pytorch_vision.analysis.metrics import measure
from pytorch_vision.analysis.predictions import Predictions, confusion_matrix, misclassified
from pytorch_vision.analysis.trust import Trust
from pytorch_vision.data.cifar10 import CIFAR10_CLASSES
from pytorch_vision.explain.gradcam import METHOD_NAMES
from pytorch_vision.explain.removal import Removal, interval
from pytorch_vision.models import Classifier
from pytorch_vision.models.registry import network_name
from pytorch_vision.runtime.text import counted, percent

ORIGINAL = 0.8712  # CIFAR-10 test accuracy in the notebook that this project grew from
TEST_IMAGES = 10_000  # in CIFAR-10
UNEQUAL = 3  # ratio of the largest class to the smallest above which class weights are suggested


def lessons_learned(classifier: Classifier, predictions: Predictions) -> str:
    """Return, as Markdown, what the test images showed; every statement is computed."""
    return (
        f"**The result.** {_result(classifier, predictions)}\n\n"
        f"**What the errors have in common.** {_errors(predictions)}\n\n"
        f"**Three things to try next**, each by one line in the settings:\n\n"
        f"{_next_steps(classifier, predictions)}"
    )


def trust_lessons(measured: Trust, classifier: Classifier) -> str:
    """Return, as Markdown, how far the maps can be trusted; every statement is computed."""
    tested = {group: maps for group, maps in measured.removals.items() if _count(maps)}
    lines = [_gaps(group, maps) for group, maps in tested.items()]
    if len(measured.randomized) > 1 and all(measured.randomized.values()):
        lines.append(_after_randomization(measured.randomized))
    if tested:
        group, maps = next(iter(tested.items()))
        removal = maps["Grad-CAM"]
        before, after = (percent(removal.lerf[:, column].mean()) for column in (0, -1))
        lines.append(
            f"On {counted(_count(maps), f'{group} image')}, the probability goes from {before} to "
            f"{after} when the {percent(removal.fractions[-1])} of the pixels that Grad-CAM calls "
            "least important are taken away. Of a map that misses nothing, it would stay."
        )
    lines.append(
        f"The map is rough: its cells lie {max(measured.geometry.stride):g} pixels apart, in an "
        f"image of {max(classifier.size)} pixels."
    )
    return "\n".join(f"- {line}" for line in lines)


def _count(maps: dict[str, Removal]) -> int:
    return len(next(iter(maps.values())).score)


def _gaps(group: str, maps: dict[str, Removal]) -> str:
    """Compare the gap between Grad-CAM's two removal curves with those of the baseline maps."""
    gaps = {name: float(one.score.mean()) for name, one in maps.items()}
    ours, nothing = gaps.pop("Grad-CAM"), sorted(gaps, key=lambda name: -gaps[name])
    listed = ", ".join(f"{name} {gaps[name]:z.2f}" for name in nothing)
    text = (
        f"On {counted(_count(maps), f'{group} image')}, Grad-CAM's mean gap is {ours:z.2f}; those "
        f"of the baseline maps, which ignore the network: {listed}."
    )
    low, high = interval(maps["Grad-CAM"].score - maps[nothing[0]].score)
    if low > 0:
        return (
            f"{text} Grad-CAM's is wider than any of them, and the difference is larger than "
            "chance would explain."
        )
    if high < 0:
        return f"{text} So *{nothing[0]}* marks what the network needs better than Grad-CAM does."
    return f"{text} Between Grad-CAM and *{nothing[0]}* these images show no clear difference."


def _after_randomization(randomized: dict[str, dict[str, np.ndarray]]) -> str:
    """Say how much each method's maps change when the last layer is randomised."""
    (layer,) = {next(iter(by_layer)) for by_layer in randomized.values()}
    means = {
        METHOD_NAMES[method]: round(float(by_layer[layer].mean()), 2)
        for method, by_layer in randomized.items()
        if len(by_layer[layer])
    }
    if not means:
        return "No map was compared with that of a randomised network."
    listed = ", ".join(f"{name} {mean:z.2f}" for name, mean in means.items())
    least, most = max(means, key=lambda name: means[name]), min(means, key=lambda name: means[name])
    return (
        f"With new random weights in the last layer (`{layer}`) alone, the rank correlation with "
        f"the trained network's map is: {listed}. A map that depends on what was learned there "
        f"changes: {most}'s does most, {least}'s least."
    )


def _result(classifier: Classifier, predictions: Predictions) -> str:
    count = len(predictions)
    text = (
        f"{_shown(str(classifier))}: {percent(predictions.right.mean(), 2)} of {count:,} "
        f"{predictions.kind}s are correctly classified."
    )
    if _is_cifar10(predictions) and count == TEST_IMAGES:
        return (
            f"{text} The original notebook, ResNet18 after 20 epochs, had "
            f"{percent(ORIGINAL, 2)} of the same images."
        )
    most = np.bincount(predictions.labels).max() / count
    text += f" Always giving the same answer would be right for at most {percent(most)}."
    if _is_cifar10(predictions):
        text += (
            f" The original notebook's {percent(ORIGINAL, 2)} cannot be compared with this: it "
            "learned from all 50,000 images, and was tested on all 10,000."
        )
    return text


def _errors(predictions: Predictions) -> str:
    errors = misclassified(predictions)
    if not len(errors):
        return "There are none."
    names = [_shown(name) for name in predictions.class_names]
    matrix = confusion_matrix(errors)
    pairs = np.triu(matrix + matrix.T)
    one, other = np.unravel_index(pairs.argmax(), pairs.shape)
    accuracy = measure(predictions).recall
    worst, best = np.nanargmin(accuracy), np.nanargmax(accuracy)
    two = np.argsort(-errors.probabilities, axis=1, kind="stable")[:, 1]
    second, sure = two == errors.labels, errors.confidence
    return "\n".join(
        (
            "\n",
            f"- Which classes: of {len(errors):,} errors, {_of(pairs[one, other], errors)} take "
            f"*{names[one]}* for *{names[other]}* or the other way round, more than for any other "
            f"pair. Of all classes, *{names[worst]}* is found least often "
            f"({percent(accuracy[worst], 1)} of its images) and *{names[best]}* most often "
            f"({percent(accuracy[best], 1)}).",
            f"- How far off: in {_of(second.sum(), errors)}, the true class was the second guess.",
            f"- How sure: half of the errors were made with a probability of "
            f"{percent(np.median(sure))} or more, the surest with {percent(sure.max())}. Look for "
            "habits, and for wrong labels, among the surest.",
        )
    )


def _of(count: int, errors: Predictions) -> str:
    return f"{count:,} ({percent(count / len(errors))})"


def _next_steps(classifier: Classifier, predictions: Predictions) -> str:
    is_resnet18 = network_name(classifier.network) == "ResNet18"
    epochs = 2 * max(10, len(classifier.history.records))
    longer = f"EPOCHS = {epochs}", "train longer, with learning rates that fall more slowly"
    network = "CustomResNet" if is_resnet18 else "ResNet18"
    other = f'MODEL = "{network}"', "see whether another network makes the same errors"
    counts = np.bincount(predictions.labels, minlength=len(predictions.class_names))
    if _is_cifar10(predictions) and len(predictions) < TEST_IMAGES:
        full = "learn from all 50,000 images, which helps most, and takes a GPU or hours"
        steps = [('DATA = "full"', full), longer, other]
    elif _is_cifar10(predictions):
        own = "take your own pictures, a folder that has a folder for each class"
        steps = [longer, other, ('DATA = "photographs"', own)]
    else:
        pretrained = "begin with the filters of a ResNet18 that knows CIFAR-10"
        unequal = "let rare classes count more, since these classes are unequal"
        steps = [
            ('WEIGHTS = "pretrained"', pretrained) if is_resnet18 else other,
            ('OVERRIDES = "class_weights=0.5"', unequal)
            if counts.max() > UNEQUAL * counts.min()
            else longer,
            ('ORDER = "confident"', "see the errors that the network was surest of"),
        ]
    return "\n".join(f"{n}. `{line}`: {why}." for n, (line, why) in enumerate(steps, 1))


def _is_cifar10(predictions: Predictions) -> bool:
    return predictions.class_names == CIFAR10_CLASSES


def _shown(text: str) -> str:
    """Return a text with Markdown's special characters escaped."""
    return re.sub(r"([\\`*_\[\]<>|$])", r"\\\1", " ".join(text.split()))
