"""Compares two versions of the model on the same later flights, which neither was trained on.

Prints one JSON object: rows, and ROC AUC and log loss of the old and of the new version.
"""

import argparse
import json
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np

from flights import read_categories
from train import encode, read_landed


def roc_auc(late: np.ndarray, score: np.ndarray) -> float:
    """Probability that a late flight has a higher score than one in time; ties count half (Mann and Whitney 1947)."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    positive = int(late.sum())
    negative = len(late) - positive
    return float((rank[late == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def log_loss(late: np.ndarray, score: np.ndarray) -> float:
    """Mean negative log likelihood, in nats."""
    score = np.clip(score, 1e-15, 1 - 1e-15)
    return float(-np.mean(late * np.log(score) + (1 - late) * np.log(1 - score)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, metavar="DIR", help="folder with the old version's model.bst")
    parser.add_argument("--new", type=Path, required=True, metavar="DIR")
    parser.add_argument("--holdout", type=Path, required=True, metavar="DIR")
    parser.add_argument("--categories", type=Path, required=True, metavar="FILE")
    parser.add_argument("--since", required=True, metavar="TIME", help="end of the new version's training window")
    args = parser.parse_args()
    rows = read_landed(args.holdout, since=args.since)
    late = rows["late"].to_numpy()
    if len(set(late)) < 2:
        sys.exit(f"{len(rows)} flights in {args.holdout} landed after {args.since}: too few to compare on")
    inputs = encode(rows, read_categories(args.categories))
    result = {"rows": len(rows), "first": rows["date"].min(), "last": rows["date"].max()}
    for name, folder in (("old", args.old), ("new", args.new)):
        score = lgb.Booster(model_file=folder / "model.bst").predict(inputs, num_threads=1)
        result[f"{name}_version_auc"] = round(roc_auc(late, score), 4)
        result[f"{name}_version_log_loss"] = round(log_loss(late, score), 4)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
