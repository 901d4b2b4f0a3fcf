"""Models with a reward head: loaded for training and for judging, merged, and compared before and after."""

import json
import math
from pathlib import Path
from typing import Any

from entrypoint.run.load_model import base_options, load_base, placed, use_liger
from entrypoint.run.targets import HEAD
from schemas.job import TrainJob

LARGEST_DIFFERENCE = 0.05
"""Share of the largest reward by which rounding to bf16 may move one, at least this much itself."""


def load_with_new_head(folder: Path, job: TrainJob) -> Any:
    """The base as it is trained, with a head of one output in place of its own; the head's first weights depend on the seed alone."""
    import torch
    from transformers import set_seed

    set_seed(job.seed)
    options = base_options(job)
    if "quantization_config" in options:
        options["quantization_config"].llm_int8_skip_modules = [HEAD]
    model = load_judge(folder, is_new=True, **options)
    getattr(model, HEAD).to(torch.float32)  # it is trained, and bf16 updates get lost
    model.config.use_cache = False
    if job.kernels == "liger":
        use_liger(model)
    return model


def load_judge(folder: Path, is_new: bool = False, **options: Any) -> Any:
    """A sequence classifier with one output."""
    from transformers import AutoModelForSequenceClassification

    return load_base(folder, AutoModelForSequenceClassification, new=(f"{HEAD}.weight",) if is_new else (), num_labels=1, **options)


def is_judge(weights: Path) -> bool:
    """Whether a training left a reward model."""
    adapter, config = weights / "adapter_config.json", weights / "config.json"
    if adapter.is_file():
        return bool(json.loads(adapter.read_text(encoding="utf-8")).get("task_type") == "SEQ_CLS")
    names = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    return any(str(name).endswith("ForSequenceClassification") for name in names)


def load_trained(base: Path, weights: Path) -> tuple[Any, bool]:
    """The trained reward model in fp32, and whether it is an adapter on a base."""
    import torch

    if not (weights / "adapter_config.json").is_file():
        return placed(load_judge(weights, dtype=torch.float32)), False
    from peft import PeftModel
    from transformers import AutoTokenizer

    model = load_judge(base, is_new=True, dtype=torch.float32)
    model.config.pad_token_id = AutoTokenizer.from_pretrained(weights, local_files_only=True).pad_token_id  # by it the end of a row is found
    return placed(PeftModel.from_pretrained(model, str(weights))), True


def load_merged(folder: Path) -> Any:
    """What was exported, in fp32."""
    import torch

    return placed(load_judge(folder, dtype=torch.float32))


def reward(model: Any, ids: list[int]) -> float:
    """Of one sequence."""
    import torch

    given = torch.tensor([ids], device=model.device)
    with torch.inference_mode():
        return float(model(input_ids=given, attention_mask=torch.ones_like(given)).logits[0, 0])


def largest_difference(before: list[float], after: list[float]) -> float:
    """In the rewards' own unit; not a number where one of them is none."""
    if not all(math.isfinite(value) for value in (*before, *after)):
        return math.nan
    return max((abs(a - b) for a, b in zip(before, after, strict=True)), default=0.0)


def allowed(before: list[float]) -> float:
    """How far rounding may move a reward."""
    return LARGEST_DIFFERENCE * max([1.0, *map(abs, before)])
