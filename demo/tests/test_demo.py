"""Tests of the demo's own programs that need nothing but Python: `python3 -m unittest discover demo/tests`."""

import csv
import gzip
import http.server
import json
import sys
import tempfile
import threading
import time
import unittest
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(DEMO), str(DEMO / "flights")]

import latency  # noqa: E402
from flights import CATEGORIES, COLUMNS, FEATURES, is_held_out  # noqa: E402
from loop import MILESTONES, Loop  # noqa: E402
from world import Encoder, Landing, batches  # noqa: E402

MORNING = datetime(2013, 4, 1, 12, tzinfo=timezone.utc)


def flight(number: int, **columns: str) -> dict:
    row = dict.fromkeys(COLUMNS, "1") | {"carrier": "AA", "origin": "JFK", "dest": "BOS"}
    row |= {"flight_id": f"f{number}", "event_time": MORNING.isoformat(), "landed_at": MORNING.isoformat()}
    return row | columns


class World(unittest.TestCase):
    def setUp(self) -> None:
        self.data = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def month(self, name: str, rows: list[dict]) -> None:
        with gzip.open(self.data / f"{name}.csv.gz", "wt", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def rows(self, folder: str) -> list[dict]:
        paths = sorted((self.data / folder).glob("*.csv"))
        return [row for path in paths for row in csv.DictReader(path.read_text().splitlines())]

    def test_a_batch_holds_flights_of_one_airport_and_hour(self) -> None:
        later = (MORNING + timedelta(hours=1)).isoformat()
        self.month("2013-04", [flight(1), flight(2, origin="LGA"), flight(3), flight(4, event_time=later)])
        first_lap = [[row["flight_id"] for row in batch.flights] for batch in islice(batches(self.data, 32), 3)]
        self.assertEqual(first_lap, [["f1", "f3"], ["f2"], ["f4"]])

    def test_after_the_last_month_the_last_three_come_again(self) -> None:
        for month in range(4, 9):
            self.month(f"2013-{month:02}", [flight(month)])
        seen = [(batch.lap, batch.flights[0]["flight_id"]) for batch in islice(batches(self.data, 32), 8)]
        self.assertEqual(seen[5:], [(1, "f6"), (1, "f7"), (1, "f8")])

    def test_an_unknown_category_is_minus_one(self) -> None:
        encoder = Encoder({name: ["AA", "BOS", "JFK"] for name in CATEGORIES})
        tensor = json.loads(encoder.body("r", [flight(1, carrier="ZZ", distance="187")]))["inputs"][0]
        self.assertEqual(tensor["shape"], [1, len(FEATURES)])
        self.assertEqual(tensor["data"][:4], [-1, 2, 1, 187.0])

    def test_a_landed_flight_is_in_history_or_held_out_and_its_outcome_in_labels(self) -> None:
        landing = Landing(self.data, "run")
        for number in range(50):
            landing.depart(flight(number), f"r#{number}", True, timedelta())
        landing.depart(flight(50, landed_at=(MORNING + timedelta(hours=1)).isoformat()), "r2", True, timedelta())
        landing.land(MORNING)
        landing.flush()
        held_out, history = self.rows("holdout"), self.rows("history")
        self.assertTrue(all(is_held_out(row["flight_id"]) for row in held_out))
        self.assertFalse(any(is_held_out(row["flight_id"]) for row in history))
        self.assertEqual(len(held_out) + len(history), 50)
        self.assertEqual({row["request_id"] for row in self.rows("labels")}, {f"r#{number}" for number in range(50)})

    def test_a_flight_of_a_later_lap_has_an_outcome_but_lands_in_history_only_once(self) -> None:
        landing = Landing(self.data, "run")
        landing.depart(flight(1), "again", False, timedelta())
        landing.land(MORNING)
        landing.flush()
        self.assertEqual([row["request_id"] for row in self.rows("labels")], ["again"])
        self.assertEqual(self.rows("history") + self.rows("holdout"), [])


class Latency(unittest.TestCase):
    """`latency.py` against two servers, of which one answers later."""

    def serve(self, seconds: float) -> latency.Server:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(seconds)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        one = latency.Server(f"127.0.0.1:{server.server_port}", "flights")
        self.addCleanup(one.connection.close)
        return one

    def test_what_the_way_through_the_proxy_takes_longer_is_added(self) -> None:
        figures = latency.measure(self.serve(0), self.serve(0.02), 10, b"{}")
        self.assertGreaterEqual(figures["added_p50_ms"], 10)
        self.assertLess(figures["direct_p50_ms"], figures["proxied_p50_ms"])


def item(name: str, spec: dict | None = None, **status: object) -> dict:
    return {"metadata": {"name": name, "generation": 1}, "spec": spec or {}, "status": status}


def true(type_: str) -> dict:
    return {"type": type_, "status": "True", "observedGeneration": 1}


class LoopIsRead(unittest.TestCase):
    def objects(self) -> dict[str, list[dict]]:
        window = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:01:00Z", "rows": 9, "message": ""}
        passed = {"verdict": "Pass", "rows": 9, "message": ""}
        return {
            "tj": [],
            "mv": [item(f"flights-{v}", {"version": v}, validation=passed) for v in (1, 2)],
            "md": [item("flights", conditions=[true("Available"), true("Ready")], stable={"version": "flights-1"})],
            "dm": [item("flights", windows=[window | {"version": "flights-1", "verdict": "Healthy"}])],
        }

    def test_the_loop_is_closed_only_when_the_monitor_is_healthy_against_the_new_version(self) -> None:
        loop, objects = Loop(), self.objects()
        loop.read(objects, 1)
        self.assertFalse(loop.is_closed())
        objects["dm"][0]["status"]["lastTrigger"] = {"trainingJob": "t", "message": ""}
        objects["md"][0]["status"]["stable"]["version"] = "flights-2"
        loop.read(objects, 2)
        self.assertEqual(set(MILESTONES) - set(loop.reached), {"healthy_again"})
        objects["dm"][0]["status"]["windows"].append(objects["dm"][0]["status"]["windows"][0] | {"version": "flights-2"})
        loop.read(objects, 3)
        self.assertTrue(loop.is_closed())

    def test_what_was_said_is_not_said_again(self) -> None:
        loop, objects = Loop(), self.objects()
        self.assertTrue(loop.read(objects, 1))
        self.assertEqual(loop.read(objects, 2), [])

    def test_a_rejected_version_ends_the_demo(self) -> None:
        loop, objects = Loop(), self.objects()
        objects["mv"][1]["status"]["validation"] = {"verdict": "Fail", "rows": 9, "message": "rocAuc"}
        loop.read(objects, 1)
        self.assertIn("flights-2: Fail", loop.failure)


if __name__ == "__main__":
    unittest.main()
