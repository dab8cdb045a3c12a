"""A seeded training of several workers that can be killed at any step, and ends with the same bits all the same.

Its state is all that the next step depends on: weights, the optimizer's momentum, the order of the rows, and the random
numbers of every worker (dropout). Rank 0 saves it, for all, every few steps, and once more when any worker is told to
stop. FORGET names a part of the state that is not restored: what a trainer with that mistake ends with is not the same.
"""

import io
import json
import os
import signal
import sys
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS, EVERY, ROWS, BATCH = int(os.environ.get("STEPS", "120")), 5, 256, 16
PAUSE = float(os.environ.get("PAUSE", "0.1"))
FORGET = os.environ.get("FORGET", "")
CHECKPOINTS, RESUME_FROM = os.environ["WINDLASS_CHECKPOINTS"], os.environ["WINDLASS_RESUME_FROM"]
ATTEMPT = os.environ["WINDLASS_ATTEMPT"]
# Where a test sees how far this is: a folder of the claim.
WATCHED = os.path.join(os.environ["WINDLASS_VOLUMES"], "data", "watched", os.environ["JOB"])

torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
is_told_to_stop = False


def stop(*_: object) -> None:
    global is_told_to_stop
    is_told_to_stop = True


signal.signal(signal.SIGTERM, stop)
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
os.makedirs(WATCHED, exist_ok=True)

made = torch.Generator().manual_seed(7)
x = torch.randn(ROWS, 8, generator=made)
y = torch.sin(x @ torch.randn(8, 1, generator=made))

torch.manual_seed(100 + rank)
model = DistributedDataParallel(
    torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(32, 1))
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.7)
shuffle = torch.Generator().manual_seed(42)
order = torch.empty(0, dtype=torch.long)
step = 0


def save() -> None:
    """Every worker has a part in it; rank 0 writes it."""
    randomness = [torch.empty_like(torch.get_rng_state()) for _ in range(size)]
    dist.all_gather(randomness, torch.get_rng_state())
    if rank != 0:
        return
    state = {
        "step": step,
        "model": model.module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "shuffle": shuffle.get_state(),
        "order": order,
        "randomness": randomness,
    }
    path = os.path.join(CHECKPOINTS, f"step-{step:06}")
    torch.save(state, path + ".tmp")
    os.rename(path + ".tmp", path)
    # The last two stay: one may be being uploaded.
    for old in sorted(name for name in os.listdir(CHECKPOINTS) if name.startswith("step-"))[:-2]:
        os.remove(os.path.join(CHECKPOINTS, old))


def restore(path: str) -> None:
    global step, order
    state = torch.load(path, weights_only=True)
    step, order = state["step"], state["order"]
    model.module.load_state_dict(state["model"])
    if FORGET != "optimizer":
        optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    if FORGET != "shuffle":
        shuffle.set_state(state["shuffle"])
    if FORGET != "randomness":
        torch.set_rng_state(state["randomness"][rank])


def train() -> None:
    global step, order
    if len(order) < BATCH * size:
        order = torch.randperm(ROWS, generator=shuffle)
    batch, order = order[: BATCH * size][rank::size], order[BATCH * size :]
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x[batch]), y[batch]).backward()
    optimizer.step()
    schedule.step()
    step += 1


if RESUME_FROM:
    restore(RESUME_FROM)
# All have to go on from the same.
steps = [torch.zeros(1, dtype=torch.long) for _ in range(size)]
dist.all_gather(steps, torch.tensor([step]))
assert len({each.item() for each in steps}) == 1, f"workers go on from different steps: {steps}"
with open(os.path.join(WATCHED, f"pid-{ATTEMPT}-{rank}"), "w") as file:
    file.write(str(os.getpid()))

while step < STEPS:
    train()
    if rank == 0:
        with open(os.path.join(WATCHED, "steps"), "a") as file:
            file.write(f"{ATTEMPT} {step}\n")
    told = torch.tensor([int(is_told_to_stop)])
    dist.all_reduce(told)
    if told.item() or step % EVERY == 0:
        save()
    if told.item():
        sys.exit(143)
    time.sleep(PAUSE)

weights = io.BytesIO()
for tensor in [*model.module.state_dict().values(), *(s["momentum_buffer"] for s in optimizer.state_dict()["state"].values())]:
    weights.write(tensor.contiguous().numpy().tobytes())
output = os.environ["WINDLASS_OUTPUT"]
with open(os.path.join(output, "weights"), "wb") as file:
    file.write(weights.getvalue())
with open(os.path.join(output, "result.json"), "w") as file:
    json.dump({"workers": size, "steps": step}, file)
dist.destroy_process_group()
