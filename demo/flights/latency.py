"""Measures what the agent's proxy adds to a request, from inside a pod that serves.

Sends the same request by turns to the model server itself and to the proxy in front of it, each over one
connection that stays open, and prints one JSON object: median and 99th percentile of both, in
milliseconds, and what the proxy adds: the median of the differences of neighbours, and the difference
of the 99th percentiles.
"""

import argparse
import http.client
import json
import sys
import time

from flights import FEATURES


def quantile(values: list[float], share: float) -> float:
    """The nearest-rank quantile of some values."""
    return sorted(values)[int(share * (len(values) - 1))]


class Server:
    """One connection to one server of the Open Inference Protocol."""

    def __init__(self, address: str, model: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=10)
        self.path = f"/v2/models/{model}/infer"

    def milliseconds(self, body: bytes) -> float:
        """How long one request takes, to the last byte of its answer."""
        began = time.perf_counter()
        self.connection.request("POST", self.path, body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        took = time.perf_counter() - began
        if response.status != 200:
            sys.exit(f"{self.connection.host}:{self.connection.port} answered {response.status}: {answer[:200]!r}")
        return 1000 * took


def measure(direct: Server, proxied: Server, pairs: int, body: bytes) -> dict[str, float]:
    """The figures of some pairs of requests; the first tenth warms up and does not count."""
    taken: list[tuple[float, float]] = []
    for number in range(pairs + pairs // 10):
        if number % 2:
            through = proxied.milliseconds(body)
            taken.append((direct.milliseconds(body), through))
        else:
            straight = direct.milliseconds(body)
            taken.append((straight, proxied.milliseconds(body)))
    taken = taken[pairs // 10 :]
    straight, through = [list(side) for side in zip(*taken)]
    figures = {
        "direct_p50_ms": quantile(straight, 0.5),
        "proxied_p50_ms": quantile(through, 0.5),
        "added_p50_ms": quantile([b - a for a, b in taken], 0.5),
        "direct_p99_ms": quantile(straight, 0.99),
        "proxied_p99_ms": quantile(through, 0.99),
        "added_p99_ms": quantile(through, 0.99) - quantile(straight, 0.99),
    }
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", default="127.0.0.1:8081", metavar="HOST:PORT", help="the model server")
    parser.add_argument("--proxied", default="127.0.0.1:8080", metavar="HOST:PORT", help="the proxy in front of it")
    parser.add_argument("--model", default="flights")
    parser.add_argument("--pairs", type=int, default=500)
    args = parser.parse_args()
    tensor = {"name": "predict", "datatype": "FP64", "shape": [1, len(FEATURES)], "data": [0.0] * len(FEATURES)}
    body = json.dumps({"inputs": [tensor]}).encode()
    figures = measure(Server(args.direct, args.model), Server(args.proxied, args.model), args.pairs, body)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
