"""Linear layers that adapters of all linear layers leave out, beside heads and routers: by structure, and by what peft makes of names."""

from typing import Any

from entrypoint.run.model_parts import towers_of

MOVED = {"mixtral": ("w1", "w2", "w3"), "qwen2_moe": ("gate_proj", "up_proj", "down_proj")}
"""By transformers' pattern of a checkpoint: names that peft 0.21 takes for experts of checkpoints before transformers 5. It puts adapters on the
experts' tensors instead, and none on the shared expert or the dense layer that bears the name (peft/utils/transformers_weight_conversion.py)."""


def unadapted(model: Any) -> set[int]:
    """Their ids: of towers for images and sound, through which rows of text never go; of state spaces; and of layers that peft mistakes for experts."""
    apart = {id(module) for _, tower in towers_of(model) for module in tower.modules()}
    apart |= {id(found) for module in model.modules() if (found := read_directly(module)) is not None}
    moved = moved_names(model)
    return apart | {id(module) for name, module in model.named_modules() if name.rpartition(".")[2] in moved}


def read_directly(module: Any) -> Any:
    """The linear layer of a state space, as Mamba's, whose weight the kernels take without calling it: peft refuses it. None of other modules."""
    return getattr(module, "out_proj", None) if hasattr(module, "A_log") and hasattr(module, "D") else None


def moved_names(model: Any) -> tuple[str, ...]:
    """Last names of layers that peft would move to experts."""
    from transformers.conversion_mapping import _MODEL_TO_CONVERSION_PATTERN

    kind = getattr(getattr(model, "config", None), "model_type", None)
    return MOVED.get("mixtral" if kind == "mixtral" else str(_MODEL_TO_CONVERSION_PATTERN.get(kind)), ())  # as peft adds it to transformers' table
