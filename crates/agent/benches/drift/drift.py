"""What a profile and a verdict cost, beside others and beside bare reading: run by `make bench-drift`.

    drift.py AGENT PROGRAM OUTPUT [PEER=PYTHON ...]

AGENT is windlass-agent, PROGRAM what `main.rs` beside this file makes, PEER one of evidently, nannyml and whylogs with the
interpreter that has it. Seconds are of processors, of the program and all that it starts; memory is the most that was
resident. The least of a few runs counts, but for the peers, of which one is enough. With FULL=1 the wide file has
3 million rows instead of a tenth of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

ROWS, NUMBERS, NAMES = 1_000_000, 35, 15
WIDE_ROWS, WIDE_NUMBERS = (3_000_000 if os.environ.get("FULL") else 300_000), 1000

EVIDENTLY = """
import sys, pandas
from evidently import Dataset, DataDefinition, Report
from evidently.presets import DataDriftPreset
old, new = (pandas.read_parquet(path) for path in sys.argv[1:])
numbers = [name for name in old if name.startswith("number")]
names = [name for name in old if name.startswith("name")]
of = DataDefinition(numerical_columns=numbers, categorical_columns=names)
report = Report([DataDriftPreset()])
report.run(Dataset.from_pandas(new, data_definition=of), Dataset.from_pandas(old, data_definition=of)).dict()
"""

NANNYML = """
import sys, pandas, nannyml
old, new = (pandas.read_parquet(path) for path in sys.argv[1:])
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(old), chunk_number=1,
    continuous_methods=["kolmogorov_smirnov", "jensen_shannon"],
    categorical_methods=["chi2", "jensen_shannon"])
calculator.fit(old)
calculator.calculate(new).to_df()
"""

WHYLOGS = """
import sys, pandas, whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores
old, new = (pandas.read_parquet(path) for path in sys.argv[1:])
views = [whylogs.log(pandas=of).view() for of in (old, new)]
calculate_drift_scores(target_view=views[1], reference_view=views[0], with_thresholds=True)
"""

SCIPY = """
import sys, time, numpy, scipy.stats
rows = int(sys.argv[1])
random = numpy.random.default_rng(5)
old, new = random.normal(size=rows), random.normal(0.05, size=rows)
def least(of):
    seconds = []
    for _ in range(5):
        start = time.perf_counter(); of(); seconds.append(time.perf_counter() - start)
    return min(seconds)
def psi():
    edges = numpy.quantile(old, numpy.linspace(0, 1, 11)[1:-1])
    counts = [numpy.bincount(numpy.searchsorted(edges, of, side="right"), minlength=10) / rows for of in (old, new)]
    return ((counts[1] - counts[0]) * numpy.log(counts[1] / counts[0])).sum()
print(least(lambda: scipy.stats.ks_2samp(old, new)), least(psi))
"""

figures = []


def tell(name, value, unit, goal="printed", holds=True):
    figures.append({"name": name, "value": value, "unit": unit, "goal": goal, "holds": bool(holds)})
    print(f"{name:84} {value:10.3f} {unit:4} {goal:14} {'holds' if holds else 'DOES NOT HOLD'}", flush=True)


def run(command, times=1, good=(0,)):
    """Processor seconds, wall seconds and MiB of a command, the least of so many runs."""
    best = None
    for _ in range(times):
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status) not in good:
            raise RuntimeError(f"{command[:4]}: {said.decode(errors='replace')[-2000:]}")
        took = (usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)
        best = took if best is None or took[0] < best[0] else best
    return best


def main():
    agent, program, output, *peers = sys.argv[1:]
    peers = dict(peer.split("=", 1) for peer in peers)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        at = lambda name: os.path.join(folder, name)
        narrow(agent, program, at, peers)
        wide(agent, program, at)
        memory(program, peers)
    os.makedirs(os.path.dirname(output), exist_ok=True)
    with open(output, "w") as file:
        json.dump(figures, file, indent=2)
    missed = sum(not figure["holds"] for figure in figures)
    if missed:
        sys.exit(f"{missed} of {len(figures)} figures do not hold")


def narrow(agent, program, at, peers):
    what = f"{ROWS:,} × {NUMBERS + NAMES}, twice"
    for name, seed, shift in (("old", 1, 0.0), ("new", 2, 4.0)):
        run([program, "make", at(f"{name}.parquet"), *map(str, (ROWS, NUMBERS, NAMES, 100_000, seed, shift))])
    files = [at("old.parquet"), at("new.parquet")]
    # A verdict of another kind than Healthy is a code of its own.
    codes = (0, 10, 11, 12)
    floor = run([program, "floor", *files], 3)
    mine = run([agent, "drift", *files], 3, codes)
    ks = run([agent, "drift", *files, "--method", "KolmogorovSmirnov"], 3, codes)
    tell(f"bare scan and histogram, {what}: processor", floor[0], "s")
    tell(f"bare scan and histogram, {what}: memory", floor[2], "MiB")
    tell(f"drift by PSI, {what}: processor", mine[0], "s")
    tell(f"drift by Kolmogorov-Smirnov, {what}: processor", ks[0], "s")
    tell(f"drift by PSI, {what}: memory", mine[2], "MiB")
    slower = mine[0] / floor[0]
    tell(f"drift by PSI over a bare scan and histogram, {what}", slower, "×", "<= 1.5", slower <= 1.5)
    told = {}
    for name, script in (("evidently", EVIDENTLY), ("nannyml", NANNYML), ("whylogs", WHYLOGS)):
        if name not in peers:
            print(f"{name}: skipped, it cannot be had here")
            continue
        try:
            told[name] = run([peers[name], "-c", script, *files])
        except RuntimeError as problem:
            print(f"{name}: skipped, it fails: {problem}")
            continue
        tell(f"{name}, {what}: processor", told[name][0], "s")
        tell(f"{name}, {what}: memory", told[name][2], "MiB")
    if told:
        fastest = min(told, key=lambda name: told[name][0])
        ratio, share = told[fastest][0] / mine[0], mine[2] / told[fastest][2]
        tell(f"processor of the fastest peer ({fastest}) over ours", ratio, "×", ">= 20", ratio >= 20)
        tell(f"memory of ours over that of {fastest}", share, "×", "<= 0.25", share <= 0.25)


def wide(agent, program, at):
    what = f"{WIDE_ROWS:,} × {WIDE_NUMBERS:,}"
    for name, seed, shift in (("old", 1, 0.0), ("new", 2, 1.0)):
        run([program, "make", at("wide.parquet"), *map(str, (WIDE_ROWS, WIDE_NUMBERS, 0, 20_000, seed, shift))])
        took = run([agent, "profile", at("wide.parquet"), "-o", at(f"{name}.json")])
        goal = 180 if os.environ.get("FULL") else 18
        tell(f"profile, {what} ({name}): wall", took[1], "s", f"<= {goal}", took[1] <= goal)
        tell(f"profile, {what} ({name}): memory", took[2], "MiB", "<= 1024", took[2] <= 1024)
    for method in ("PSI", "KolmogorovSmirnov"):
        took = run([agent, "drift", at("old.json"), at("new.json"), "--method", method], 3, (0, 10, 11, 12))
        tell(f"verdict of two profiles, {WIDE_NUMBERS:,} columns, {method}: wall", took[1], "s", "<= 1", took[1] <= 1)


def memory(program, peers):
    rows = "1000000"
    of = lambda what: float(subprocess.run([program, what, rows], capture_output=True, text=True, check=True).stdout.split()[0])
    mine = {what: of(what) for what in ("kolmogorov", "psi")}
    tell("Kolmogorov-Smirnov, 1 M against 1 M numbers in memory", mine["kolmogorov"] * 1000, "ms")
    tell("PSI, 1 M against 1 M numbers in memory", mine["psi"] * 1000, "ms")
    python = next(iter(peers.values()), None)
    if python is None:
        print("scipy: skipped, it cannot be had here")
        return
    said = subprocess.run([python, "-c", SCIPY, rows], capture_output=True, text=True, check=True).stdout.split()
    for what, theirs, goal in (("kolmogorov", float(said[0]), 10), ("psi", float(said[1]), 3)):
        ratio = theirs / mine[what]
        tell(f"{what}: scipy or numpy over ours", ratio, "×", f">= {goal}", ratio >= goal)


if __name__ == "__main__":
    main()
