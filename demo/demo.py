#!/usr/bin/env python3
"""The whole loop on a real Kubernetes, on real flights.

    demo.py up      starts a cluster, installs Windlass, applies the three manifests of deploy/examples/flights,
                    starts the traffic, shows what happens, and ends with 0 only if the loop closed
    demo.py down    removes all of it

No step of the loop is done here: this program applies manifests, starts traffic, and reads.
CLUSTER=current REGISTRY=host/path uses the cluster of the current kubeconfig context.
TESTCLUSTER, WINDLASS_BINARY and WINDLASS_AGENT_BINARY name the programs that images are made from.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cluster import ROOT, Api, Cluster, CommandFailed, CurrentCluster, TestCluster, run
from loop import GROUP, KINDS, MILESTONES, Loop, condition

NAMESPACE = "flights"
SYSTEM = "windlass-system"
EXAMPLE = ROOT / "deploy" / "examples" / "flights"
MANIFESTS = ROOT / "demo" / "manifests"
BEGAN = time.monotonic()
#: For a quicker, smaller run: what changes in the manifests when a month passes in half the time.
QUICK = {
    '--seconds-per-month, "40"': '--seconds-per-month, "20"',
    "every: 20s, size: 40s, minSamples: 3000": "every: 10s, size: 20s, minSamples: 1500",
    "hold: 10s": "hold: 5s",
}


def say(text: str) -> None:
    """A line with the minutes and seconds since the start."""
    minutes, seconds = divmod(time.monotonic() - BEGAN, 60)
    print(f"{minutes:02.0f}:{seconds:04.1f}  {text}", flush=True)


class World:
    """What the world's pod prints, read as it comes."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.last: dict = {}
        self.line: str = ""
        threading.Thread(target=self.follow, daemon=True).start()

    def pod(self) -> str | None:
        pods = self.api.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dworld") or []
        return next((pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] != "Pending"), None)

    def follow(self) -> None:
        while not (pod := self.pod()):
            time.sleep(1)
        for line in self.api.lines(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log?follow=true"):
            if line.startswith("{"):
                self.last = json.loads(line)
                self.line = "world           " + "  ".join(f"{key} {value}" for key, value in self.last.items())
            else:
                say(f"world           {line}")


def prepare(cluster: Cluster, images: Path) -> None:
    """A cluster with Windlass in it, and a claim with January to March."""
    cluster.check()
    say("making images")
    run(ROOT / "demo" / "build-images.sh", images, shown=True)
    say("starting the cluster")
    cluster.up()
    say("loading images")
    cluster.load(images)
    # First of all, so that `down` knows what the demo made, however far it came.
    cluster.apply(MANIFESTS / "namespace.yaml")
    say("installing the chart")
    values = []
    for key, name in (("image", "windlass"), ("agent.image", "windlass-agent"), ("mlserver.image", "flights")):
        repository, tag = cluster.image(name).rsplit(":", 1)
        values += ["--set", f"{key}.repository={repository}", "--set-string", f"{key}.tag={tag}"]
    cluster.helm(
        "upgrade", "--install", "windlass", ROOT / "charts" / "windlass",
        "--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "2m", *values,
    )
    say("making January to March")
    cluster.apply(MANIFESTS / "data.yaml")
    cluster.kubectl("-n", NAMESPACE, "wait", "--for=condition=Complete", "job/prepare", "--timeout=180s")


def watch(api: Api, loop: Loop, world: World, deadline: float) -> None:
    """Shows what happens until the loop has closed, or cannot."""
    shown = 0.0
    while not loop.is_closed() and not loop.failure and time.monotonic() < deadline:
        objects = {kind: api.items(f"{GROUP}/namespaces/{NAMESPACE}/{plural}") for kind, plural in KINDS.items()}
        if None not in objects.values():
            for line in loop.read(objects, time.monotonic()):
                say(line)
        if world.line and time.monotonic() - shown >= 10:
            shown = time.monotonic()
            say(world.line)
        time.sleep(0.5)


def stop_world(cluster: Cluster, world: World) -> dict:
    """The world's totals, after its last request."""
    if not (pod := world.pod()):
        return {}
    cluster.kubectl("-n", NAMESPACE, "exec", pod, "--", "touch", "/data/world/stop")
    cluster.kubectl("-n", NAMESPACE, "wait", "--for=condition=Complete", "job/world", "--timeout=60s")
    lines = cluster.kubectl("-n", NAMESPACE, "logs", pod).strip().splitlines()
    return json.loads(next(line for line in reversed(lines) if line.startswith("{")))


def compare(cluster: Cluster, api: Api, loop: Loop, world: World) -> dict:
    """Both versions on the held-out flights that landed after the newer one's window."""
    versions = {item["metadata"]["name"]: item["spec"] for item in api.items(f"{GROUP}/namespaces/{NAMESPACE}/modelversions") or []}
    old, new = versions[loop.first], versions[loop.second]
    folder = {spec["version"]: spec["artifact"]["uri"].replace("pvc://flights/", "/data/") for spec in (old, new)}
    return json.loads(
        cluster.kubectl(
            "-n", NAMESPACE, "exec", world.pod(), "--", "python3", "/opt/flights/compare.py",
            "--old", folder[old["version"]], "--new", folder[new["version"]], "--holdout", "/data/holdout",
            "--categories", "/data/categories.json", "--since", new["window"]["end"],
        )
    )  # fmt: skip


def added_latency(cluster: Cluster, api: Api) -> dict:
    """What the agent's proxy adds to a request, measured in a pod that serves while nothing else is asked of it."""
    pods = api.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=windlass.dev%2Fdeployment%3Dflights,windlass.dev%2Frole%3Dserving") or []
    serving = [pod["metadata"]["name"] for pod in pods if condition(pod, "Ready").get("status") == "True"]
    if not serving:
        return {}
    words = ("exec", serving[0], "-c", "server", "--", "python3", "/opt/flights/latency.py")
    return json.loads(cluster.kubectl("-n", NAMESPACE, *words))


def owned(api: Api) -> dict[str, str]:
    """Everything of the loop and its version as the API server counts them, but for what a monitor does for each window."""
    apps, batch, core = "/apis/apps/v1", "/apis/batch/v1", "/api/v1"
    kinds = [(GROUP, KINDS["tj"]), (GROUP, KINDS["mv"]), (GROUP, KINDS["md"]), (apps, "deployments"), (batch, "jobs"), (core, "services")]
    items = [
        (kind, item["metadata"])
        for group, kind in kinds
        for item in api.items(f"{group}/namespaces/{NAMESPACE}/{kind}") or []
    ]
    return {
        f"{kind}/{metadata['name']}": metadata["resourceVersion"]
        for kind, metadata in items
        if metadata.get("labels", {}).get("windlass.dev/role") != "drift"
    }


def operator_pods(api: Api) -> list[str]:
    """Names of the operator's pods that are ready."""
    pods = api.items(f"/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Doperator") or []
    ready = [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]
    return [pod["metadata"]["name"] for pod in ready if "deletionTimestamp" not in pod["metadata"]]


def operator_metric(api: Api, pod: str, name: str) -> float | None:
    """A metric of one of the operator's pods."""
    text = api.text(f"/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics")
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} ")), None)


def restart(cluster: Cluster, api: Api) -> dict:
    """Both replicas of the operator are started again over all the demo's objects: what changes by that, and its memory then."""
    before, old = owned(api), operator_pods(api)
    cluster.kubectl("-n", SYSTEM, "delete", "pod", *old, "--wait=false")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        new = [pod for pod in operator_pods(api) if pod not in old]
        if any(operator_metric(api, pod, "windlass_leading") == 1 for pod in new) and len(new) >= len(old):
            break
        time.sleep(1)
    else:
        return {}
    time.sleep(10)  # long enough for every object to be looked at
    after = owned(api)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        say(f"the operator's restart changed {', '.join(changed)}")
    memory = [bytes for pod in new if (bytes := operator_metric(api, pod, "process_resident_memory_bytes"))]
    return {"changed": len(changed), "memory": max(memory) / 1e6 if memory else None}


def figure(name: str, value: float | bool | None, unit: str, goal: float | bool | str | None = None, holds: bool | None = None) -> dict:
    return {"name": name, "value": round(value, 4) if isinstance(value, float) else value, "unit": unit, "goal": goal, "holds": holds}


def summary(loop: Loop, applied: float, totals: dict, comparison: dict, latency: dict, restarted: dict) -> list[dict]:
    """All figures of a run, in the form that every benchmark of the project has."""
    closed = loop.is_closed()
    seconds = loop.reached["healthy_again"] - applied if closed else None
    old, new = comparison.get("old_version_auc"), comparison.get("new_version_auc")
    gain = new - old if comparison else None
    memory = restarted.get("memory")
    figures = [
        figure("loop_closed", closed, "", True, closed),
        figure("loop_seconds", seconds, "s", "< 600", seconds is not None and seconds < 600),
    ]
    figures += [figure(stage, took, "s") for stage, took in loop.stages(applied)]
    figures += [
        figure("requests_sent", totals.get("sent"), "requests"),
        figure("requests_failed", totals.get("failed"), "requests", 0, totals.get("failed") == 0),
        figure("rows_sent", totals.get("rows"), "flights"),
        figure("request_p50", totals.get("p50_ms"), "ms"),
        figure("request_p99", totals.get("p99_ms"), "ms"),
        figure("later_flights", comparison.get("rows"), "flights"),
        figure("old_version_auc", old, "ROC AUC"),
        figure("new_version_auc", new, "ROC AUC"),
        figure("new_version_auc_gain", gain, "ROC AUC", "> 0", gain is not None and gain > 0),
        figure("old_version_log_loss", comparison.get("old_version_log_loss"), "nats"),
        figure("new_version_log_loss", comparison.get("new_version_log_loss"), "nats"),
        figure("model_server_p50", latency.get("direct_p50_ms"), "ms"),
        figure("model_server_p99", latency.get("direct_p99_ms"), "ms"),
        figure("proxy_added_latency_p50", latency.get("added_p50_ms"), "ms"),
        figure("proxy_added_latency_p99", latency.get("added_p99_ms"), "ms"),
        figure("changed_by_restart", restarted.get("changed"), "objects", 0, restarted.get("changed") == 0),
        figure("operator_resident", memory, "MB", "< 25", memory is not None and memory < 25),
    ]
    return figures


def measured(measure: Callable[[], dict]) -> dict:
    """What was measured; where that went wrong, it is said, and the other figures are not lost for it."""
    try:
        return measure()
    except (CommandFailed, ValueError, KeyError, StopIteration) as error:
        say(f"a figure is missing: {error}")
        return {}


def table(figures: list[dict], loop: Loop) -> None:
    print()
    for one in figures:
        digits = {"s": 1, "ms": 2, "MB": 1}.get(one["unit"])
        value = str(one["value"]) if digits is None or one["value"] is None else f"{one['value']:.{digits}f}"
        goal = "" if one["holds"] is None else f"goal {one['goal']}: {'holds' if one['holds'] else 'MISSED'}"
        print(f"  {one['name']:<24} {value:>10} {one['unit']:<9} {goal}".rstrip())
    for milestone, words in MILESTONES.items():
        if milestone not in loop.reached:
            print(f"  not reached: {words}")
    print()


def up(cluster: Cluster, args: argparse.Namespace) -> int:
    prepare(cluster, args.images)
    changes = QUICK if args.quick else {}
    manifests = [path for path in sorted(EXAMPLE.glob("*.yaml")) if path.name != "kustomization.yaml"]
    texts = [path.read_text() for path in (*manifests, MANIFESTS / "world.yaml")]
    if missing := [old for old in changes if not any(old in text for text in texts)]:
        raise CommandFailed(f"--quick changes what no manifest says any more: {missing}")
    api, loop = Api(cluster), Loop()
    try:
        say(f"applying {', '.join(path.name for path in manifests)}, and starting the world")
        for path in manifests:
            cluster.apply(path, changes)
        cluster.apply(MANIFESTS / "world.yaml", changes)
        applied, world = time.monotonic(), World(api)
        watch(api, loop, world, applied + args.timeout)
        if loop.failure:
            say(loop.failure)
        comparison = measured(lambda: compare(cluster, api, loop, world)) if "promoted" in loop.reached else {}
        totals = measured(lambda: stop_world(cluster, world))
        latency = measured(lambda: added_latency(cluster, api))
        restarted = measured(lambda: restart(cluster, api))
        figures = summary(loop, applied, totals, comparison, latency, restarted)
    finally:
        api.close()
    args.summary.parent.mkdir(parents=True, exist_ok=True)
    args.summary.write_text(json.dumps(figures, indent=1) + "\n")
    table(figures, loop)
    print("The cluster is up. Look around:")
    for command in cluster.look_around(NAMESPACE):
        print(f"  {command}")
    print("Take it down: make demo-down")
    return 0 if loop.is_closed() else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("--name", default="windlass-demo", help="of the test cluster")
    parser.add_argument("--images", type=Path, default=Path(os.environ.get("IMAGES", ROOT / "target" / "demo" / "images")), metavar="DIR")
    parser.add_argument("--summary", type=Path, default=ROOT / "target" / "demo" / "summary.json", metavar="FILE")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS", help="for the loop to close")
    parser.add_argument("--quick", action="store_true", help="a month passes in half the time")
    args = parser.parse_args()
    current = os.environ.get("CLUSTER") == "current"
    cluster = CurrentCluster(os.environ.get("REGISTRY", "")) if current else TestCluster(args.name)
    try:
        if args.action == "up":
            return up(cluster, args)
        cluster.down()
        return 0
    except CommandFailed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
