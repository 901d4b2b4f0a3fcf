"""Which tensors live on a GPU at the peak of a step, by the lines that made them, beside what the plan counts: how a missing term is found.

`python bench/memory/peak.py OUTPUT.json`: rows of QLoRA by the step of bench/steps, from torch's own record of every allocation.
"""

import argparse
import collections
import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent / "steps")]

from measure import Trial  # noqa: E402
from predict import load_of, shape_of  # noqa: E402

from entrypoint.plan.memory import moments, standing_bytes  # noqa: E402

ROWS = [
    {"shape": shape, "adapter": adapter, "batch": batch, "length": 1024, "checkpointing": again, "loss": "chunked", "kernels": kernels}
    for shape, adapter, batch, again, kernels in (
        ("qwen2.5-0.5b", "qlora", 1, True, "torch"), ("qwen2.5-0.5b", "qlora", 4, False, "torch"), ("qwen2.5-0.5b", "qlora", 32, True, "torch"),
        ("qwen3-1.7b", "qlora", 1, True, "torch"), ("qwen3-1.7b", "qlora", 4, False, "torch"), ("llama3-8b", "qlora", 1, True, "torch"),
        ("llama3-8b", "qlora", 16, True, "torch"), ("llama3-8b", "qlora", 4, False, "liger"), ("qwen3-1.7b", "lora", 4, True, "torch"),
    )
]  # fmt: skip
DEEP = 6
"""Python frames of a block that are kept."""


def place(block: dict[str, Any]) -> str:
    """The innermost lines of Python that made a block."""
    lines = [f"{Path(one['filename']).name}:{one['name']}:{one['line']}" for one in block.get("frames", []) if one["filename"].endswith(".py")]
    return " < ".join(lines[:DEEP])


def at_peak(trace: list[dict[str, Any]]) -> tuple[int, list[list[Any]]]:
    """Bytes above what lay there before the step when most did, and what they were: [bytes, blocks, place]."""
    live: dict[int, dict[str, Any]] = {}
    held, most, which = 0, 0, {}
    for event in trace:
        if event["action"] == "alloc":
            live[event["addr"]] = event
            held += event["size"]
            if held > most:
                most, which = held, dict(live)
        elif event["action"] == "free_completed":
            gone = live.pop(event["addr"], None)
            held -= event["size"]
            if gone is None:  # it lay there before
                continue
    sums: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for block in which.values():
        sums[place(block)][0] += block["size"]
        sums[place(block)][1] += 1
    return most, sorted(([size, count, name] for name, (size, count) in sums.items()), reverse=True)[:40]


def look(row: dict[str, Any]) -> dict[str, Any]:
    """One row: what stands, the peak, and the blocks that live at it."""
    base = torch.cuda.memory_allocated()
    trial = Trial(row["shape"], row["adapter"], row["kernels"], "cuda", False)
    built = torch.cuda.memory_allocated() - base
    trial.recompute(row["checkpointing"])
    ids = torch.randint(0, 500, (row["batch"], row["length"]), device="cuda")
    trial.step(ids, row["loss"])
    torch.cuda.synchronize()
    gc.collect()
    stands = torch.cuda.memory_allocated() - base
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.memory._record_memory_history(max_entries=1_000_000, stacks="python")
    trial.step(ids, row["loss"])
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - base
    trace = torch.cuda.memory._snapshot()["device_traces"][0]
    torch.cuda.memory._record_memory_history(enabled=None)
    above, blocks = at_peak(trace)
    shape, load = shape_of(row), load_of(row)
    planned = {name: sum(parts.values()) for name, parts in moments(shape, load).items()}
    return row | {
        "built": built, "stands": stands, "peak": peak, "above": above, "blocks": blocks, "planned to stand": standing_bytes(shape, load),
        "planned moments": planned, "terms": moments(shape, load)[max(planned, key=lambda name: planned[name])],
    }  # fmt: skip


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    found = []
    for row in ROWS:
        found.append(look(row))
        gc.collect()
        torch.cuda.empty_cache()
        given.output.write_text(json.dumps(found, indent=1) + "\n")
        print({name: row[name] for name in ("shape", "adapter", "batch", "checkpointing")}, found[-1]["stands"], found[-1]["peak"], flush=True)


if __name__ == "__main__":
    main()
