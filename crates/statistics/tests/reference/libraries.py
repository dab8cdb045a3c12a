"""Each metric by its name, as the field's libraries have it: of labels, answers and weights."""

import warnings

import numpy as np
import sklearn.metrics as sk
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.preprocessing import label_binarize


def said(scores):
    """The class that each score says. What is no number stays, so that scikit-learn sees it too."""
    return np.where(np.isfinite(scores), np.asarray(scores) >= 0.5, scores)


def most_probable(answers):
    sums = np.sum(answers, axis=1)
    return np.where(np.isfinite(sums), np.argmax(answers, axis=1), sums)


def of_answered(score, answered, **options):
    return lambda labels, answers, weights: score(labels, answered(answers), sample_weight=weights, **options)


def of_answers(score, **options):
    return lambda labels, answers, weights: score(labels, answers, sample_weight=weights, **options)


def of_classes(score, **options):
    """A score that is told which classes there are."""
    return lambda labels, answers, weights: score(
        labels, answers, labels=np.arange(np.shape(answers)[1]), sample_weight=weights, **options
    )


def calibration_error(labels, scores, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = np.bincount(bins, weights * (labels - scores), 10)
    return np.abs(gaps).sum() / weights.sum()


def precision_of_classes(labels, answers, weights):
    one_hot = label_binarize(labels, classes=np.arange(np.shape(answers)[1]))
    return sk.average_precision_score(one_hot, answers, average="macro", sample_weight=weights)


MACRO = dict(average="macro", zero_division=0)
BINARY = {
    "accuracy": of_answered(sk.accuracy_score, said),
    "balancedAccuracy": of_answered(sk.balanced_accuracy_score, said),
    "precision": of_answered(sk.precision_score, said),
    "recall": of_answered(sk.recall_score, said),
    "f1": of_answered(sk.f1_score, said),
    "precisionMacro": of_answered(sk.precision_score, said, **MACRO),
    "recallMacro": of_answered(sk.recall_score, said, **MACRO),
    "f1Macro": of_answered(sk.f1_score, said, **MACRO),
    "f1Micro": of_answered(sk.f1_score, said, average="micro"),
    "rocAuc": of_answers(sk.roc_auc_score),
    "prAuc": of_answers(sk.average_precision_score),
    "logLoss": of_answers(sk.log_loss, labels=[0, 1]),
    "brier": of_answers(sk.brier_score_loss, labels=[0, 1]),
    "expectedCalibrationError": calibration_error,
}
CLASSES = {
    "accuracy": of_answered(sk.accuracy_score, most_probable),
    "balancedAccuracy": of_answered(sk.balanced_accuracy_score, most_probable),
    "precisionMacro": of_answered(sk.precision_score, most_probable, **MACRO),
    "recallMacro": of_answered(sk.recall_score, most_probable, **MACRO),
    "f1Macro": of_answered(sk.f1_score, most_probable, **MACRO),
    "f1Micro": of_answered(sk.f1_score, most_probable, average="micro"),
    "rocAuc": of_answers(sk.roc_auc_score, multi_class="ovr", average="macro"),
    "prAuc": precision_of_classes,
    "logLoss": of_classes(sk.log_loss),
    "brier": of_classes(sk.brier_score_loss, scale_by_half=False),
}
NUMBERS = {
    "rmse": of_answers(sk.root_mean_squared_error),
    "mae": of_answers(sk.mean_absolute_error),
    "mape": of_answers(sk.mean_absolute_percentage_error),
    # Of labels that are all the same scikit-learn says 0 or 1 in place of what it is, if it is not told otherwise.
    "r2": of_answers(sk.r2_score, force_finite=False),
    "pinball@0.9": of_answers(sk.mean_pinball_loss, alpha=0.9),
    "pinball@0.25": of_answers(sk.mean_pinball_loss, alpha=0.25),
}


def says(score, labels, answers, weights):
    """The value; or None and, in the library's words, why there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndefinedMetricWarning)
        warnings.filterwarnings("error", "No positive class found")
        try:
            value = float(score(labels, answers, weights))
        except (ValueError, Warning) as error:
            return None, f"{type(error).__name__}: {error}"
    return (value, None) if np.isfinite(value) else (None, str(value))
