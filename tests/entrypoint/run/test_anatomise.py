"""Published models counted from their config.json alone: weights as their files add up to, and what tests of the plan read is what is counted today."""

import json
import shutil
import time
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from entrypoint.run.anatomise import anatomise
from entrypoint.run.meta_model import build, read_config
from schemas.anatomy import read_anatomy

pytestmark = [pytest.mark.image, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = {
    "llama-3-8b": 8_030_261_248, "llama-3-70b": 70_553_706_496, "qwen2.5-7b": 7_615_616_512, "qwen3-0.6b": 596_049_920,
    "qwen3-30b-a3b": 30_532_122_624, "mixtral-8x7b": 46_702_792_704, "gemma-2-2b": 2_614_341_888, "gemma-3-4b": 4_300_079_472,
    "phi-3-mini": 3_821_079_552, "gpt2": 124_439_808, "mamba-130m": 129_135_360, "qwen2.5-vl-7b": 8_292_166_656, "llava-1.5-7b": 7_063_427_072,
    "deepseek-v2-lite": 15_706_484_224, "qwen3-next-80b-a3b": 79_674_391_296,
}  # fmt: skip
"""Of the last one without its head for several tokens, which transformers does not load."""

SECONDS = 15
"""Of one core; alone none takes more than 8."""


def folder(tmp_path, name):
    shutil.copy(ROOT / "tests" / "configs" / f"{name}.json", tmp_path / "config.json")
    return tmp_path


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_weight_is_counted_once(tmp_path, name):
    started = time.process_time()
    found = anatomise(folder(tmp_path, name), name)
    assert time.process_time() - started < SECONDS
    model = build(read_config(tmp_path, name), name)
    assert found.parameters == found.counted == sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]
    assert all(kind.kept for kind in found.layers)
    recorded = read_anatomy((ROOT / "tests" / "anatomies" / f"{name}.json").read_bytes())
    assert found == recorded, f"write what `caisson anatomy --json` prints into tests/anatomies/{name}.json"
    assert len(found.model_dump_json(exclude_defaults=True)) < 4096


def test_code_that_cannot_run_without_values_is_counted_all_the_same(tmp_path):
    """Zamba2's layers share weights through the model, so that some of them alone are none."""
    config = {
        "model_type": "zamba2",
        "hidden_size": 64,
        "num_hidden_layers": 54,
        "vocab_size": 128,
        "num_attention_heads": 4,
        "n_mamba_heads": 4,
        "mamba_headdim": 32,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = anatomise(tmp_path, "z")
    assert found.counted == found.parameters > 0
    assert not any(kind.kept for kind in found.layers)
