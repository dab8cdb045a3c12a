"""The cases, and how one is written."""

import numpy as np

cases = []


def case(kind, **fields):
    cases.append({"kind": kind, **fields})


def numbers(values):
    """JSON has no NaN and no infinity: these are words."""
    return [float(value) if np.isfinite(value) else str(float(value)) for value in np.ravel(values)]


def of_rows(kind, name, labels, answers, width=1, weights=None, queries=None, **fields):
    case(
        kind,
        metric=name,
        labels=numbers(labels),
        answers=numbers(answers),
        width=width,
        weights=None if weights is None else numbers(weights),
        queries=queries,
        **fields,
    )


def metric(name, labels, answers, expected, width=1, weights=None, queries=None):
    of_rows("metric", name, labels, answers, width, weights, queries, expected=float(expected))


def refused(name, labels, answers, error, library, width=1, weights=None, queries=None):
    """Rows without a value: our error, and the library's words or, where it is less strict, its value."""
    of_rows("refused", name, labels, answers, width, weights, queries, error=error, library=library)
