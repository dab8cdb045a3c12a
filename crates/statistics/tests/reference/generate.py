#!/usr/bin/env python3
"""Makes cases.json: inputs, and what the field's libraries say of them.

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install -r requirements.txt
    /tmp/reference/bin/python generate.py > cases.json

Of intervals that no library has, `intervals` has the published formula.
"""

import json
import sys
import warnings

import fairlearn
import fairlearn.metrics as fair
import numpy as np
import scipy
import sklearn
import sklearn.metrics as sk
import statsmodels
from scipy import stats
from statsmodels.stats import multitest, proportion

import edges
import ends
from cases import case, cases, metric, numbers
from libraries import BINARY, CLASSES, NUMBERS

warnings.simplefilter("ignore")
random = np.random.default_rng(20261126)


def binary_cases():
    # Digits of the scores: few make many ties. Weights: none, or some, with zeros among them.
    for rows in (4, 11, 40, 75):
        for digits in (1, 2, 6):
            for weighted in (False, True):
                labels = random.integers(0, 2, rows)
                labels[:2] = [0, 1]
                scores = np.clip(
                    np.round(0.5 * random.random(rows) + 0.5 * random.random(rows) * labels + 0.1, digits), 0, 1
                )
                scores[1] = 0.9
                weights = np.round(random.random(rows) * 3, 2) if weighted else None
                if weighted:
                    weights[:2] = [1.5, 0.5]
                    weights[2] = 0.0
                for name, score in BINARY.items():
                    metric(name, labels, scores, score(labels, scores, weights), weights=weights)


def class_cases():
    for width in (3, 5):
        for rows in (12, 60):
            for weighted in (False, True):
                labels = np.concatenate([np.arange(width), random.integers(0, width, rows - width)])
                answers = random.dirichlet(np.ones(width), rows)
                answers[np.arange(rows), labels] += 0.4
                answers /= answers.sum(axis=1, keepdims=True)
                weights = np.round(random.random(rows) * 2 + 0.1, 2) if weighted else None
                for name, score in CLASSES.items():
                    metric(name, labels, answers, score(labels, answers, weights), width=width, weights=weights)


def regression_cases():
    for rows in (2, 9, 50):
        for scale in (1e-3, 1.0, 1e6):
            for weighted in (False, True):
                labels = np.round(random.normal(1, 2, rows), 4) * scale
                answers = labels + np.round(random.normal(0.1, 0.7, rows), 4) * scale
                weights = np.round(random.random(rows) + 0.5, 2) if weighted else None
                for name, score in NUMBERS.items():
                    metric(name, labels, answers, score(labels, answers, weights), weights=weights)


def ranking_cases():
    for first in (1, 3, 10):
        for digits in (1, 5):
            sizes = random.integers(2, 12, 6)
            starts = [0, *np.cumsum(sizes).tolist()]
            gains = random.integers(0, 4, starts[-1])
            gains[: sizes[0]] = 0
            scores = np.round(random.random(starts[-1]), digits)
            of_query = [
                sk.ndcg_score([gains[a:b]], [scores[a:b]], k=first) for a, b in zip(starts, starts[1:])
            ]
            metric(f"ndcg@{first}", gains, scores, np.mean(of_query), queries=starts)


def interval_cases():
    for successes, trials in [(0, 1), (1, 1), (0, 20), (20, 20), (1, 29), (15, 148), (81, 263), (500, 1000), (3, 100_000)]:
        for confidence in (0.9, 0.95, 0.999):
            for method, name in (("wilson", "wilson"), ("beta", "clopperPearson")):
                ends = proportion.proportion_confint(successes, trials, alpha=1 - confidence, method=method)
                case("interval", method=name, successes=successes, trials=trials, confidence=confidence, expected=numbers(ends))
    for one, two in [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((10, 10), (0, 20)), ((0, 10), (0, 20)), ((400, 9000), (377, 9100))]:
        for confidence in (0.9, 0.95, 0.999):
            ends = proportion.confint_proportions_2indep(*one, *two, method="newcomb", compare="diff", alpha=1 - confidence, correction=False)
            case("newcombe", one=one, two=two, confidence=confidence, expected=numbers(ends))


def normal_cases():
    for p in (1e-300, 1e-10, 0.001, 0.025, 0.3, 0.5, 0.8, 0.975, 1 - 1e-12):
        case("quantile", p=p, expected=float(stats.norm.ppf(p)))
    for x in (-30.0, -8.0, -1.96, -0.1, 0.0, 0.7, 3.0, 9.0):
        case("cdf", x=x, expected=float(stats.norm.cdf(x)))


def holm_cases():
    for size in (1, 2, 7, 40):
        values = np.round(random.random(size) ** 3, 4)
        case("holm", p_values=numbers(values), expected=numbers(multitest.multipletests(values, method="holm")[1]))


def delong_cases():
    """DeLong's variance by its definition over all pairs, alone and of a difference."""
    for rows in (8, 30, 60):
        for digits in (1, 4):
            labels = random.integers(0, 2, rows)
            labels[:4] = [0, 1, 0, 1]
            scores = [np.round(random.random(rows) + strength * labels, digits) for strength in (0.3, 0.5)]
            placements = []
            for score in scores:
                positive, negative = score[labels == 1], score[labels == 0]
                wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
                placements.append((wins.mean(axis=1), wins.mean(axis=0)))

            def variance(ten, one):
                return np.var(ten, ddof=1) / len(ten) + np.var(one, ddof=1) / len(one)

            case(
                "delong",
                labels=numbers(labels),
                scores=[numbers(score) for score in scores],
                expected=[
                    float(variance(*placements[0])),
                    float(variance(placements[0][0] - placements[1][0], placements[0][1] - placements[1][1])),
                ],
            )


def fairness_cases():
    for groups in (2, 3, 5):
        for rows in (60, 200):
            labels = random.integers(0, 2, rows)
            group = random.integers(0, groups, rows)
            scores = np.round(random.random(rows) * 0.7 + 0.2 * labels + 0.1 * (group == 1), 3)
            classes = (scores >= 0.5).astype(int)
            of = dict(sensitive_features=group)
            case(
                "fairness",
                labels=numbers(labels),
                answers=numbers(scores),
                groups=group.tolist(),
                expected=[
                    float(fair.demographic_parity_difference(labels, classes, **of)),
                    float(fair.equal_opportunity_difference(labels, classes, **of)),
                    float(fair.equalized_odds_difference(labels, classes, **of)),
                ],
            )


def long_cases():
    """Ten million rows that both sides make by the same rule."""
    row = np.arange(10_000_000, dtype=np.int64)
    labels = (row * 7919 % 1000 < 400).astype(float)
    scores = (row * 104_729 % 1_000_003) / 1_000_003
    for name, expected in [
        ("rocAuc", sk.roc_auc_score(labels, scores)),
        ("prAuc", sk.average_precision_score(labels, scores)),
        ("logLoss", sk.log_loss(labels, scores)),
        ("brier", sk.brier_score_loss(labels, scores)),
        ("accuracy", sk.accuracy_score(labels, scores >= 0.5)),
        ("mae", sk.mean_absolute_error(labels + 1e6, scores + 1e6)),
        ("r2", sk.r2_score(labels + 1e6, scores + 1e6)),
    ]:
        case("long", metric=name, shift=1e6 if name in ("mae", "r2") else 0.0, expected=float(expected))


for make in (
    binary_cases,
    class_cases,
    regression_cases,
    ranking_cases,
    interval_cases,
    normal_cases,
    holm_cases,
    delong_cases,
    fairness_cases,
    long_cases,
    # Later ones come after, with random numbers of their own, so that those before stay as they are.
    edges.one_class_cases,
    edges.constant_cases,
    edges.one_row_cases,
    edges.odd_cases,
    edges.long_cases,
    edges.equal_weight_cases,
    edges.far_label_cases,
    ends.weightless_row_cases,
    ends.metric_cases,
    ends.advantage_cases,
    ends.difference_cases,
    ends.mean_cases,
):
    make()

libraries = {library.__name__: library.__version__ for library in (np, scipy, sklearn, statsmodels, fairlearn)}
everything = {"libraries": libraries, "count": len(cases), "cases": cases}
json.dump(everything, sys.stdout, separators=(",", ":"), allow_nan=False)
