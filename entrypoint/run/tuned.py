"""The tuned model as it was trained: what every export is compared with."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run.load_model import load_base
from entrypoint.run.nf4 import NF4
from entrypoint.run.room import Room, find_room
from schemas.export_job import ExportJob


def is_adapter(weights: Path) -> bool:
    """Whether a training left an adapter, not a model."""
    return (weights / "adapter_config.json").is_file()


def load_tuned(base: Path, weights: Path, job: ExportJob) -> Any:
    """The trained weights, or the adapter over its base, for inference: in fp32, or over NF4 weights as they were trained on."""
    if not is_adapter(weights) or job.trained_on == "full":
        return _load_plain(base, weights)
    import torch
    from peft import PeftModel
    from transformers import BitsAndBytesConfig

    compute = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[job.precision]
    held = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=compute, **NF4)
    options: dict[str, Any] = {"dtype": compute, "quantization_config": held}
    if torch.cuda.is_available():
        options["device_map"] = {"": 0}
    model = load_base(base, **options)
    return PeftModel.from_pretrained(model, str(weights)).eval()


def _load_plain(base: Path, weights: Path) -> Any:
    """In fp32, or bf16 where that does not fit; an adapter over its base in full precision."""
    if not is_adapter(weights):
        return _load(weights, find_room(weights))
    from peft import PeftModel

    room = find_room(base)
    return PeftModel.from_pretrained(_load(base, room), str(weights)).to(room.device).eval()


def _load(folder: Path, room: Room) -> Any:
    import torch

    return load_base(folder, dtype=torch.float32 if room.precision == "fp32" else torch.bfloat16).to(room.device).eval()


def load_exported(folder: Path) -> Any:
    """What was written, for inference: plain weights in fp32, or bf16 where that does not fit; compressed ones as they lie there, computed in bf16 as engines do."""
    import torch

    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in said:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_base(folder, dtype=torch.bfloat16).to(device).eval()
    return _load(folder, find_room(folder))
