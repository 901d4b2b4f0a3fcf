"""The tuned model as it was trained: what every export is compared with."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run.load_model import load_base, load_plain, placed
from entrypoint.run.nf4 import NF4
from schemas.export_job import ExportJob


def is_adapter(weights: Path) -> bool:
    """Whether a training left an adapter, not a model."""
    return (weights / "adapter_config.json").is_file()


def load_tuned(base: Path, weights: Path, job: ExportJob) -> Any:
    """The trained weights, or the adapter over its base, for inference: in fp32, or over NF4 weights as they were trained on."""
    if not is_adapter(weights) or job.trained_on == "full":
        return load_plain_tuned(base, weights)[0]
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


def load_plain_tuned(base: Path, weights: Path) -> tuple[Any, bool]:
    """The tuned model in fp32, and whether it is an adapter over its base in full precision."""
    if not is_adapter(weights):
        return load_plain(weights), False
    from peft import PeftModel

    return PeftModel.from_pretrained(load_plain(base), str(weights)).eval(), True


def load_exported(folder: Path) -> Any:
    """What was written, for inference: plain weights in fp32; compressed ones as they lie there, computed in bf16 as engines do."""
    import torch

    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in said:
        return placed(load_base(folder, dtype=torch.bfloat16))
    return load_plain(folder)
