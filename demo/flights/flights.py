"""What the programs of this folder agree on: columns, their order, and where a flight belongs."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

CATEGORIES = ("carrier", "origin", "dest")
WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
NUMBERS = ("distance", "hour", "weekday", *WEATHER)
#: The model's features, in the order of its input tensor's columns.
FEATURES = (*CATEGORIES, *NUMBERS)
#: Columns of a landed flight's row.
COLUMNS = ("flight_id", "date", "event_time", "month", *FEATURES, "late", "landed_at")
LABEL_COLUMNS = ("request_id", "flight_id", "late", "landed_at")


def is_held_out(flight_id: str) -> bool:
    """Whether a flight is one of the fifth that no training ever sees."""
    return int(hashlib.sha256(flight_id.encode()).hexdigest()[:8], 16) % 5 == 0


def rfc3339(moment: datetime) -> str:
    """A time in UTC with microseconds, always of the same width, so that text sorts by time."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_categories(path: Path) -> dict[str, list[str]]:
    """The categories of each category column, in the order of their codes."""
    return json.loads(path.read_text())


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Writes a CSV file that a reader of the folder sees whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    with hidden.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(hidden, path)
