"""Ends of intervals and p-values, by the formulas in `intervals` or a library."""

import numpy as np
import sklearn.metrics as sk
from statsmodels.stats import proportion, weightstats

import intervals
from cases import case, numbers, of_rows
from libraries import BINARY, CLASSES, NUMBERS

random = np.random.default_rng(20261127)
CONFIDENCES = (0.9, 0.999)
OF_CLASSES = ("accuracy", "balancedAccuracy", "precisionMacro", "recallMacro", "f1Macro", "f1Micro", "logLoss", "brier")
LOWER_IS_BETTER = ("logLoss", "brier", "expectedCalibrationError", *NUMBERS)


def binary_rows(rows, digits, weighted):
    labels = random.integers(0, 2, rows)
    labels[:4] = [0, 1, 0, 1]
    noise = random.random((2, rows))
    scores = np.clip(np.round(0.1 + 0.4 * noise + 0.4 * random.random((2, rows)) * labels, digits), 0.05, 0.95)
    # Answers of either class to rows of either.
    scores[:, :4] = [[0.6, 0.7, 0.3, 0.2], [0.2, 0.4, 0.6, 0.8]]
    return labels, scores, row_weights(rows, weighted)


def class_rows(rows, width, weighted):
    labels = np.concatenate([np.arange(width), random.integers(0, width, rows - width)])
    answers = random.dirichlet(np.ones(width), rows)
    answers[np.arange(rows), labels] += 0.3
    return labels, np.round(answers / answers.sum(axis=1, keepdims=True), 4), row_weights(rows, weighted)


def number_rows(rows, weighted):
    labels = np.round(1 + abs(random.normal(0, 3, rows)), 3)
    answers = labels + np.round(random.normal([[0.1], [0.2]], [[0.7], [0.9]], (2, rows)) ** 3, 3)
    return labels, answers, row_weights(rows, weighted)


def row_weights(rows, weighted):
    return np.round(random.random(rows) * 2 + 0.1, 2) if weighted else None


def ends(metrics, names, labels, answers, weights=None, width=1):
    for name in names:
        by = np.ones(len(labels)) if weights is None else weights
        value = intervals.metric_of(name, labels, answers)(by)
        assert np.isclose(value, metrics[name](labels, answers, weights), rtol=1e-12), name
        for confidence in CONFIDENCES:
            both = intervals.ends(name, labels, answers, weights, confidence)
            of_rows("ends", name, labels, answers, width, weights, confidence=confidence, expected=numbers(both))


def metric_cases():
    # The calibration error's is no closed formula.
    binary = [name for name in BINARY if name != "expectedCalibrationError"]
    for rows, digits in ((12, 3), (30, 1), (45, 2)):
        for weighted in (False, True):
            labels, scores, weights = binary_rows(rows, digits, weighted)
            ends(BINARY, binary, labels, scores[0], weights)
            labels, answers, weights = class_rows(rows, 3, weighted)
            ends(CLASSES, OF_CLASSES, labels, answers, weights, width=3)
            labels, answers, weights = number_rows(rows, weighted)
            ends(NUMBERS, NUMBERS, labels, answers[0], weights)
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 0])
    ends(BINARY, ["rocAuc", "prAuc"], labels, np.full(8, 0.3))
    # All right, or all wrong.
    shares = [*intervals.SHARES, "rocAuc", "prAuc"]
    ends(BINARY, shares, labels, 0.25 + 0.5 * labels)
    ends(BINARY, intervals.SHARES, labels, 0.75 - 0.5 * labels)
    ranking_cases()
    one_row_cases()


def weightless_row_cases():
    """A row that weighs nothing is as if it was not there."""
    labels, scores, weights = binary_rows(20, 2, True)
    for name in [name for name in BINARY if name != "expectedCalibrationError"]:
        both = intervals.ends(name, labels, scores[0], weights, 0.95)
        with_one = dict(weights=[*weights, 0.0], confidence=0.95, expected=numbers(both))
        of_rows("ends", name, [*labels, 1], [*scores[0], 0.9], **with_one)
    for name in ("logLoss", "brier", "rmse", "mae", "mape"):
        of_rows("ends", name, [1, 1], [0.8, 0.3], weights=[1.0, 0.0], confidence=0.95, expected=None)


def ranking_cases():
    for first in (2, 10):
        starts = [0, 3, 9, 14, 22, 27]
        gains, scores = random.integers(0, 4, starts[-1]), np.round(random.random(starts[-1]), 1)
        of_query = [sk.ndcg_score([gains[a:b]], [scores[a:b]], k=first) for a, b in zip(starts, starts[1:])]
        for confidence in CONFIDENCES:
            both = np.clip(weightstats.DescrStatsW(of_query).zconfint_mean(1 - confidence), 0, 1)
            name = f"ndcg@{first}"
            of_rows("ends", name, gains, scores, queries=starts, confidence=confidence, expected=numbers(both))


def one_row_cases():
    """Of one row a share has ends, but nothing else does."""
    for name in ("accuracy", "precision", "recall", "f1", "balancedAccuracy"):
        for confidence in CONFIDENCES:
            both = proportion.proportion_confint(1, 1, alpha=1 - confidence, method="wilson")
            if name == "f1":
                both = [2 * jaccard / (1 + jaccard) for jaccard in both]
            of_rows("ends", name, [1], [0.8], confidence=confidence, expected=numbers(both))
    for name in ("logLoss", "brier", "rmse", "mae", "mape", "pinball@0.9"):
        of_rows("ends", name, [1], [0.8], confidence=0.95, expected=None)
    of_rows("ends", "ndcg@5", [1], [0.8], queries=[0, 1], confidence=0.95, expected=None)
    # Of an area not even one row of either class is enough.
    of_rows("ends", "rocAuc", [1, 0], [0.8, 0.3], confidence=0.95, expected=None)


def advantage(names, labels, answers, weights=None):
    for name in names:
        for confidence, margin in ((0.9, 0.0), (0.999, 0.02)):
            expected = intervals.advantage(name, labels, answers, weights, confidence, margin, is_higher_better(name))
            rows = dict(labels=numbers(labels), answers=[numbers(one) for one in answers])
            weighted = None if weights is None else numbers(weights)
            of = dict(metric=name, weights=weighted, confidence=confidence, margin=margin)
            case("advantage", **rows, **of, expected=expected)


def is_higher_better(name):
    return name == "r2" or name not in LOWER_IS_BETTER


def advantage_cases():
    for rows, digits in ((12, 3), (45, 1)):
        for weighted in (False, True):
            labels, scores, weights = binary_rows(rows, digits, weighted)
            advantage(BINARY, labels, scores, weights)
            labels, answers, weights = number_rows(rows, weighted)
            advantage(NUMBERS, labels, answers, weights)
    # The first is so much worse that the p-value is of the far tail.
    row = np.arange(45)
    labels = row / 4 + 1
    answers = labels + [0.9 + row % 7 / 5, 0.5 + row % 5 / 5]
    advantage(["rmse", "mae", "mape"], labels, answers)
    advantage(["rmse", "mae", "mape"], labels, answers[::-1])


def difference_cases():
    """Newcombe's bounds of one side, and what the difference between groups makes of his intervals."""
    for one, two in [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((0, 10), (0, 20)), ((400, 9000), (377, 9100))]:
        for confidence in (0.9, 0.95, 0.999):
            case("bounds", one=one, two=two, confidence=confidence, expected=newcombe(one, two, 2 * confidence - 1))
    for groups, rows in ((2, 60), (3, 200)):
        labels, scores, _ = binary_rows(rows, 2, False)
        group = np.arange(rows) % groups
        said = scores[0] >= 0.5
        rates = {
            "demographicParity": [labels >= 0],
            "equalOpportunity": [labels == 1],
            "equalisedOdds": [labels == 1, labels == 0],
        }
        for name, among in rates.items():
            of_group = lambda of: [of & (group == one) for one in range(groups)]
            both = apart([[((said & rows).sum(), rows.sum()) for rows in of_group(of)] for of in among])
            rows_of = dict(labels=numbers(labels), answers=numbers(scores[0]), groups=group.tolist())
            case("disparity", disparity=name, **rows_of, confidence=0.95, expected=both)


def apart(rates, confidence=0.95):
    """The furthest of the ends of the sizes of differences between two groups each, at Bonferroni's correction."""
    pairs = [(of[one], of[other]) for of in rates for one in range(len(of)) for other in range(one)]
    corrected = 1 - (1 - confidence) / len(pairs)
    all_ends = [newcombe(*pair, corrected) for pair in pairs]
    sizes = [(max(lower, -upper, 0.0), max(abs(lower), abs(upper))) for lower, upper in all_ends]
    return [max(lower for lower, _ in sizes), max(upper for _, upper in sizes)]


def newcombe(one, two, confidence):
    of = dict(method="newcomb", compare="diff", alpha=1 - confidence, correction=False)
    return numbers(proportion.confint_proportions_2indep(*one, *two, **of))


def mean_cases():
    for rows in (2, 30):
        for shift in (0.0, 1e6):
            values = np.round(random.normal(1, 2, rows), 3) + shift
            for confidence in CONFIDENCES:
                both = weightstats.DescrStatsW(values).zconfint_mean(1 - confidence)
                case("mean", values=numbers(values), confidence=confidence, expected=numbers(both))
