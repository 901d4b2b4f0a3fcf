"""Seconds of the same rows through a model, padded against packed: LoRA, forward and backward, TRL's loss. Prints a line of JSON a set.

`python bench/packing/speed.py [REPEATS]`, from the root, inside the train image: six layers of SmolLM2's shape on a CPU. Where there is a GPU:
TinyLlama-1.1B's shape in bf16, and packed rows also one by one, the way without flash attention.
"""

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from entrypoint.run import packed_attention
from entrypoint.run.packed_rows import DealtPacks, collate
from entrypoint.run.packing import Packs
from entrypoint.run.sealed_trainer import Collator

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
SMOL = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152}
TINY_LLAMA = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32000}
ON_CPU = {"alike, mean 45": (45, 0.15, 180, 45), "mixed, mean 60": (60, 0.8, 480, 120), "mixed, mean 200": (200, 0.8, 1600, 400)}
ON_GPU = {"alike, mean 200": (200, 0.15, 16384, 4096), "mixed, mean 200": (200, 0.8, 16384, 4096), "mixed, mean 800": (800, 0.8, 32768, 4096)}
"""Mean length, spread of its logarithm, tokens of a step, tokens of a pack."""

SETS = ON_GPU if GPU else ON_CPU


def main(repeats: int) -> None:
    """Medians over `repeats` turns after one that warms up."""
    packed_attention.register()
    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", **(TINY_LLAMA if GPU else SMOL), tie_word_embeddings=True, pad_token_id=2)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16 if GPU else torch.float32)
    add_fused_lm_head(model)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear")).to(DEVICE)
    flash = packed_attention._has_flash
    for name, (mean, spread, step, size) in SETS.items():
        rows = _rows(mean, spread, (1 if GPU else 4) * step // mean)
        lengths = np.array([len(row["input_ids"]) for row in rows])
        packs = DealtPacks(rows, Packs(lengths, max(int(lengths.max()), size)))
        micro = max(1, size // mean) if GPU else max(1, step // mean)
        padded = [_on_device(Collator(pad_token_id=2)(rows[at : at + micro])) for at in range(0, len(rows), micro)]
        packed = [_on_device(collate([packs[at]])) for at in range(len(packs))]
        taken: dict[str, list[float]] = {"padded": [], "packed": [], **({"packed, row by row": []} if GPU else {})}
        peak: dict[str, float] = {}
        for turn in range(repeats + 1):
            for kind, found in taken.items():
                model.set_attn_implementation("sdpa" if kind == "padded" else packed_attention.NAME)
                packed_attention._has_flash = (lambda query: False) if kind == "packed, row by row" else flash
                seconds, gib = _once(model, padded if kind == "padded" else packed)
                peak[kind] = gib
                if turn:
                    found.append(round(seconds, 4))
        medians = {kind: statistics.median(found) for kind, found in taken.items()}
        print(json.dumps({
            "device": torch.cuda.get_device_name() if GPU else "cpu", "torch": torch.__version__, "set": name, "tokens": int(lengths.sum()), "rows": len(rows), "packs": len(packs),
            "padding": round(sum(b["input_ids"].numel() for b in padded) / int(lengths.sum()) - 1, 3), "seconds": taken, "peak_gib": peak,
            "over_padded": {kind: round(median / medians["padded"], 3) for kind, median in medians.items() if kind != "padded"},
        }), flush=True)  # fmt: skip


def _rows(mean: int, spread: float, count: int) -> list[dict[str, Any]]:
    draw = np.random.default_rng(1)
    lengths = np.clip(draw.lognormal(np.log(mean) - spread**2 / 2, spread, count), 8, 4096).astype(np.int64)
    return [{"input_ids": draw.integers(3, 30000, n), "labels": np.where(np.arange(n) * 2 < n, -100, 5)} for n in lengths]


def _on_device(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value.to(DEVICE) if torch.is_tensor(value) else value for name, value in batch.items()}


def _once(model: Any, batches: list[dict[str, Any]]) -> tuple[float, float]:
    """Seconds, and GiB at most."""
    if GPU:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    began = time.perf_counter()
    for batch in batches:
        (-model(**batch, fused_lm_head=True, use_cache=False).log_probs.sum()).backward()
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - began, round(torch.cuda.max_memory_allocated() / 2**30, 2) if GPU else 0.0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
