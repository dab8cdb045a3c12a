"""Intervals by the formulas that were published, where no library has them.

Rows are numpy's arrays; answers are one number a row, or a probability for each class. A metric is a function of the
weights, so that what a row adds to its spread is a derivative.
"""

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

SHARES = ("accuracy", "f1Micro", "precision", "recall", "f1", "balancedAccuracy", "precisionMacro", "recallMacro")


def two_sided(confidence):
    return stats.norm.ppf(0.5 + confidence / 2)


def classes_of(answers):
    return (answers >= 0.5).astype(int) if answers.ndim == 1 else answers.argmax(axis=1)


def influence(metric, weights):
    """Of each row its weight times the metric's derivative by it, by complex steps (Squire & Trapp 1998): exact."""
    step = 1e-30
    derivatives = [metric(weights + 1j * step * one).imag / step for one in np.eye(len(weights))]
    return weights * derivatives


def standard_error(influences):
    """The infinitesimal jackknife (Efron 1982)."""
    rows = len(influences)
    return np.sqrt(rows / (rows - 1) * np.sum(influences**2))


# Metrics as functions of the weights.


def of_class(what, is_so, said_so):
    both = is_so * said_so
    over, under = {
        "precision": (both, said_so),
        "recall": (both, is_so),
        "f1": (2 * both, is_so + said_so),
    }[what]
    return lambda weights: (weights * over).sum() / (weights * under).sum() if under.any() else 0.0


def classes_there(name, labels, said):
    if name in ("precision", "recall", "f1"):
        return [1]
    return np.unique(labels if name == "balancedAccuracy" else np.concatenate([labels, said]))


def what_of(name):
    return {"balancedAccuracy": "recall"}.get(name, name.removesuffix("Macro"))


def loss(name, labels, answers):
    if name == "logLoss":
        both = np.stack([1 - answers, answers], axis=1) if answers.ndim == 1 else answers
        return -np.log(both[np.arange(len(labels)), labels])
    if name == "brier" and answers.ndim == 2:
        return ((answers - np.eye(answers.shape[1])[labels]) ** 2).sum(axis=1)
    apart = answers - labels
    if name.startswith("pinball@"):
        quantile = float(name.removeprefix("pinball@"))
        return np.where(apart > 0, (1 - quantile) * apart, -quantile * apart)
    return {"brier": apart**2, "rmse": apart**2, "mae": abs(apart), "mape": abs(apart) / abs(labels)}[name]


def area_of(is_one, answers):
    score, other = answers[is_one][:, None], answers[~is_one]
    wins = (score > other) + 0.5 * (score == other)

    def area(weights):
        ones, others = weights[is_one], weights[~is_one]
        return ones @ wins @ others / (ones.sum() * others.sum())

    return area


def metric_of(name, labels, answers):
    mean = lambda terms: lambda weights: (weights * terms).sum() / weights.sum()
    if name in ("accuracy", "f1Micro"):
        return mean(classes_of(answers) == labels)
    if name in SHARES or name == "f1Macro":
        said = classes_of(answers)
        there = classes_there(name, labels, said)
        each = [of_class(what_of(name), (labels == one) * 1, (said == one) * 1) for one in there]
        return lambda weights: sum(one(weights) for one in each) / len(each)
    if name == "rocAuc":
        return area_of(labels == 1, answers)
    if name == "prAuc":
        at_least = answers[None, :] >= answers[:, None]
        precision = lambda weights: at_least @ (weights * labels) / (at_least @ weights)
        return lambda weights: (weights * labels * precision(weights)).sum() / (weights * labels).sum()
    if name == "expectedCalibrationError":
        gaps = (np.minimum((answers * 10).astype(int), 9) == np.arange(10)[:, None]) * (labels - answers)
        size = lambda sum: np.sign(sum.real) * sum
        return lambda weights: size(gaps @ weights).sum() / weights.sum()
    if name == "r2":
        spread = lambda weights: (weights * (labels - (weights * labels).sum() / weights.sum()) ** 2).sum()
        return lambda weights: 1 - (weights * (answers - labels) ** 2).sum() / spread(weights)
    if name == "rmse":
        return lambda weights: np.sqrt(mean(loss(name, labels, answers))(weights))
    return mean(loss(name, labels, answers))


# Their intervals.


def effective(weights):
    """As how many rows these count (Kish 1965)."""
    return weights.sum() ** 2 / (weights**2).sum() if len(weights) else 0.0


def wilson(share, trials, confidence):
    if trials == 0:
        return 0.0, 1.0
    return proportion_confint(share * trials, trials, alpha=1 - confidence, method="wilson")


def share(hits, among, weights, confidence):
    """A share of some rows, with Wilson's ends."""
    all_of = weights[among].sum()
    value = weights[among & hits].sum() / all_of if all_of > 0 else 0.0
    return (value, *wilson(value, effective(weights[among]), confidence))


def share_of_class(what, is_so, said_so, weights, confidence):
    if what == "f1":
        # Jaccard's index J of those that have the class at all, as 2J / (1 + J) (Hand, Christen & Kirielle 2021).
        jaccard = share(is_so & said_so, is_so | said_so, weights, confidence)
        return tuple(2 * one / (1 + one) for one in jaccard)
    return share(is_so & said_so, said_so if what == "precision" else is_so, weights, confidence)


def of_shares(name, labels, answers, weights, confidence):
    said = classes_of(answers)
    if name in ("accuracy", "f1Micro"):
        return share(said == labels, np.full(len(labels), True), weights, confidence)[1:]
    there = classes_there(name, labels, said)
    each = [share_of_class(what_of(name), labels == one, said == one, weights, confidence) for one in there]
    return mover(np.array(each))


def mover(each):
    """Of the mean of independent values with ends (Zou & Donner 2008)."""
    value, lower, upper = each.T
    below, above = np.sqrt(((value - lower) ** 2).sum()), np.sqrt(((upper - value) ** 2).sum())
    return np.clip([(value.sum() - below) / len(each), (value.sum() + above) / len(each)], 0, 1)


def hall(mean, influences, confidence):
    """Of a mean of skewed terms by the third transformation of Hall (1992), turned round:
    g⁻¹(z) = √n · 3/γ · (∛(1 + γ/√n · (z - γ/(6√n))) - 1)."""
    rows = len(influences)
    apart = rows * influences
    deviation = np.sqrt((apart**2).sum() / (rows - 1))
    skewness = (apart**3).mean() / deviation**3
    by = skewness / np.sqrt(rows)
    back = lambda z: 3 / by * (np.cbrt(1 + by * (z - by / 6)) - 1)
    z = two_sided(confidence)
    return [max(mean - deviation / np.sqrt(rows) * back(one), 0.0) for one in (z, -z)]


def placements(labels, scores):
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return wins.mean(axis=1), wins.mean(axis=0)


def delong(positive, negative):
    """The standard error of an area, or of a difference, from placements (DeLong, DeLong & Clarke-Pearson 1988)."""
    return np.sqrt(np.var(positive, ddof=1) / len(positive) + np.var(negative, ddof=1) / len(negative))


def law_of_area(area, positive, negative):
    """Hanley & McNeil's (1982) variance, as Newcombe (2006, part 2) has it in method 5."""
    more = (positive + negative) / 2 - 1
    shape = 1 + more * (1 - area) / (2 - area) + more * area / (1 + area)
    return area * (1 - area) * shape / (positive * negative)


def ratio(measured, law, rows):
    """How many times as large a variance is as its law has it; the law counts as 15 rows of the rarer class."""
    return ((measured / law if law > 0 else 1.0) * rows + 15) / (rows + 15)


def of_area(value, error, positive, negative, confidence):
    times = ratio(error**2, law_of_area(value, positive, negative), min(positive, negative))
    error_at = lambda area: np.sqrt(times * law_of_area(area, positive, negative))
    surprise = lambda area: abs(value - area) - two_sided(confidence) * error_at(area)
    end = lambda beyond, near: near if near == beyond else optimize.brentq(surprise, beyond, near, xtol=1e-15)
    return end(0.0, max(value - 1e-9, 0.0)), end(1.0, min(value + 1e-9, 1.0))


def of_precision(value, error, positive, negative, confidence):
    times = ratio(error**2, value * (1 - value) / positive, min(positive, negative))
    return wilson(value, positive / times, confidence)


def ends(name, labels, answers, weights, confidence):
    """The interval of a metric; weights are absent where all rows count the same."""
    plain = weights is None
    weights = np.ones(len(labels)) if plain else weights
    if name in SHARES:
        return of_shares(name, labels, answers, weights, confidence)
    value = metric_of(name, labels, answers)(weights)
    error = error_of(name, labels, answers, weights, plain)
    z = two_sided(confidence)
    if name in ("rocAuc", "prAuc"):
        sides = effective(weights[labels == 1]), effective(weights[labels == 0])
        return (of_area if name == "rocAuc" else of_precision)(value, error, *sides, confidence)
    if name == "f1Macro":
        # On the logit scale.
        half = z * error / (value * (1 - value))
        return [float(1 / (1 + np.exp(-(np.log(value / (1 - value)) + side)))) for side in (-half, half)]
    if name == "r2":
        # On the scale of ln(1 - R²).
        half = z * error / (1 - value)
        return [1 - (1 - value) * np.exp(side) for side in (half, -half)]
    mean = value**2 if name == "rmse" else value
    of_mean = influence(lambda by: (by * loss(name, labels, answers)).sum() / by.sum(), weights)
    both = hall(mean, of_mean, confidence)
    return np.sqrt(both) if name == "rmse" else both


def error_of(name, labels, answers, weights, plain):
    if name == "rocAuc" and plain:
        return delong(*placements(labels, answers))
    return standard_error(influence(metric_of(name, labels, answers), weights))


# Comparisons on the same rows.


def matched(labels, one, two, confidence, margin):
    """Agresti & Min (2005): half a row more of each kind."""
    better, worse = ((one == labels) & (two != labels)).sum(), ((two == labels) & (one != labels)).sum()
    rows, better_by_half, worse_by_half = len(labels) + 2, better + 0.5, worse + 0.5
    centre = (better_by_half - worse_by_half) / rows
    error = np.sqrt(((better_by_half + worse_by_half) / rows - centre**2) / rows)
    return found((better - worse) / len(labels), centre, error, error, confidence, margin)


def found(value, centre, below, above, confidence, margin):
    z = two_sided(confidence)
    return {
        "value": float(value),
        "ends": [float(centre - z * below), float(centre + z * above)],
        "inferior": float(stats.norm.sf((centre + margin) / below)),
        "within": float(stats.norm.cdf((centre + margin) / above)),
    }


def apart(name, labels, both, weights):
    """The standard error of the difference."""
    if name == "rocAuc" and weights is None:
        one, two = (placements(labels, answers) for answers in both)
        return delong(one[0] - two[0], one[1] - two[1])
    weights = np.ones(len(labels)) if weights is None else weights
    one, two = (influence(metric_of(name, labels, answers), weights) for answers in both)
    return standard_error(one - two)


def mover_of_two(name, labels, both, weights, error):
    """What stands for the standard error of a difference below and above it, from 90% intervals of both (Zou 2007)."""
    by = np.ones(len(labels)) if weights is None else weights
    errors = [error_of(name, labels, answers, by, weights is None) for answers in both]
    correlation = (errors[0] ** 2 + errors[1] ** 2 - error**2) / (2 * errors[0] * errors[1])
    reach = []
    for answers in both:
        value = metric_of(name, labels, answers)(by)
        lower, upper = ends(name, labels, answers, weights, 0.9)
        reach.append((value - lower, upper - value))
    (below, above), (their_below, their_above) = reach
    joint = lambda mine, theirs: np.sqrt(mine**2 - 2 * correlation * mine * theirs + theirs**2) / two_sided(0.9)
    return joint(below, their_above), joint(above, their_below)


def advantage(name, labels, both, weights, confidence, margin, higher_is_better):
    """By how much the first of two is better than the second."""
    if name in ("accuracy", "recall") and weights is None:
        among = labels == 1 if name == "recall" else np.full(len(labels), True)
        return matched(labels[among], *(classes_of(answers)[among] for answers in both), confidence, margin)
    by = np.ones(len(labels)) if weights is None else weights
    one, two = (float(metric_of(name, labels, answers)(by)) for answers in both)
    value = one - two if higher_is_better else two - one
    error = apart(name, labels, both, weights)
    below = above = error
    if name in SHARES or name in ("f1Macro", "rocAuc", "prAuc"):
        below, above = mover_of_two(name, labels, both, weights, error)
    return found(value, value, below, above, confidence, margin)
