"""peft's merge of a whole model in memory, for models and adapters that cannot be merged tensor by tensor: 4 bytes a weight."""

from pathlib import Path
from typing import Any

from entrypoint.run.load_model import load_plain
from entrypoint.run.merge import write_config
from entrypoint.run.reward_head import load_trained
from entrypoint.run.tensor_files import SHARD_BYTES
from entrypoint.run.tuned import is_adapter


def merge_whole(base: Path, weights: Path, output: Path, judge: bool) -> None:
    """Load in fp32, merge, round to bf16 once, and write."""
    import torch

    model, adapted = load_trained(base, weights) if judge else _load(base, weights)
    whole = model.merge_and_unload(safe_merge=True) if adapted else model
    whole = whole.to(torch.bfloat16)
    whole.save_pretrained(output, safe_serialization=True, max_shard_size=SHARD_BYTES)
    write_config(whole, output)


def _load(base: Path, weights: Path) -> tuple[Any, bool]:
    if not is_adapter(weights):
        return load_plain(weights), False
    from peft import PeftModel

    return PeftModel.from_pretrained(load_plain(base), str(weights)), True
