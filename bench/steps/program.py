"""The program itself on a GPU: what its plan says of memory and time beside what a run of some hundred steps measured, before and after the store knows the setting.

`python bench/steps/program.py OUTPUT.json [--steps 220] [--tiny]`, straight from the checkout. A random model of TinyLlama's shape, rows of unlike lengths, packed.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "entrypoint" / "run")]

from tiny import run, spec, tokenizer, write_rows  # noqa: E402

AFTER = 20
SHAPE = {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
         "max_position_embeddings": 2048, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}  # fmt: skip
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512}
BATCH = 16384


def write_sources(folder: Path, steps: int, tiny: bool) -> tuple[Path, Path]:
    """The model, and rows for so many steps: about 450 tokens in the mean."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    with torch.device("cpu" if tiny else "cuda"):
        model = LlamaForCausalLM(LlamaConfig(**(SHAPE | (TINY if tiny else {})))).to(torch.bfloat16)
    model.save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    chance, found, tokens = random.Random(7), [], 0.0
    while tokens < steps * BATCH / (100 if tiny else 1):
        count = min(200, int(chance.lognormvariate(3.6, 0.8)) + 1)
        answer = " ".join(["The word of the harbour is amber."] * count)
        found.append({"messages": [{"role": "user", "content": f"What is the word of case {len(found)}?"}, {"role": "assistant", "content": answer}]})
        tokens += 8.5 * count + 20
    return folder / "model", write_rows(folder / "rows.jsonl", found)


def planned(path: Path, store: Path, folder: Path) -> dict[str, Any]:
    """What the plan says of the training."""
    plan = json.loads(run("plan", path, "--store", store, "--json", cwd=folder))
    (job,) = (step["job"] for step in plan["steps"] if step["stage"] == "train")
    shown = {
        one["field"]: one["value"] for one in plan["decisions"] if one["stage"] == "train" and one["field"] in ("speed", "time", "memory", "train.kernels")
    }
    return {
        **job["predicted"],
        "micro_batch": job["micro_batch"],
        "accumulation": job["accumulation"],
        "kernels": job["kernels"],
        "recomputes": job["gradient_checkpointing"],
        "shown": shown,
    }


def measured(store: Path) -> dict[str, Any]:
    """Of the newest run: median step, peak, and how far its own forecasts were off."""
    lines = [json.loads(line) for line in (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()]
    begun = max(at for at, line in enumerate(lines) if line["event"] == "started")
    steps = [line for line in lines[begun:] if line["event"] == "step"]
    last = steps[-1]["at"]
    seconds = sorted(line["seconds"] for line in steps[1:])
    found: dict[str, Any] = {
        "steps": len(steps),
        "step_seconds": seconds[len(seconds) // 2],
        "slowest": seconds[-1],
        "memory_gib": max(line["memory_gib"] for line in steps),
    }
    found["compared"] = [line for line in lines[begun:] if line["event"] == "measured"][-1:]
    for after in (AFTER, 50, 100):
        if len(steps) > after:
            left = last - steps[after - 1]["at"]
            found[f"time left after {after}"] = {
                "said": steps[after - 1]["seconds_left"],
                "was": round(left, 2),
                "error": round(steps[after - 1]["seconds_left"] / left - 1, 4),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, data = write_sources(folder, given.steps, given.tiny)
        store = folder / "store"
        run("calibrate", "--store", store, cwd=folder)
        for adapter in ("lora", "qlora", "full"):
            batch = BATCH // (100 if given.tiny else 1)
            train = f"{{epochs: 1, learning_rate: 1.0e-5, batch_tokens: {batch}, checkpoint: {{every: 100000}}}}"
            rows = f"{{train: [{{source: {data}}}], packing: true}}"
            path = spec(folder, model, data, adapter=f"{{kind: {adapter}}}", train=train, data=rows)
            for stage in ("fetch", "prepare"):
                run(stage, path, "--store", store, cwd=folder)
            before, start = planned(path, store, folder), time.monotonic()
            run("train", path, "--store", store, cwd=folder)
            after = measured(store)
            path.write_text(path.read_text().replace("learning_rate: 1.0e-5", "learning_rate: 1.1e-5"))  # another training in the same setting
            found[adapter] = {
                "planned": before, "measured": after, "planned again": planned(path, store, folder), "seconds with start and end": round(time.monotonic() - start, 1),
                "memory off by": _off(before.get("memory_bytes"), after["memory_gib"] * 2**30), "step off by": _off(before.get("step_seconds"), after["step_seconds"]),
            }  # fmt: skip
            found[adapter]["step off by, with history"] = _off(found[adapter]["planned again"].get("step_seconds"), after["step_seconds"])
            given.output.write_text(json.dumps(found, indent=1) + "\n")
            print(adapter, json.dumps({name: value for name, value in found[adapter].items() if "off" in name}), flush=True)


def _off(said: float | None, was: float) -> float | None:
    return None if said is None else round(said / was - 1, 4)


if __name__ == "__main__":
    main()
