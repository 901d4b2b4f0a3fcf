"""One of two ranks under DeepSpeed that keep what they need in memory, then in files, and go on from a checkpoint in both; prints what differed.
`python offload_process.py STAGE FOLDER`, with torchrun's environment."""

import json
import os
import sys
from pathlib import Path

import deepspeed
import torch

from entrypoint.run.engine_state import fragments, restore
from entrypoint.run.fragments import FragmentReader
from entrypoint.run.mapped_files import MappedFiles
from entrypoint.run.offload_files import move_to_files
from entrypoint.run.saver import Saver
from schemas.manifest import Manifest

STAGE, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
HALF, ALL = 4, 8
"""Micro-batches; two make a step."""


def engine(in_files: bool):
    """DeepSpeed's engine and optimizer over two small layers, always the same, and the files where there are some."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))
    place = {"device": "cpu", "pin_memory": False}
    zero = {"stage": STAGE, "offload_optimizer": place, "stage3_param_persistence_threshold": 0, **({"offload_param": place} if STAGE == 3 else {})}
    config = {
        "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2, "zero_optimization": zero, "gradient_clipping": 1.0,
        "zero_force_ds_cpu_optimizer": False, "zero_allow_untested_optimizer": True,
    }  # fmt: skip
    made, optimizer, _, _ = deepspeed.initialize(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True), config=config)
    files = MappedFiles(FOLDER / "files") if in_files else None
    if files is not None:
        move_to_files(made.module, optimizer, files)
    return made, optimizer, files


def steps(made, low: int, high: int) -> list[float]:
    """Losses of micro-batches `low` to `high`."""
    random, losses = torch.Generator().manual_seed(3 + RANK), []
    for number in range(high):
        batch = torch.randn(4, 64, generator=random)
        if number >= low:
            loss = ((made(batch) - batch.roll(1, 1)) ** 2).mean()
            made.backward(loss)
            made.step()
            losses.append(loss.item())
    return losses


def state(made, optimizer) -> dict[str, torch.Tensor]:
    """All that a checkpoint would hold."""
    return {piece.key: piece.tensor.clone() for piece in fragments(made.module, optimizer, RANK, RANKS)}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    """To the bit."""
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


def main() -> None:
    """Compare."""
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo", verbose=False)
    made, optimizer, _ = engine(in_files=False)
    losses = steps(made, 0, ALL)
    expected = state(made, optimizer)
    told = {"learns": losses[-1] < losses[0]}

    made, optimizer, files = engine(in_files=True)
    saver = Saver(FOLDER / "checkpoints", 2, RANK, RANKS, lambda *_: None)
    saver.files = files
    first = steps(made, 0, HALF)
    manifest = Manifest(stage="checkpoint", name="t", identity="w", request="", job={"ranks": RANKS}, image_lock="", program="0", versions={}, files=())
    saver.save(HALF // 2, fragments(made.module, optimizer, RANK, RANKS), {}, {} if RANK == 0 else None, manifest)
    told["in files"] = first + steps(made, HALF, ALL) == losses and same(state(made, optimizer), expected)  # while the checkpoint is written
    saver.wait()
    torch.distributed.barrier()
    for where in ("files", "memory"):
        made, optimizer, _ = engine(in_files=where == "files")
        restore(made.module, optimizer, RANK, RANKS, FragmentReader(FOLDER / "checkpoints" / f"step-{HALF // 2}"))
        told[f"resumed in {where}"] = steps(made, HALF, ALL) == losses[HALF:] and same(state(made, optimizer), expected)
    (FOLDER / f"told-{RANK}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
