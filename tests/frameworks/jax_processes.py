"""Processes of JAX add up what each of them has: on CPU, with its collectives over gloo."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# It reads JAX_COORDINATOR_ADDRESS by itself, and nothing else. Left to guess, it would ask the cluster's API.
jax.distributed.initialize(
    num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
    process_id=int(os.environ["JAX_PROCESS_ID"]),
    cluster_detection_method="deactivate",
)
rank, size = jax.process_index(), jax.process_count()
assert size == int(os.environ["WINDLASS_WORLD_SIZE"]) > 1, size
assert rank == int(os.environ["WINDLASS_RANK"]), rank

# One array over the devices of all processes; each holds a row.
mesh = Mesh(np.array(jax.devices()), ("workers",))
rows = NamedSharding(mesh, PartitionSpec("workers"))
own = np.full((1, 4), 10.0 ** rank, dtype=np.float32)
spread = jax.make_array_from_process_local_data(rows, own)


def total(row: jax.Array) -> jax.Array:
    return jax.lax.psum(row, "workers")


summed = jax.jit(jax.shard_map(total, mesh=mesh, in_specs=PartitionSpec("workers"), out_specs=PartitionSpec()))(spread)
expected = sum(10.0**each for each in range(size))
assert jnp.all(summed == expected), summed
gathered = multihost_utils.process_allgather(np.array([rank])).ravel().tolist()
assert gathered == list(range(size)), gathered

result = {"workers": size, "sum": float(np.asarray(summed).ravel()[0]), "version": jax.__version__}
with open(os.path.join(os.environ["WINDLASS_OUTPUT"], "result.json"), "w") as file:
    json.dump(result, file)
jax.distributed.shutdown()
