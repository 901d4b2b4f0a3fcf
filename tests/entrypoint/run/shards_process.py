"""One of two ranks that hold a small decoder under an engine, and tell the bytes of all that this rank keeps of it after a backward pass and a step.
`python shards_process.py STRATEGY PRECISION FOLDER`, with torchrun's environment."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from transformers import LlamaConfig, LlamaForCausalLM

from entrypoint.plan.deepspeed import deepspeed as settings_of
from entrypoint.plan.deepspeed import nested
from entrypoint.plan.fully_shard import fully_shard
from entrypoint.plan.load import Load
from entrypoint.run.fsdp import shard

STRATEGY, PRECISION, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def model() -> Any:
    """Sizes that no number of processes divides."""
    torch.manual_seed(1)
    config = LlamaConfig(**json.loads((FOLDER / "config.json").read_text()))
    return LlamaForCausalLM._from_config(config, dtype=torch.float32)


def size(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def states(optimizer: Any) -> int:
    """Without counts of steps."""
    kept = (value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value) and value.numel() > 1)
    return size(value.to_local() if hasattr(value, "to_local") else value for value in kept)


def by_deepspeed(made: Any) -> dict[str, int]:
    import deepspeed

    load = Load("full", 16, PRECISION, STRATEGY, RANKS, 1, 8, False, False)
    config = nested(settings_of(load, 1, 1, 1.0, live=1_000_000))
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    engine, zero, _, _ = deepspeed.initialize(model=made, optimizer=optimizer, config=config)
    loss = engine(input_ids=torch.ones((1, 8), dtype=torch.int64), labels=torch.ones((1, 8), dtype=torch.int64), use_cache=False).loss
    engine.backward(loss)
    found = {}
    if STRATEGY == "zero3":
        found["weights"] = size(p.ds_tensor for p in made.parameters())
        found["gradients"] = size(grad for group in zero.averaged_gradients.values() for grad in group)
        found["fp32 weights"] = size(zero.fp32_partitioned_groups_flat)
    else:
        found["weights"] = size(zero.bit16_groups_flat)
        found["gradients"] = size(grad for group in zero.averaged_gradients.values() for grad in group)
        found["fp32 weights"] = size(zero.single_partition_of_fp32_groups)
    engine.step()
    return found | {"optimizer": states(zero.optimizer)}


def by_fsdp(made: Any) -> dict[str, int]:
    torch.distributed.init_process_group("gloo")
    load = Load("full", 16, PRECISION, "fsdp", RANKS, 1, 8, False, False)
    shard(made, nested(fully_shard(load)), torch.device("cpu"))
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=PRECISION == "bf16"):  # as the trainer does
        loss = made(input_ids=torch.ones((1, 8), dtype=torch.int64), labels=torch.ones((1, 8), dtype=torch.int64), use_cache=False).loss
    loss.backward()
    found = {"weights": size(p.to_local() for p in made.parameters()), "gradients": size(p.grad.to_local() for p in made.parameters())}
    optimizer.step()
    return found | {"optimizer": states(optimizer)}


def main() -> None:
    """Tell."""
    torch.set_num_threads(1)
    if STRATEGY != "fsdp":
        import deepspeed

        deepspeed.init_distributed("gloo", verbose=False)
    found = by_fsdp(model()) if STRATEGY == "fsdp" else by_deepspeed(model())
    (FOLDER / f"told-{RANK}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
