"""A model server of the Open Inference Protocol. It answers the same whatever its number, which it says beside.

/claim/modes/NUMBER, where it is there, says how the model of this number misbehaves, also while it runs.
The header X-Takes says how many seconds an answer takes.
"""

import http.server
import json
import os
import sys
import time

NUMBER = float(open(os.environ["WINDLASS_MODEL_DIRECTORY"] + "/model").read())


def mode():
    try:
        return open(f"/claim/modes/{NUMBER:g}").read()
    except FileNotFoundError:
        return "good"


def answer(prediction):
    outputs = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
        for name, value in (("p", prediction), ("number", NUMBER))
    ]
    return json.dumps({"model_name": "m", "outputs": outputs}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(200, b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(float(self.headers.get("X-Takes", 0)))
        match mode():
            case "errors":
                self.say(500, json.dumps({"error": "no such feature", "number": NUMBER}).encode())
            case "dies":
                print("out of memory", file=sys.stderr, flush=True)
                os._exit(3)
            case "nan":
                self.say(200, answer(float("nan")))
            case _:
                self.say(200, answer(0.5))

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


if mode() == "crash":
    sys.exit("the model was made by a newer library")
Server(("127.0.0.1", int(os.environ["WINDLASS_PORT"])), Handler).serve_forever()
