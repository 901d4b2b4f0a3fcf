"""Seconds of the same rows through six layers of SmolLM2's shape on a CPU, padded against packed: LoRA, forward and backward, TRL's loss. Prints JSON.

python bench/packing/cpu_speed.py, inside the train image.
"""

import json
import statistics
import sys
import time

import numpy as np
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from entrypoint.run import packed_attention
from entrypoint.run.packed_rows import DealtPacks, collate
from entrypoint.run.packing import Packs
from entrypoint.run.sealed_trainer import Collator

SHAPE = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
    "tie_word_embeddings": True, "pad_token_id": 2,
}  # fmt: skip
SETS = {"alike, mean 45": (45, 0.15, 45 * 4), "mixed, mean 60": (60, 0.8, 480), "mixed, mean 200": (200, 0.8, 1600)}
"""Mean length, spread of its logarithm, tokens of a step."""


def main(repeats: int) -> None:
    """One line of JSON a set: medians of seconds, padded and packed, and their ratio."""
    packed_attention.register()
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SHAPE), attn_implementation="sdpa")
    add_fused_lm_head(model)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear"))
    for name, (mean, spread, step) in SETS.items():
        draw = np.random.default_rng(1)
        lengths = np.clip(draw.lognormal(np.log(mean) - spread**2 / 2, spread, 4 * step // mean), 8, 2048).astype(np.int64)
        rows = [{"input_ids": draw.integers(3, 49152, n), "labels": np.where(np.arange(n) * 2 < n, -100, 5)} for n in lengths]
        size = max(int(lengths.max()), step // 4)
        packs = DealtPacks(rows, Packs(lengths, size))
        micro = max(1, step // mean)
        padded = [Collator(pad_token_id=2)(rows[at : at + micro]) for at in range(0, len(rows), micro)]
        packed = [collate([packs[at]]) for at in range(len(packs))]
        taken: dict[str, list[float]] = {"padded": [], "packed": []}
        for turn in range(repeats + 1):
            for kind, batches in (("padded", padded), ("packed", packed)):
                model.set_attn_implementation("sdpa" if kind == "padded" else packed_attention.NAME)
                began = time.perf_counter()
                for batch in batches:
                    (-model(**batch, fused_lm_head=True, use_cache=False).log_probs.sum()).backward()
                if turn:  # the first warms up
                    taken[kind].append(time.perf_counter() - began)
        medians = {kind: statistics.median(found) for kind, found in taken.items()}
        tokens = int(lengths.sum())
        wasted = sum(b["input_ids"].numel() for b in padded) / tokens - 1
        print(
            json.dumps(
                {
                    "set": name,
                    "tokens": tokens,
                    "padding": round(wasted, 3),
                    "seconds": taken,
                    "packed_over_padded": round(medians["packed"] / medians["padded"], 3),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
