"""peft's merge of a whole model in memory, for models and adapters that cannot be merged tensor by tensor."""

from pathlib import Path
from typing import Any

from entrypoint.run.merge import write_config
from entrypoint.run.tensor_files import SHARD_BYTES


def merge_whole(model: Any, adapted: bool, output: Path) -> None:
    """Merge a model that is loaded in fp32, round it to bf16 once, and write it."""
    import torch

    whole = model.merge_and_unload(safe_merge=True) if adapted else model
    whole = whole.to(torch.bfloat16)
    whole.save_pretrained(output, safe_serialization=True, max_shard_size=SHARD_BYTES)
    write_config(whole, output)
