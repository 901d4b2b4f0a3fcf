"""What export reads, made here without a training: a base, golden prompts, shards, and an adapter whose weights are random."""

import json
from pathlib import Path

from tiny import rows, tokenizer

from entrypoint.run.events import Events
from entrypoint.run.golden import choose_golden
from entrypoint.run.rows import MESSAGES, check
from entrypoint.run.shards import ShardWriter
from entrypoint.run.template import Renderer
from schemas.export_job import ExportJob
from schemas.job import Task


def write_prepared(folder: Path, positions: int = 256) -> Path:
    """Shards and golden.json of the tiny rows."""
    folder.mkdir(parents=True)
    renderer = Renderer(tokenizer(), frozenset({2}), "assistant")
    found = [check(row, "row", MESSAGES) for row in rows()]
    writer = ShardWriter(folder, "train")
    for row in found:
        for encoded in renderer.encode(renderer.render(row)):
            writer.add(encoded)
    writer.flush(0)
    golden = choose_golden([[str(at), list(row.messages), []] for at, row in enumerate(found[:4])], renderer, positions)
    (folder / "golden.json").write_text(json.dumps(golden))
    return folder


def write_trained(folder: Path, model: Path, nf4: bool = False, scale: float = 0.05, **config) -> Path:
    """An adapter over the model of a folder, or over its NF4 weights, with weights that are not zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch.manual_seed(3)
    held = {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)} if nf4 else {}
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, **held)
    given = {"target_modules": "all-linear", "r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | config
    tuned = get_peft_model(base, LoraConfig(**given))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) * scale
    tuned.save_pretrained(folder / "weights")
    tokenizer().save_pretrained(folder / "weights")
    return folder


def task(output: Path, job: ExportJob, **inputs: Path) -> tuple[Task, Events]:
    """As the executor would write it."""
    output.mkdir(parents=True)
    events = output.with_suffix(".jsonl")
    given = Task(name="tiny", job=job, inputs={role: str(path) for role, path in inputs.items()}, output=str(output), events=str(events), summary="unused")
    return given, Events(events)
