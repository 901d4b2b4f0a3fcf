"""Whether a fetched model can be loaded: its tokenizer really, its weights by their names and shapes alone."""

import re
from pathlib import Path
from typing import Any

from entrypoint.run.leaf import judging
from entrypoint.run.seal import read_manifest
from schemas.errors import GateRefused

AS_PUBLISHED = "bring the whole folder as it was published, or use another model"


def load_tokenizer(folder: Path) -> Any:
    """The model's tokenizer; raises GateRefused where its files are none."""
    from transformers import AutoTokenizer

    with judging(f"{source_of(folder)}: the tokenizer cannot be loaded", AS_PUBLISHED):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def check_model(folder: Path) -> None:
    """Raise GateRefused where transformers does not know the architecture, or config and weights do not belong together.

    The weights are loaded onto the meta device, which reads headers only: a model of 14 GB takes two seconds and no memory.
    """
    import transformers

    shown = source_of(folder)
    with judging(f"{shown}: transformers {transformers.__version__} cannot load it", AS_PUBLISHED):
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if getattr(config, "quantization_config", None):  # its loader may ask for a GPU, which only training has
            return
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, device_map="meta", ignore_mismatched_sizes=True, output_loading_info=True
        )
    if wrong := sorted(found["mismatched_keys"], key=str):
        name, stored, wanted = wrong[0]
        raise GateRefused(f"{shown}: {len(wrong)} weights have another shape than config.json says; {name} is {list(stored)}, not {list(wanted)}", AS_PUBLISHED)
    if missing := sorted(found["missing_keys"]):
        raise GateRefused(f"{shown}: {len(missing)} weights that config.json asks for are missing; the first is {missing[0]}", AS_PUBLISHED)
    kinds = {_kind(name) for name in model.state_dict()}
    if more := sorted(name for name in found["unexpected_keys"] if _kind(name) in kinds):  # would be left out in silence
        raise GateRefused(f"{shown}: the weights have {len(more)} more than config.json has layers for; the first is {more[0]}", AS_PUBLISHED)


def source_of(folder: Path) -> str:
    """What the spec calls the model in a sealed folder."""
    manifest = read_manifest(folder)
    sources = manifest.job.get("sources") if manifest else None
    return f"model.source: {sources[0]}" if sources else str(folder)


def _kind(name: str) -> str:
    """The weight's name in any layer."""
    return re.sub(r"\.\d+\.", ".N.", name)
