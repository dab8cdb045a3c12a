"""Workers grow one forest of XGBoost's, each from its own part of the rows; the worker of rank 0 runs the tracker."""

import hashlib
import json
import os
import socket

import numpy as np
import xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

ROUNDS, ROWS = 20, 2000
PARAMETERS = {"max_depth": 4, "eta": 0.3, "tree_method": "hist", "seed": 1, "nthread": 1}

rank, size = int(os.environ["DMLC_TASK_ID"]), int(os.environ["DMLC_NUM_WORKER"])
host, port = os.environ["DMLC_TRACKER_URI"], int(os.environ["DMLC_TRACKER_PORT"])
assert size == int(os.environ["WINDLASS_WORLD_SIZE"]) > 1, size


def rows() -> tuple[np.ndarray, np.ndarray]:
    """The same on every worker."""
    made = np.random.default_rng(1)
    x = made.normal(size=(ROWS, 5))
    return x, np.where(x[:, 0] > 0, x[:, 1], -x[:, 2]) + 0.1 * made.normal(size=ROWS)


def error(model: xgboost.Booster) -> float:
    """Root mean squared, over all rows."""
    return float(np.sqrt(np.mean((model.predict(xgboost.DMatrix(x)) - y) ** 2)))


tracker = None
if rank == 0:
    # `task`: ranks are those of DMLC_TASK_ID. The tracker takes an address, and no name.
    tracker = RabitTracker(n_workers=size, host_ip=socket.gethostbyname(host), port=port, sortby="task")
    tracker.start()
x, y = rows()
with collective.CommunicatorContext(
    dmlc_tracker_uri=host, dmlc_tracker_port=port, dmlc_task_id=str(rank), dmlc_retry=60, dmlc_timeout=120
):
    assert collective.get_world_size() == size, collective.get_world_size()
    assert collective.get_rank() == rank, collective.get_rank()
    summed = collective.allreduce(np.array([10.0**rank]), collective.Op.SUM)
    assert summed[0] == sum(10.0**each for each in range(size)), summed
    together = xgboost.train(PARAMETERS, xgboost.DMatrix(x[rank::size], y[rank::size]), ROUNDS)
    own = hashlib.sha256(together.save_raw("json")).hexdigest()
    digest = collective.broadcast(own, 0)
    # Whoever differs says so to all, so that none waits for it.
    differing = int(collective.allreduce(np.array([int(own != digest)]), collective.Op.SUM)[0])
assert differing == 0, (own, digest)
if tracker:
    tracker.wait_for()

alone = xgboost.train(PARAMETERS, xgboost.DMatrix(x, y), ROUNDS)
of_its_part = xgboost.train(PARAMETERS, xgboost.DMatrix(x[rank::size], y[rank::size]), ROUNDS)
errors = {"together": error(together), "alone": error(alone), "of one part": error(of_its_part)}
assert errors["together"] < 1.1 * errors["alone"], errors
assert errors["together"] < errors["of one part"], errors
result = {"workers": size, "digest": digest, "errors": errors, "version": xgboost.__version__}
with open(os.path.join(os.environ["WINDLASS_OUTPUT"], "result.json"), "w") as file:
    json.dump(result, file)
