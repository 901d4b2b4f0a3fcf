"""Every adapter on every engine that the plan allows: are the losses those of one process, and does the export's comparison pass?

    python bench/adapters/engines.py --output engines.jsonl [--only KIND...]

Needs what the train image holds. Two processes over gloo on a CPU, tiny random models, fp32. One line a pair, as soon as it is done; pairs that
are in the file already are not run again.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "entrypoint" / "run"))

from forked import export_of, run_forked, task_of  # noqa: E402
from tiny import CHATML, fetched_store, rows, tokenizer, write_model, write_rows  # noqa: E402

from entrypoint.plan.adapter import goes_with  # noqa: E402

TRAIN = "{max_steps: 6, learning_rate: 5.0e-3, batch_tokens: 240, warmup: 0%}"
ENGINES = ["ddp", "fsdp", "zero1", "zero2", "zero3", "zero2, offload: cpu", "zero3, offload: cpu"]
KINDS = {
    "full": ("tied", "{kind: full}"),
    "freeze": ("tied", "{kind: freeze, layers: 1}"),
    "lora": ("tied", "{kind: lora, rank: 8}"),
    "dora": ("tied", "{kind: dora, rank: 8}"),
    "rslora": ("tied", "{kind: rslora, rank: 8}"),
    "lora+": ("tied", "{kind: lora+, rank: 8, ratio: 4}"),
    "pissa": ("tied", "{kind: pissa, rank: 8}"),
    "olora": ("tied", "{kind: olora, rank: 8}"),
    "table": ("tied", "{kind: lora, rank: 8, modules_to_save: [embed_tokens]}"),
    "tokens": ("untied", "{kind: lora, rank: 8, trainable_tokens: ['<|im_start|>'], modules_to_save: [lm_head]}"),
    "experts": ("mixture", "{kind: lora, rank: 4, experts: true}"),
}


def write(kind: str, folder: Path) -> Path:
    """A model with one table for both ends, with two, or with experts."""
    import torch
    from transformers import LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

    if kind == "mixture":
        made = tokenizer(CHATML)
        torch.manual_seed(1)
        config = MixtralConfig(
            vocab_size=len(made), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=256, num_local_experts=4, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        )  # fmt: skip
        MixtralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
        made.save_pretrained(folder)
        return folder
    write_model(folder)
    if kind == "untied":
        tied = LlamaForCausalLM.from_pretrained(folder)
        tied.config.tie_word_embeddings = False
        untied = LlamaForCausalLM(tied.config)
        untied.load_state_dict(tied.state_dict())
        untied.lm_head.weight.data = tied.lm_head.weight.data.clone()
        untied.to(torch.bfloat16).save_pretrained(folder)
    return folder


def losses(task) -> list[float]:
    """Of each step."""
    return [entry["loss"] for entry in json.loads((Path(task.output) / "curve.json").read_text()) if "loss" in entry]


def main() -> None:
    """Every pair that is not in the file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(KINDS))
    given = parser.parse_args()
    done = {(row["adapter"], row["engine"]) for row in map(json.loads, given.output.read_text().splitlines())} if given.output.exists() else set()
    folder = Path(tempfile.mkdtemp())
    data = write_rows(folder / "rows.jsonl", rows(70))
    stores = {}
    for kind in given.only:
        model, adapter = KINDS[kind]
        if model not in stores:
            source = write(model, folder / f"model-{model}")
            (folder / model).mkdir()
            stores[model] = fetched_store(folder / model, source, data), (source, data)
        alone = None
        for engine in ["single", *ENGINES]:
            allowed = goes_with(kind, engine.partition(",")[0]) and not (kind in ("tokens", "experts") and ("fsdp" in engine or "zero3" in engine))
            if not allowed or ((kind, engine) in done and alone is not None):
                continue
            place = folder / f"{kind}-{engine.replace(', offload: ', '-')}"
            task = task_of(place, *stores[model], adapter=adapter, hardware=f"{{strategy: {engine}}}", train=TRAIN)
            run_forked(task)
            alone = losses(task) if engine == "single" else alone
            apart = max(abs(a - b) / a for a, b in zip(alone, losses(task), strict=True))
            said = run_forked(export_of(task, place)).strip().splitlines()[-1].strip()
            row = {"adapter": kind, "engine": engine, "largest_relative_difference": apart, "first": alone[0], "last": losses(task)[-1], "export": said}
            if (kind, engine) not in done:
                with given.output.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
