"""Where the demo runs: a cluster of its own (`testcluster`), or the user's current one.

Absent on purpose: anything of the loop. Here are only a kubeconfig, images, and the programs that take them.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ("windlass", "windlass-agent", "flights")


class CommandFailed(Exception):
    """A program that the demo runs ended with an error."""


def run(*command: str | Path, env: dict[str, str] | None = None, text: str | None = None, shown: bool = False) -> str:
    """What a program prints. What it says on stderr is seen as it comes (`shown`), or when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=None if shown else subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        words = " ".join(str(word) for word in command)
        raise CommandFailed(f"{words} ended with {done.returncode}\n{(done.stderr or done.stdout).strip()[-2000:]}".strip())
    return done.stdout


class Cluster:
    """A cluster with a kubectl and a helm that talk to it."""

    kubectl_program, helm_program = "kubectl", "helm"

    def __init__(self) -> None:
        self.env: dict[str, str] = {}

    def check(self) -> None:
        """Whether the demo can run here; ends the program with the reason where it cannot."""

    def kubectl(self, *words: str | Path, text: str | None = None) -> str:
        return run(self.kubectl_program, *words, env=self.env, text=text)

    def helm(self, *words: str | Path) -> str:
        return run(self.helm_program, *words, env=self.env)

    def image(self, name: str) -> str:
        """The full name that pods use for one of the demo's images."""
        return f"localhost/{name}:dev"

    def apply(self, path: Path, changes: dict[str, str] | None = None) -> None:
        """Applies a manifest, with the images' names as this cluster knows them, and with other changes."""
        text = path.read_text()
        for old, new in (changes or {}).items():
            text = text.replace(old, new)
        for name in IMAGES:
            text = text.replace(f"localhost/{name}:dev", self.image(name))
        self.kubectl("apply", "--server-side", "-f", "-", text=text)


class TestCluster(Cluster):
    """A cluster of the demo's own on this machine."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.program = os.environ.get("TESTCLUSTER", "testcluster")

    def up(self) -> None:
        self.down()  # what an earlier demo left
        words = ("up", "--name", self.name, "--shape", "node", "--gpus", "0")
        self.env["KUBECONFIG"] = run(self.program, *words, shown=True).strip()
        self.kubectl_program = run(self.program, "which", "kubectl", shown=True).strip()
        self.helm_program = run(self.program, "which", "helm", shown=True).strip()

    def load(self, folder: Path) -> None:
        run(self.program, "load-image", "--name", self.name, *(folder / f"{name}.tar" for name in IMAGES))

    def down(self) -> None:
        run(self.program, "down", "--name", self.name)

    def look_around(self, namespace: str) -> list[str]:
        kubectl = f"{self.program} kubectl --name {self.name} -- -n {namespace}"
        return [
            f"{kubectl} get ml -o wide",
            f"{kubectl} describe driftmonitor flights",
            f"{kubectl} get modelversions -o yaml",
        ]


class CurrentCluster(Cluster):
    """The cluster of the current kubeconfig context; images go through a registry that it can pull from."""

    def __init__(self, registry: str) -> None:
        super().__init__()
        self.registry = registry.rstrip("/")
        self.engine = next((one for one in ("skopeo", "docker", "podman") if shutil.which(one)), None)

    def image(self, name: str) -> str:
        return f"{self.registry}/{name}:dev"

    def check(self) -> None:
        """Refuses a cluster in which something would be changed that the demo did not make."""
        if not self.registry:
            sys.exit("CLUSTER=current needs REGISTRY=host/path: where images can be pushed to, and pulled from by the cluster")
        if self.engine is None:
            sys.exit("REGISTRY needs one of skopeo, docker and podman to push the images")
        if missing := [one for one in (self.kubectl_program, self.helm_program) if not shutil.which(one)]:
            sys.exit(f"CLUSTER=current needs {' and '.join(missing)} on the PATH")
        self.kubectl("get", "--raw", "/readyz")
        found = self.kubectl("get", "namespaces", "flights", "windlass-system", "--ignore-not-found", "-o", "name").split()
        if found:
            sys.exit(f"{' and '.join(found)} exist already: `make demo-down` removes what an earlier demo made")

    def up(self) -> None:
        """It is up."""

    def load(self, folder: Path) -> None:
        for name in IMAGES:
            tar = folder / f"{name}.tar"
            if self.engine == "skopeo":
                run("skopeo", "copy", f"docker-archive:{tar}", f"docker://{self.image(name)}")
            else:
                run(self.engine, "load", "--input", tar)
                run(self.engine, "tag", f"localhost/{name}:dev", self.image(name))
                run(self.engine, "push", self.image(name))

    def down(self) -> None:
        ours = ("namespace", "--selector", "app.kubernetes.io/part-of=windlass-demo", "--ignore-not-found")
        if not self.kubectl("get", *ours, "-o", "name"):
            sys.exit("the current cluster has no namespace that the demo made: nothing is removed")
        self.kubectl("delete", *ours)
        self.helm("uninstall", "windlass", "--namespace", "windlass-system", "--ignore-not-found", "--wait")
        self.kubectl("delete", "namespace", "windlass-system", "--ignore-not-found")
        print("The CRDs of windlass.dev are left: other namespaces may have objects of these kinds.")

    def look_around(self, namespace: str) -> list[str]:
        kubectl = f"kubectl -n {namespace}"
        return [f"{kubectl} get ml -o wide", f"{kubectl} describe driftmonitor flights", f"{kubectl} get modelversions -o yaml"]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    """Reads from the API server, through `kubectl proxy` on a socket that only this user can open."""

    def __init__(self, cluster: Cluster) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="windlass-demo-")
        self.socket = f"{self.folder.name}/api.sock"
        self.proxy = subprocess.Popen(
            [cluster.kubectl_program, "proxy", f"--unix-socket={self.socket}"],
            env={**os.environ, **cluster.env},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.proxy.stdout.readline()  # it says that it serves

    def close(self) -> None:
        self.proxy.terminate()
        self.proxy.wait()
        self.folder.cleanup()

    def text(self, path: str, timeout: float = 10) -> str:
        """The body of what lies at a path; empty when it is not there."""
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
            return body if response.status == 200 else ""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def items(self, path: str) -> list[dict] | None:
        """The objects of a list; None when the API server could not be asked."""
        body = self.text(path)
        return json.loads(body).get("items", []) if body else None

    def lines(self, path: str) -> Iterator[str]:
        """The lines at a path for as long as they come."""
        connection = UnixConnection(self.socket, timeout=3600)
        try:
            connection.request("GET", path)
            for line in connection.getresponse():
                yield line.decode(errors="replace").rstrip("\n")
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()
