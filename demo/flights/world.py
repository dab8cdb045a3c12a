"""Turns the world: asks the model about each flight that is about to leave, and lets flights land.

Replays DATA/world/*.csv.gz in time compression against an Open Inference server. When a flight has
landed, its outcome is appended to DATA/labels, and the flight with its features to DATA/history or,
for a fifth of them, to DATA/holdout: small files that appear whole. After the last month it goes round
the last three again (with new request ids; nothing lands twice in history) until it is told to stop.

Each two seconds one JSON line says how it goes; the last line has the totals. A request is sent once:
anything but a whole answer counts as failed.
"""

import argparse
import csv
import gzip
import heapq
import http.client
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

from flights import CATEGORIES, COLUMNS, FEATURES, LABEL_COLUMNS, is_held_out, read_categories, rfc3339, write_rows

HOURS_PER_MONTH = 365.25 / 12 * 24
MONTHS_GONE_ROUND = 3


@dataclass
class Batch:
    """Flights that leave one airport in the same hour of the world."""

    departs: datetime
    flights: list[dict]
    lap: int


def batches(folder: Path, most: int) -> Iterator[Batch]:
    """All flights in the order of their departure, and then the last months over and over."""
    months = sorted(folder.glob("*.csv.gz"))
    if not months:
        sys.exit(f"no *.csv.gz in {folder}: run prepare.py first")
    laps = itertools.chain([months], itertools.repeat(months[-MONTHS_GONE_ROUND:]))
    for lap, paths in enumerate(laps):
        for path in paths:
            with gzip.open(path, "rt", newline="") as file:
                for hour, rows in itertools.groupby(csv.DictReader(file), lambda row: row["event_time"][:13]):
                    departs = datetime.fromisoformat(f"{hour}:00:00+00:00")
                    by_origin: dict[str, list[dict]] = {}
                    for row in rows:
                        by_origin.setdefault(row["origin"], []).append(row)
                    for _, flights in sorted(by_origin.items()):
                        for start in range(0, len(flights), most):
                            yield Batch(departs, flights[start : start + most], lap)


class Encoder:
    """Makes a request's body as the model takes it."""

    def __init__(self, categories: dict[str, list[str]]) -> None:
        self.codes = {name: {value: code for code, value in enumerate(categories[name])} for name in CATEGORIES}

    def body(self, request_id: str, flights: list[dict]) -> bytes:
        data = [
            self.codes[name].get(row[name], -1) if name in self.codes else float(row[name])
            for row in flights
            for name in FEATURES
        ]
        tensor = {"name": "predict", "datatype": "FP64", "shape": [len(flights), len(FEATURES)], "data": data}
        return json.dumps({"id": request_id, "inputs": [tensor]}).encode()


@dataclass
class Counts:
    """What has been sent, and how it went."""

    sent: int = 0
    failed: int = 0
    rows: int = 0
    latencies: list[float] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, rows: int, seconds: float, failure: str | None) -> None:
        with self.lock:
            self.sent += 1
            self.rows += rows
            self.latencies.append(seconds)
            self.recent.append(seconds)
            if failure:
                self.failed += 1
                if self.failed <= 50:
                    print(f"{rfc3339(datetime.now(timezone.utc))} failed: {failure}", file=sys.stderr, flush=True)

    def line(self, simulated: datetime, total: bool = False) -> str:
        with self.lock:
            latencies = sorted(self.latencies if total else self.recent)
            self.recent.clear()
            at = lambda q: round(1000 * latencies[int(q * (len(latencies) - 1))], 1) if latencies else None
            counts = {"sent": self.sent, "failed": self.failed, "rows": self.rows}
        return json.dumps({"simulated": simulated.date().isoformat(), **counts, "p50_ms": at(0.5), "p99_ms": at(0.99)})


class Client:
    """Sends each request over a connection of its own, so that every pod of a Service gets its share."""

    def __init__(self, server: str, model: str) -> None:
        address = urlsplit(server)
        self.host, self.port = address.hostname, address.port or 80
        self.path = f"/v2/models/{model}"

    def call(self, method: str, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, self.path + path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "/ready", None, 2)[0] == 200
        except OSError:
            return False
        except http.client.HTTPException:
            return False

    def infer(self, body: bytes, rows: int) -> str | None:
        """Why the request failed, or None."""
        try:
            status, answer = self.call("POST", "/infer", body, 10)
            if status != 200:
                return f"{status} {answer[:200]!r}"
            if len(json.loads(answer)["outputs"][0]["data"]) != rows:
                return f"an answer of another size: {answer[:200]!r}"
        except Exception as error:  # whatever it was, a person did not get an answer
            return f"{type(error).__name__}: {error}"
        return None


class Landing:
    """Flights in the air, and the files that say how they landed."""

    def __init__(self, data: Path, run: str) -> None:
        self.data, self.run = data, run
        self.chunk = itertools.count(1)
        self.in_the_air: list[tuple[datetime, int, dict, bool]] = []
        self.ticket = itertools.count()
        self.landed: list[tuple[dict, bool]] = []

    def depart(self, flight: dict, request_id: str, first_time: bool, shift: timedelta) -> None:
        lands = datetime.fromisoformat(flight["landed_at"]) + shift
        heapq.heappush(self.in_the_air, (lands, next(self.ticket), flight | {"request_id": request_id}, first_time))

    def land(self, simulated: datetime) -> None:
        now = rfc3339(datetime.now(timezone.utc))
        while self.in_the_air and self.in_the_air[0][0] <= simulated:
            _, _, flight, first_time = heapq.heappop(self.in_the_air)
            self.landed.append((flight | {"landed_at": now}, first_time))

    def flush(self) -> None:
        if not self.landed:
            return
        name = f"{self.run}-{next(self.chunk):05}.csv"
        first = [flight for flight, first_time in self.landed if first_time]
        held_out = [flight for flight in first if is_held_out(flight["flight_id"])]
        history = [flight for flight in first if not is_held_out(flight["flight_id"])]
        write_rows(self.data / "labels" / f"labels-{name}", LABEL_COLUMNS, (flight for flight, _ in self.landed))
        if history:
            write_rows(self.data / "history" / f"landed-{name}", COLUMNS, history)
        if held_out:
            write_rows(self.data / "holdout" / f"landed-{name}", COLUMNS, held_out)
        self.landed.clear()


def turn(args: argparse.Namespace, stop: threading.Event) -> None:
    """The world from its first hour until it is told to stop."""
    client, counts = Client(args.server, args.model), Counts()
    encoder = Encoder(read_categories(args.data / "categories.json"))
    run = f"{int(time.time()):x}"
    landing, number = Landing(args.data, run), itertools.count()
    hour = args.seconds_per_month / HOURS_PER_MONTH
    simulated, due, shift = None, time.monotonic(), timedelta()
    reported = flushed = time.monotonic()
    slots = threading.BoundedSemaphore(args.workers)

    def ask(request_id: str, flights: list[dict]) -> None:
        try:
            body, began = encoder.body(request_id, flights), time.perf_counter()
            failure = client.infer(body, len(flights))
            counts.add(len(flights), time.perf_counter() - began, failure and f"{request_id}: {failure}")
        finally:
            slots.release()

    with ThreadPoolExecutor(args.workers) as pool:
        for batch in batches(args.data / "world", args.batch):
            if stop.is_set() or (args.until_file and args.until_file.exists()):
                break
            departs = batch.departs + shift
            if simulated and departs < simulated:  # a new lap: the calendar starts again, time does not
                shift += simulated - departs
                departs = simulated
            if simulated:
                due += (departs - simulated).total_seconds() / 3600 * hour
            simulated = departs
            due = max(due, time.monotonic() - 1)  # where the machine cannot keep up, the world turns slower
            stop.wait(max(0.0, due - time.monotonic()))
            request_id = f"{run}-{next(number):06}"
            for row, flight in enumerate(batch.flights):
                one = f"{request_id}#{row}" if len(batch.flights) > 1 else request_id
                landing.depart(flight, one, batch.lap == 0, shift)
            slots.acquire()
            pool.submit(ask, request_id, batch.flights)
            landing.land(simulated)
            now = time.monotonic()
            if now - flushed >= args.flush_every:
                landing.flush()
                flushed = now
            if now - reported >= 2:
                print(counts.line(batch.departs), flush=True)
                reported = now
    landing.flush()
    print(counts.line(batch.departs, total=True), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--server", default="http://flights:8080", metavar="URL")
    parser.add_argument("--model", default="flights")
    parser.add_argument("--seconds-per-month", type=float, default=40)
    parser.add_argument("--batch", type=int, default=32, help="most flights in one request")
    parser.add_argument("--workers", type=int, default=4, help="most requests at a time")
    parser.add_argument("--flush-every", type=float, default=2, metavar="SECONDS")
    parser.add_argument("--wait", type=float, default=600, metavar="SECONDS", help="for the model to be served at all")
    parser.add_argument("--until-file", type=Path, metavar="PATH", help="stop when this file is there")
    args = parser.parse_args()
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())

    client, deadline, ready = Client(args.server, args.model), time.monotonic() + args.wait, 0
    while ready < 3 and not stop.is_set():  # three times in a row: endpoints are known everywhere
        ready = ready + 1 if client.is_ready() else 0
        if time.monotonic() > deadline:
            sys.exit(f"{args.server} does not serve {args.model} after {args.wait:.0f} s")
        stop.wait(0.5)
    if not stop.is_set():
        turn(args, stop)


if __name__ == "__main__":
    main()
