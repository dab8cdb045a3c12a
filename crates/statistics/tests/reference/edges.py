"""Rows at the edge of what a metric is defined of, and beyond it."""

from math import fsum

import numpy as np
import sklearn.metrics as sk

from cases import case, metric, refused
from libraries import BINARY, CLASSES, NUMBERS, calibration_error, says


def valued_or_refused(metrics, labels, answers, errors, stricter=(), width=1, weights=None):
    """The library's value of each metric, but our error where it has none; and where we are stricter than it."""
    labels, answers = np.array(labels), np.array(answers)
    weights = None if weights is None else np.array(weights)
    for name, score in metrics.items():
        value, words = says(score, labels, answers, weights)
        if name in errors:
            assert (value is None) != (name in stricter), (name, value, words)
            refused(name, labels, answers, errors[name], words or str(value), width, weights)
        else:
            assert value is not None, (name, words)
            metric(name, labels, answers, value, width=width, weights=weights)


SCORES = [0.3, 0.7, 0.4, 0.6]
THREE = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]
NO_ONES = "no row was answered with class 1"
NO_LABELS = "no row has the label 1"
NEITHER = "no row has class 1, as label or as answer"
NO_SPREAD = "all labels are the same: there is no spread to explain"


def one_label(rows):
    return {name: f"all {rows} rows have the same label" for name in ("rocAuc", "prAuc")}


def one_label_of_two(label, scores):
    """Our errors where all rows of two classes have one label."""
    errors = one_label(len(scores))
    is_said = max(scores) >= 0.5
    if not is_said:
        errors["precision"] = NO_ONES
    if label == 0:
        errors["recall"] = NO_LABELS
    if label == 0 and not is_said:
        errors["f1"] = NEITHER
    # To the library the average precision of positive rows alone is 1, whatever the scores are.
    return errors, ["prAuc"] if label == 1 else []


def one_class_cases():
    for label in (1, 0):
        for scores in ([0.9, 0.2, 0.6, 0.5], [0.1, 0.4, 0.3, 0.4], [0.7, 0.8, 1.0, 0.9]):
            for weights in (None, [0.5, 2.0, 1.0, 0.25]):
                valued_or_refused(BINARY, [label] * 4, scores, *one_label_of_two(label, scores), weights=weights)
    for label in range(3):
        valued_or_refused(CLASSES, [label] * 4, THREE, one_label(4), width=3)


def constant_cases():
    for score in (0.0, 0.3, 0.5, 0.85, 1.0):
        for weights in (None, [1.0, 0.5, 2.0, 0.75, 1.25, 3.0, 0.1]):
            errors = {} if score >= 0.5 else {"precision": NO_ONES}
            valued_or_refused(BINARY, [0, 1, 1, 0, 1, 0, 0], [score] * 7, errors, weights=weights)
    for answer in ([0.2, 0.5, 0.3], [0.25, 0.25, 0.5]):
        valued_or_refused(CLASSES, [0, 1, 2, 1, 2, 2], [answer] * 6, {}, width=3)
    for labels, answer in [([1.0, 2.5, -4.0, 3.0], 0.7), ([0.1] * 4, 0.3), ([0.1] * 4, 0.1)]:
        for weights in (None, [0.5, 2.0, 1.0, 0.25]):
            errors = {"r2": NO_SPREAD} if len(set(labels)) == 1 else {}
            valued_or_refused(NUMBERS, labels, [answer] * 4, errors, weights=weights)
    valued_or_refused(NUMBERS, [0.1] * 4, SCORES, {"r2": NO_SPREAD})


def one_row_cases():
    for label, score in [(1, 0.9), (0, 0.9), (1, 0.1), (0, 0.1)]:
        for weights in (None, [2.5]):
            valued_or_refused(BINARY, [label], [score], *one_label_of_two(label, [score]), weights=weights)
    for label in range(3):
        valued_or_refused(CLASSES, [label], [[0.2, 0.7, 0.1]], one_label(1), width=3)
    for label, answer in [(2.0, 1.5), (-3.0, 1e6), (4.0, 4.0), (0.0, 0.25)]:
        for weights in (None, [2.5]):
            valued_or_refused(NUMBERS, [label], [answer], {"r2": NO_SPREAD}, weights=weights)
    # scikit-learn asks for two rows at least; of one, what is gained is all that there is to gain.
    for gain, share in [(3.0, 1.0), (0.0, 0.0)]:
        metric("ndcg@5", [gain], [0.4], share, queries=[0, 1])


ODD = (np.nan, np.inf, -np.inf)
NUMBER = "a finite number"
RELEVANCE = "a finite number of at least 0"
ONE_OF_TWO = "0 or 1"
ONE_OF_MORE = "a whole number from 0 to one less than there are classes"
PROBABILITY = "a probability in [0, 1]"
OF_PROBABILITIES = ("logLoss", "brier", "expectedCalibrationError")
GAINS = {"ndcg@3": lambda labels, answers, _: sk.ndcg_score([labels], [answers], k=3)}


def odd_cases():
    """NaN and infinities in each place of a row, in another row each time: the error names the row, from 0."""
    for metrics, labels, answers, accepted in [
        (BINARY, [0.0, 1.0, 1.0, 0.0], SCORES, ONE_OF_TWO),
        (CLASSES, [2.0, 0.0, 1.0, 2.0], THREE, ONE_OF_MORE),
        (NUMBERS, [0.5, 1.0, 2.0, 4.0], SCORES, NUMBER),
        (GAINS, [3.0, 0.0, 1.0, 0.0], SCORES, RELEVANCE),
    ]:
        for at, (name, score) in enumerate(metrics.items()):
            rows = name, score, labels, answers
            answer = PROBABILITY if name in OF_PROBABILITIES else NUMBER
            for turn, odd in enumerate(ODD):
                odd_label(*rows, (at + turn) % 4, odd, accepted)
                odd_answer(*rows, (at + turn) % 4, odd, answer)
                if metrics is not GAINS:
                    odd_weight(*rows, (at + turn) % 4, odd)
            if metrics is not GAINS:
                odd_weight(*rows, at % 4, -1.0)
                refuse(*rows, "there are no rows", weights=[0.0] * 4)
    for name in ("logLoss", "brier"):
        for row, beyond in enumerate((1.5, -0.25)):
            odd_answer(name, BINARY[name], [0.0, 1.0, 1.0, 0.0], SCORES, row, beyond, PROBABILITY)
    for name, score in GAINS.items():
        odd_label(name, score, [3.0, 0.0, 1.0, 0.0], SCORES, 2, -1.0, RELEVANCE)


def odd_label(name, score, labels, answers, row, odd, accepted):
    labels = [odd if at == row else label for at, label in enumerate(labels)]
    refuse(name, score, labels, answers, f"the label of row {row} is not {accepted}")


def odd_answer(name, score, labels, answers, row, odd, accepted):
    answers = np.array(answers)
    # Of several the last.
    answers[row, ...].reshape(-1)[-1] = odd
    refuse(name, score, labels, answers, f"the prediction for row {row} is not {accepted}")


def odd_weight(name, score, labels, answers, row, odd):
    weights = [odd if at == row else 1.0 + at / 2 for at in range(4)]
    refuse(name, score, labels, answers, f"the weight of row {row} is not a finite number of at least 0", weights)


def refuse(name, score, labels, answers, error, weights=None):
    """What the library refuses as well, but for a weight below 0, which it takes."""
    labels, answers = np.array(labels), np.array(answers)
    weights = None if weights is None else np.array(weights)
    value, words = says(score, labels, answers, weights)
    # The library has no calibration error.
    library = None if score is calibration_error else words or str(value)
    is_looser = weights is not None and weights.min() == -1
    assert value is None or library is None or is_looser, (name, labels, answers, weights, value)
    width = answers.size // len(labels)
    refused(name, labels, answers, error, library, width, weights, [0, 4] if name in GAINS else None)


def long_cases():
    """Ten million rows by the same rule as before, but weighted, and with few scores as well as many.

    What the library adds up drifts here by more than is asked of us. Weights are counts / 97, so counts give the value.
    """
    row = np.arange(10_000_000, dtype=np.int64)
    is_one = row * 7919 % 1000 < 400
    count = row * 31 % 97 + 1
    for steps in (10, 1_000_003):
        step = row * 104_729 % steps
        says_one = step / steps >= 0.5
        of = lambda rows: count[rows].sum()
        roc, precision_recall = areas(is_one, step, count)
        for name, expected in [
            ("accuracy", of(is_one == says_one) / count.sum()),
            ("f1", 2 * of(is_one & says_one) / (of(is_one) + of(says_one))),
            ("brier", fsum(count * (is_one - step / steps) ** 2) / count.sum()),
            ("rocAuc", roc),
            ("prAuc", precision_recall),
        ]:
            case("long", metric=name, shift=0.0, steps=steps, counts=97, expected=float(expected))


def areas(is_one, step, count):
    """By whole numbers of positive and negative rows at each score, so that no sum is rounded."""
    positive, negative = (np.bincount(step[of], count[of]).astype(np.int64) for of in (is_one, ~is_one))
    below = np.cumsum(negative) - negative
    doubled = (positive * (2 * below + negative)).sum()
    roc = int(doubled) / (2 * int(positive.sum()) * int(negative.sum()))
    hits, all_rows = np.cumsum(positive[::-1]), np.cumsum((positive + negative)[::-1])
    return roc, fsum(positive[::-1] * hits / np.maximum(all_rows, 1)) / positive.sum()


def equal_weight_cases():
    """Of ten million rows that all weigh 0.1 a metric is what it is without weights."""
    row = np.arange(10_000_000, dtype=np.int64)
    is_one = row * 7919 % 1000 < 400
    for steps in (2, 1_000_003):
        both = areas(is_one, row * 104_729 % steps, np.ones(len(row), dtype=np.int64))
        for name, expected in zip(("rocAuc", "prAuc"), both):
            case("long", metric=name, shift=0.0, steps=steps, counts=1, divisor=10.0, expected=float(expected))


def far_label_cases():
    """The first label lies far from the others."""
    row = np.arange(10_000_000, dtype=np.int64)
    labels = (row * 7919 % 1000 < 400).astype(float)
    answers = row * 104_729 % 1_000_003 / 1_000_003
    labels[0] = 1000.0
    spread = fsum((labels - fsum(labels) / len(labels)) ** 2)
    case("long", metric="r2", shift=0.0, first=1000.0, expected=1 - fsum((labels - answers) ** 2) / spread)
