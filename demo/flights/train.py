"""Trains a LightGBM model that says how likely a flight is to arrive more than 15 minutes late.

Reads all *.csv of a folder, writes model.bst (LightGBM's text format) and signature.json. Where the
environment variable WINDLASS_PROGRESS names a file, progress and metrics are written there as JSON.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

from flights import CATEGORIES, FEATURES, read_categories

MIN_ROWS = 1000


def read_landed(folder: Path, since: str = "", until: str = "") -> pd.DataFrame:
    """All rows of a folder's CSV files that landed in [since, until)."""
    paths = sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))
    if not paths:
        sys.exit(f"no *.csv in {folder}")
    rows = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    landed = pd.to_datetime(rows["landed_at"], utc=True, format="ISO8601")
    inside = pd.Series(True, index=rows.index)
    if since:
        inside &= landed >= pd.Timestamp(since)
    if until:
        inside &= landed < pd.Timestamp(until)
    return rows[inside]


def encode(rows: pd.DataFrame, categories: dict[str, list[str]]) -> np.ndarray:
    """The model's input: one row a flight, a category as its place in the list, an unknown one as -1."""
    columns = [
        pd.Categorical(rows[name], categories=categories[name]).codes if name in CATEGORIES else rows[name]
        for name in FEATURES
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def signature(categories: dict[str, list[str]]) -> dict:
    """What the model takes, in the order of the tensor's columns."""
    inputs = [
        {"name": name, "type": "Category", "categories": categories[name]}
        if name in CATEGORIES
        else {"name": name, "type": "Number"}
        for name in FEATURES
    ]
    return {"tensor": "predict", "inputs": inputs}


def report(rounds: int):
    """A LightGBM callback that prints the metrics and writes them where WINDLASS_PROGRESS says."""
    path = os.environ.get("WINDLASS_PROGRESS")

    def callback(env) -> None:
        step = env.iteration + 1
        if step % 10 and step != rounds:
            return
        metrics = {f"training_{name}": round(value, 6) for _, name, value, _ in env.evaluation_result_list}
        print(f"round {step}/{rounds}", *(f"{name}={value:.4f}" for name, value in metrics.items()), flush=True)
        if path:
            hidden = Path(f"{path}.part")
            hidden.write_text(json.dumps({"step": step, "epoch": step / rounds, "metrics": metrics}))
            os.replace(hidden, path)

    return callback


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--categories", type=Path, required=True, metavar="FILE")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--since", default="", metavar="TIME", help="only flights that landed at or after it")
    parser.add_argument("--until", default="", metavar="TIME", help="only flights that landed before it")
    args = parser.parse_args()

    categories = read_categories(args.categories)
    rows = read_landed(args.data, args.since, args.until)
    bounds = f"landed from {args.since or 'the beginning'} to {args.until or 'now'}"
    if len(rows) < MIN_ROWS:
        sys.exit(f"only {len(rows)} flights in {args.data} {bounds}: at least {MIN_ROWS} are needed")
    rows = rows.sort_values(["event_time", "flight_id"])
    print(f"{len(rows)} flights {bounds}, {rows['late'].mean():.1%} late", flush=True)

    training = lgb.Dataset(
        encode(rows, categories),
        rows["late"].to_numpy(),
        feature_name=list(FEATURES),
        categorical_feature=list(CATEGORIES),
        params={"verbose": -1},
    )
    model = lgb.train(
        {
            "objective": "binary",
            "metric": ["auc", "binary_logloss"],
            "learning_rate": args.learning_rate,
            "num_leaves": args.leaves,
            "seed": args.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 2,
            "verbose": -1,
        },
        training,
        num_boost_round=args.rounds,
        valid_sets=[training],
        valid_names=["training"],
        callbacks=[report(args.rounds)],
    )
    args.output.mkdir(parents=True, exist_ok=True)
    model.save_model(args.output / "model.bst")
    (args.output / "signature.json").write_text(json.dumps(signature(categories), indent=1))


if __name__ == "__main__":
    main()
