"""Model folders -> models: for training, merging and asking."""

from pathlib import Path
from typing import Any

from schemas.errors import GateRefused
from schemas.job import AdapterJob, TrainJob


def load_for_training(folder: Path, job: TrainJob) -> Any:
    """The base as it is trained: fp32 masters for full weights, the run's precision under LoRA, NF4 under QLoRA."""
    import torch
    from transformers import BitsAndBytesConfig

    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    options: dict[str, Any] = {"dtype": torch.float32 if job.adapter.kind == "full" else types[job.precision]}
    if job.adapter.kind == "qlora":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=types[job.precision]
        )
        if job.device == "cuda":
            from entrypoint.run.ranks import local_rank

            options["device_map"] = {"": local_rank()}
    if job.pack_length:
        from entrypoint.run import packed_attention

        packed_attention.register()
        options["attn_implementation"] = packed_attention.NAME
    model = _load(folder, **options)
    model.config.use_cache = False
    return model


def _load(folder: Path, **options: Any) -> Any:
    """The model with every weight from the folder; transformers would fill missing ones with random numbers and only warn."""
    from transformers import AutoModelForCausalLM

    model, found = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, output_loading_info=True, **{"attn_implementation": "sdpa", **options})
    wrong = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    if wrong:
        raise GateRefused(
            f"{len(wrong)} weights of the model in {folder} are missing or of another shape; the first is {wrong[0]}",
            "fetch the model again; its files do not belong together",
        )
    return model


def lora_config(adapter: AdapterJob) -> Any:
    """peft's configuration, or None for full weights."""
    if adapter.kind == "full":
        return None
    from peft import LoraConfig

    assert adapter.rank and adapter.alpha and adapter.targets
    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    return LoraConfig(task_type="CAUSAL_LM", r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=adapter.dropout or 0.0, target_modules=targets)


def load_plain(folder: Path) -> Any:
    """A model for inference in fp32, on the GPU where this container has one: the device changes no artifact, so no plan names it."""
    import torch

    model = _load(folder, dtype=torch.float32)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
