"""The trained adapter as it is served on its base: as sealed by train, with tokenizer and template."""

import json
import shutil
from pathlib import Path
from typing import Any

from entrypoint.run.seal import read_manifest
from entrypoint.run.tuned import is_adapter
from schemas.errors import UsageError


def write_adapter(base: Path, weights: Path, output: Path) -> dict[str, Any]:
    """Copy the adapter, bit for bit, and say on which base it goes; what is said of it in the manifest."""
    if not is_adapter(weights):
        raise UsageError("export: kind adapter, but the training moved the model's own weights", "write kind: safetensors, or train an adapter")
    for path in sorted(weights.iterdir()):
        if path.is_file():
            shutil.copyfile(path, output / path.name)
    config = json.loads((weights / "adapter_config.json").read_text(encoding="utf-8"))
    manifest = read_manifest(base)
    ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
    plain = not (config.get("use_dora") or config.get("modules_to_save") or config.get("trainable_token_indices") or config.get("target_parameters"))
    return {
        "base": manifest.identity if manifest else "",
        "base_content": manifest.content if manifest else "",
        "base_folder": base.name,
        "rank": max(ranks),
        "plain_lora": plain,
    }
