"""config.json -> sizes; what is no plain gated decoder is not guessed at."""

import json
import math
from typing import Any

import pytest
from known import LLAMA_8B, ROOT, TINY

from entrypoint.plan.model_shape import max_positions, read_shape

PUBLISHED = {
    "hf://meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "hf://meta-llama/Llama-3.1-70B-Instruct": 70_553_706_496,
    "hf://Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "hf://Qwen/Qwen3-1.7B": 1_720_574_976,
    "/models/smollm2-135m-instruct.gguf": 134_515_008,
}
"""Weights as the models' safetensors files add up to."""


@pytest.mark.parametrize("source", PUBLISHED)
def test_counts_of_published_models(source: str) -> None:
    models = json.loads((ROOT / "tests" / "facts" / "h100x1.json").read_text(encoding="utf-8"))["models"]
    shape = read_shape(models[source]["config"])
    assert shape
    # Biases and the norms of query and key are not counted: below a hundred-thousandth.
    assert shape.parameters == pytest.approx(PUBLISHED[source], rel=1e-4)


def test_tied_head_counts_once() -> None:
    tied, own = read_shape(TINY), read_shape({**TINY, "tie_word_embeddings": False})
    assert tied
    assert own
    assert own.parameters - tied.parameters == 64 * 1000


def test_defaults_of_old_configs() -> None:
    config = {k: v for k, v in TINY.items() if k not in ("num_key_value_heads", "tie_word_embeddings")}
    shape = read_shape(config)
    assert shape
    assert (shape.kv_heads, shape.head_dim, shape.tied) == (4, 16, False)


@pytest.mark.parametrize("key", ["num_experts", "num_local_experts", "n_routed_experts"])
def test_experts_are_not_guessed(key: str) -> None:
    assert read_shape({**TINY, key: 8}) is None


@pytest.mark.parametrize("key", ["num_attention_heads", "hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"])
@pytest.mark.parametrize("value", [None, "many", [], "64", 64.5, True, -64, 10**400, math.inf, math.nan], ids=lambda v: str(v)[:9])
def test_unreadable_sizes(key: str, value: Any) -> None:
    assert read_shape({**TINY, key: value}) is None
    assert read_shape({k: v for k, v in TINY.items() if k != key}) is None


@pytest.mark.parametrize("key", ["num_attention_heads", "hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"])
def test_a_size_of_zero_is_no_size(key: str) -> None:
    assert read_shape({**TINY, key: 0}) is None


@pytest.mark.parametrize(("value", "found"), [(512, 512), (0, None), (-1, None), ("512", None), (None, None), (True, None), (math.inf, None), (10**400, None)])
def test_positions(value: Any, found: int | None) -> None:
    assert max_positions({**LLAMA_8B, "max_position_embeddings": value}) == found


def test_what_gemma_leaves_out_of_its_config() -> None:
    """Its head is the table by default, and defaults are not written: 2.61 billion weights, not 3.20."""
    config = json.loads((ROOT / "tests" / "configs" / "gemma-2-2b.json").read_text(encoding="utf-8"))
    shape = read_shape(config)
    assert shape and "tie_word_embeddings" not in config
    assert shape.parameters == pytest.approx(2_614_341_888, rel=1e-3)


@pytest.mark.parametrize(
    "more", [{"vision_config": {"depth": 32}}, {"audio_config": {"layers": 2}}, {"kv_lora_rank": 256}, {"mamba_d_ssm": 64}, {"model_type": "gpt_neox"}], ids=str
)
def test_what_is_more_or_other_is_not_guessed(more: dict[str, Any]) -> None:
    """Qwen2.5-VL has the sizes of its language model at the top, and 0.68 billion weights beside."""
    assert read_shape({**TINY, **more}) is None
    assert read_shape({**TINY, **dict.fromkeys(more)}) is not None


def test_no_published_model_is_counted_wrong() -> None:
    """Of those with anatomies, the ones that are read at all."""
    read = 0
    for file in sorted((ROOT / "tests" / "configs").glob("*.json")):
        shape = read_shape(json.loads(file.read_text(encoding="utf-8")))
        if shape:
            counted = json.loads((ROOT / "tests" / "anatomies" / file.name).read_text(encoding="utf-8"))
            assert shape.parameters == pytest.approx(counted["parameters"], rel=2e-3), file.stem
            read += 1
    assert read >= 6
