"""Asks each target again and again, from its first good answer on, and says once a second what has come of it.

The targets are the first argument, as JSON: what they are called, where they are, under which host name, seconds from one
request to the next, whether the connection is kept, and more headers.
"""

import http.client
import json
import sys
import threading
import time

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]})
KEPT = 5

lock = threading.Lock()
counted = {}


def judge(status, text):
    """What came of a request, and of which version's."""
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    if status == 200:
        return "answers", said["outputs"][1]["data"][0]
    # An error that the model server itself says, one that a pod's proxy says in its place, or one on the way to any pod.
    if "number" in said:
        return "errors", said["number"]
    if str(said.get("error", "")).startswith("windlass: "):
        return "refused", None
    return "failed", [time.time(), status, text[:300].decode(errors="replace")]


def ask(target):
    connection, has_begun = None, False
    while True:
        try:
            if connection is None:
                connection = http.client.HTTPConnection(target["address"], target["port"], timeout=20)
            headers = {"Content-Type": "application/json", "Host": target["host"], **target["headers"]}
            connection.request("POST", "/v2/models/m/infer", BODY, headers)
            answer = connection.getresponse()
            what, which = judge(answer.status, answer.read())
            if not target["keep"] or answer.getheader("Connection") == "close":
                connection.close()
                connection = None
        except Exception as problem:
            what, which = "failed", [time.time(), 0, repr(problem)]
            connection = None
        has_begun = has_begun or what == "answers"
        if has_begun:
            count(counted[target["name"]], what, which)
        time.sleep(target["pause"])


def count(mine, what, which):
    with lock:
        mine["sent"] += 1
        if what == "failed":
            mine["failures"] += 1
            mine["failed"] = mine["failed"][-KEPT + 1 :] + [which]
        elif what == "refused":
            mine["refused"] += 1
        else:
            mine[what][which] = mine[what].get(which, 0) + 1


for target in json.loads(sys.argv[1]):
    counted[target["name"]] = {"sent": 0, "failures": 0, "failed": [], "refused": 0, "errors": {}, "answers": {}}
    threading.Thread(target=ask, args=(target,)).start()
while True:
    with lock:
        print(json.dumps(counted), flush=True)
    time.sleep(1)
