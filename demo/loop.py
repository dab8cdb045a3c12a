"""What the four kinds say of the loop. All reading of status is here, and nothing is written."""

from dataclasses import dataclass, field

GROUP = "/apis/windlass.dev/v1alpha1"
KINDS = {"tj": "trainingjobs", "mv": "modelversions", "md": "modeldeployments", "dm": "driftmonitors"}
Objects = dict[str, list[dict]]

#: The loop's milestones in their order: name and what has come to be.
MILESTONES = {
    "v1_trained": "version 1 is trained",
    "v1_validated": "version 1 is found good",
    "v1_serving": "version 1 serves",
    "healthy": "its first traffic is like its data",
    "drift_found": "drift is found, a training asked for",
    "v2_trained": "version 2 is trained on the newer window",
    "v2_validated": "version 2 is found good, against version 1",
    "promoted": "version 2 has taken all traffic",
    "settled": "version 1 is gone",
    "healthy_again": "traffic is like the new version's data",
}

#: Stages: name, from which milestone, to which one.
STAGES = (
    ("train_v1", "applied", "v1_trained"),
    ("validate_v1", "v1_trained", "v1_validated"),
    ("serve_v1", "v1_validated", "v1_serving"),
    ("drift_found", "v1_serving", "drift_found"),
    ("train_v2", "drift_found", "v2_trained"),
    ("validate_v2", "v2_trained", "v2_validated"),
    ("canary", "v2_validated", "promoted"),
    ("promotion", "promoted", "settled"),
    ("healthy_again", "settled", "healthy_again"),
)


def status(item: dict) -> dict:
    return item.get("status") or {}


def name(item: dict) -> str:
    return item["metadata"]["name"]


def condition(item: dict, type_: str) -> dict:
    return next((one for one in status(item).get("conditions", []) if one["type"] == type_), {})


def is_true(item: dict, type_: str) -> bool:
    """Whether a condition is true, and speaks of the object as it is now."""
    found = condition(item, type_)
    return found.get("status") == "True" and found.get("observedGeneration", 0) >= item["metadata"].get("generation", 0)


@dataclass
class Loop:
    """How far the loop has come, and what has been said of it."""

    deployment: str = "flights"
    monitor: str = "flights"
    first: str | None = None
    second: str | None = None
    failure: str | None = None
    reached: dict[str, float] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def read(self, objects: Objects, now: float) -> list[str]:
        """Takes in what the objects say now; returns the lines that are news."""
        news = [line for kind in KINDS for item in objects[kind] for line in self.news(kind, item)]
        for milestone in self.milestones(objects):
            if milestone not in self.reached:
                self.reached[milestone] = now
                news.append(f"  ==> {MILESTONES[milestone]}")
        return news

    def news(self, kind: str, item: dict) -> list[str]:
        lines = {"tj": training, "mv": version, "md": deployment, "dm": monitor}[kind](item)
        news = []
        for about, text in lines:
            key = f"{kind}/{name(item)}/{about}"
            if text and self.said.get(key) != text:
                self.said[key] = text
                news.append(f"{KINDS[kind][:-1]:<15} {name(item):<18} {text}")
        return news

    def milestones(self, objects: Objects) -> list[str]:
        """All milestones that the objects show to be reached."""
        versions = sorted(objects["mv"], key=lambda item: item["spec"]["version"])
        deployment = next((item for item in objects["md"] if name(item) == self.deployment), {"metadata": {}})
        monitor = next((item for item in objects["dm"] if name(item) == self.monitor), {"metadata": {}})
        stable = status(deployment).get("stable") or {}
        windows = status(monitor).get("windows") or []
        reached = []
        if versions:
            first = versions[0]
            self.first = name(first)
            reached.append("v1_trained")
            if verdict(first) == "Pass":
                reached.append("v1_validated")
            if stable.get("version") == self.first and is_true(deployment, "Available"):
                reached.append("v1_serving")
        if any(window["version"] == self.first and window["verdict"] == "Healthy" for window in windows):
            reached.append("healthy")
        if status(monitor).get("lastTrigger"):
            reached.append("drift_found")
        if len(versions) > 1:
            second = versions[-1]
            self.second = name(second)
            reached.append("v2_trained")
            if verdict(second) == "Pass":
                reached.append("v2_validated")
            if stable.get("version") == self.second:
                reached.append("promoted")
                if is_true(deployment, "Ready"):
                    reached.append("settled")
                    if any(window["version"] == self.second and window["verdict"] == "Healthy" for window in windows):
                        reached.append("healthy_again")
        for item in objects["tj"]:
            if is_true(item, "Failed"):
                self.failure = f"TrainingJob {name(item)} failed: {condition(item, 'Failed').get('message', '')}"
        for item in versions:
            if verdict(item) in ("Fail", "Inconclusive"):
                self.failure = f"ModelVersion {name(item)}: {verdict(item)}: {status(item)['validation']['message']}"
        if (status(deployment).get("lastRollout") or {}).get("outcome") == "RolledBack":
            self.failure = f"rolled back: {status(deployment)['lastRollout']['message']}"
        return reached

    def is_closed(self) -> bool:
        return all(milestone in self.reached for milestone in MILESTONES)

    def stages(self, applied: float) -> list[tuple[str, float | None]]:
        """Seconds of each stage; None for one that did not end."""
        at = {"applied": applied, **self.reached}
        return [(stage, at[end] - at[start] if start in at and end in at else None) for stage, start, end in STAGES]


def verdict(version: dict) -> str | None:
    return (status(version).get("validation") or {}).get("verdict")


def sentence(item: dict, type_: str) -> str:
    """A condition as a person reads it."""
    found = condition(item, type_)
    return f"{type_}={found['status']} {found.get('reason', '')}: {found.get('message', '')}" if found else ""


def training(item: dict) -> list[tuple[str, str]]:
    window = item["spec"].get("window")
    span = f"window {window['start'][11:19]} to {window['end'][11:19]}" if window else ""
    return [("window", span), ("phase", f"{status(item).get('phase') or 'Pending'}; {sentence(item, 'Ready')}")]


def version(item: dict) -> list[tuple[str, str]]:
    lines = [("phase", f"{status(item).get('phase') or 'Pending'}; {sentence(item, 'Ready')}")]
    found = status(item).get("validation")
    if found:
        lines.append(("verdict", f"{found['verdict']} on {found['rows']} rows: {found['message']}"))
    for metric in (found or {}).get("metrics", []):
        where = f"where {metric['segment']}" if metric.get("segment") else "on all rows"
        bounds = f" [{metric['lower']}, {metric['upper']}]" if metric.get("lower") else ""
        champion = f", champion {metric['champion']}" if metric.get("champion") else ""
        text = f"{metric['name']} {where}: {metric.get('value')}{bounds}{champion}  {metric.get('verdict') or ''}"
        lines.append((f"{metric['name']}/{metric.get('segment')}", text.rstrip()))
    return lines


def deployment(item: dict) -> list[tuple[str, str]]:
    said, canary = status(item), status(item).get("canary")
    lines = [("phase", f"{said.get('phase') or 'Pending'}; {sentence(item, 'Ready')}")]
    if canary:
        stable = (said.get("stable") or {}).get("version")
        lines.append(("canary", f"{canary['version']} takes {canary['weight']} %, {stable} the rest (step {canary['step'] + 1})"))
        lines.append(("analysis", canary.get("analysis") or ""))
    if said.get("lastRollout"):
        ended = said["lastRollout"]
        lines.append(("rollout", f"{ended['outcome']} {ended['version']}: {ended['message']}"))
    return lines


def monitor(item: dict) -> list[tuple[str, str]]:
    lines = [("drifted", sentence(item, "Drifted"))]
    for window in status(item).get("windows") or []:
        columns = f" [{', '.join(window['drifted'])}]" if window.get("drifted") else ""
        text = f"{window['verdict']} for {window['version']}, {window['rows']} rows{columns}: {window['message']}"
        lines.append((f"window/{window['end']}/{window['version']}", text))
    trigger = status(item).get("lastTrigger")
    if trigger:
        lines.append(("trigger", f"asked for {trigger['trainingJob']}: {trigger['message']}"))
    return lines
