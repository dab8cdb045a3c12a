"""Workers fit a line together: DistributedDataParallel over gloo, on CPU.

Runs as it is (`python3 torch_ddp.py`), meeting the others by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and under
torchrun (`python3 -m torch.distributed.run torch_ddp.py`), which takes its own arguments from PET_ variables.
"""

import json
import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS, ROWS = 50, 64


def line() -> tuple[torch.Tensor, torch.Tensor]:
    """The same rows on every worker."""
    made = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 3, generator=made)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3.0


def fit(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Its parameters after some steps on these rows, as one vector."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def linear(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 1)


dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
x, y = line()
# Each worker begins elsewhere, and sees its own part of the rows alone: DDP makes them one.
together = fit(DistributedDataParallel(linear(seed=rank)), x[rank::size], y[rank::size])
everybodys = [torch.empty_like(together) for _ in range(size)]
dist.all_gather(everybodys, together)
ranks = torch.tensor([rank])
dist.all_reduce(ranks)
alone = fit(linear(seed=0), x, y)

assert size == int(os.environ["WINDLASS_WORLD_SIZE"]) > 1, size
assert ranks.item() == size * (size - 1) // 2, ranks
assert all(torch.equal(each, together) for each in everybodys), everybodys
torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
result = {
    "workers": size,
    "launcher": "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "none",
    "weights": together.tolist(),
    "version": torch.__version__,
}
with open(os.path.join(os.environ["WINDLASS_OUTPUT"], "result.json"), "w") as file:
    json.dump(result, file)
dist.destroy_process_group()
