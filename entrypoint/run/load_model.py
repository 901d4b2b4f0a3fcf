"""Model folders -> models: for training, merging and asking."""

from pathlib import Path
from typing import Any

from entrypoint.run.targets import as_suffixes, check_modules, check_targets, expert_parameters, linear_layers, thaw, token_ids
from schemas.errors import GateRefused, UsageError
from schemas.job import AdapterJob, TrainJob


def load_for_training(folder: Path, job: TrainJob) -> Any:
    """The base as it is trained: fp32 masters for full weights, the run's precision for frozen ones, NF4 under QLoRA."""
    model = load_base(folder, **base_options(job))
    model.config.use_cache = False
    if job.kernels == "liger":
        use_liger(model)
    return model


def use_liger(model: Any) -> None:
    """Liger's kernels for norms, rotary embeddings and the MLP's gate; head and loss stay as they are. Raises UsageError where it has none for this model."""
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN, _apply_liger_kernel_to_instance

    if model.config.model_type not in MODEL_TYPE_TO_APPLY_LIGER_FN:  # it would only log
        raise UsageError(f"train.kernels: liger has no kernels for model type {model.config.model_type}", "write kernels: torch, or leave it out")
    _apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)
    if not any(module.forward.__module__.startswith("liger_kernel") for module in model.modules()):
        raise UsageError(f"train.kernels: liger changed nothing of this {type(model).__name__}", "write kernels: torch, or leave it out")


def thawed(model: Any, job: TrainJob) -> Any:
    """The model; of `freeze` with the weights that move in fp32, and the others frozen."""
    if job.adapter.kind == "freeze":
        thaw(model, job.adapter.layers, job.adapter.patterns)
        if not job.strategy.startswith("zero"):  # DeepSpeed keeps fp32 masters by itself
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()
    return model


def base_options(job: TrainJob) -> dict[str, Any]:
    """How the job wants a base to be held."""
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
    return options


def load_base(folder: Path, kind: Any = None, new: tuple[str, ...] = (), **options: Any) -> Any:
    """The model with every weight from the folder but `new` ones; transformers would fill missing ones with random numbers and only warn."""
    from transformers import AutoModelForCausalLM

    kind = kind or AutoModelForCausalLM
    model, found = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True, **{"attn_implementation": "sdpa", **options})
    wrong = sorted(map(str, [*(set(found["missing_keys"]) - set(new)), *found["mismatched_keys"]]))
    if wrong:
        raise GateRefused(
            f"{len(wrong)} weights of the model in {folder} are missing or of another shape; the first is {wrong[0]}",
            "fetch the model again; its files do not belong together",
        )
    return model


def lora_config(adapter: AdapterJob, model: Any, tokenizer: Any) -> Any:
    """peft's configuration for this model, or None where its own weights are trained. Raises UsageError for names that it does not have."""
    if adapter.kind in ("full", "freeze"):
        return None
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    assert adapter.rank and adapter.alpha and adapter.targets
    excluded: list[str] = []
    if adapter.targets == "all-linear":
        targets, excluded = as_suffixes(linear_layers(model), model)
    else:
        targets = list(adapter.targets)
        check_targets(model, targets)
    if adapter.trainable_tokens and model.config.tie_word_embeddings:  # of models whose shape the plan could not read
        raise UsageError("adapter.trainable_tokens: the model's input table is its output head too", "write modules_to_save: [embed_tokens]")
    check_modules(model, adapter.modules_to_save)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout or 0.0,
        target_modules=targets,
        exclude_modules=excluded or None,
        target_parameters=expert_parameters(model) or None if adapter.experts else None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        use_dora=adapter.kind == "dora",
        use_rslora=adapter.kind == "rslora",
        modules_to_save=list(adapter.modules_to_save) or None,
        trainable_token_indices=token_ids(tokenizer, adapter.trainable_tokens) if adapter.trainable_tokens else None,
        ensure_weight_tying=bool(adapter.modules_to_save or adapter.trainable_tokens) and bool(model.config.tie_word_embeddings),
    )


def load_plain(folder: Path) -> Any:
    """A model for inference in fp32, on the GPU where this container has one: the device changes no artifact, so no plan names it."""
    import torch

    return placed(load_base(folder, dtype=torch.float32))


def placed(model: Any) -> Any:
    """Ready for inference, where this container computes."""
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
