"""Recorded anatomies of published models -> sizes: exact, and the same as formulas where those hold."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from known import H100, LLAMA_8B, MODEL, ROOT, facts, plan_of

from entrypoint.plan.activations import layer_bytes
from entrypoint.plan.counted_shape import CountedShape, positions_of, shape_of, show_shape
from entrypoint.plan.load import Load
from entrypoint.plan.memory import GIB, training_bytes
from entrypoint.plan.model_shape import read_shape
from schemas.anatomy import Anatomy, read_anatomy
from schemas.facts import ModelFacts

PLAIN = ["llama-3-8b", "llama-3-70b", "qwen2.5-7b", "qwen3-0.6b"]
LORA = Load("lora", 16, "bf16", "single", 1, 1, 1024, gradient_checkpointing=False, on_gpu=True)


def anatomy(name: str) -> Anatomy:
    found = read_anatomy((ROOT / "tests" / "anatomies" / f"{name}.json").read_bytes())
    assert found
    return found


def known(name: str) -> ModelFacts:
    config = json.loads((ROOT / "tests" / "configs" / f"{name}.json").read_text(encoding="utf-8"))
    return ModelFacts(config=config, anatomy=anatomy(name))


def shape(name: str) -> CountedShape:
    found = shape_of(known(name))
    assert isinstance(found, CountedShape)
    return found


def test_every_recorded_anatomy_has_its_config() -> None:
    names = [sorted(path.name for path in Path(ROOT / "tests" / folder).glob("*.json")) for folder in ("anatomies", "configs")]
    assert names[0] == names[1]
    assert len(names[0]) == 15


@pytest.mark.parametrize("name", PLAIN)
def test_formulas_of_a_gated_decoder_agree(name: str) -> None:
    """What is read from config.json and what is counted: the same sizes, but for biases; and the bytes of a layer that two ways lead to."""
    counted, read = shape(name), read_shape(known(name).config)
    assert read
    assert counted.plain
    for size in ("layers", "hidden", "intermediate", "heads", "kv_heads", "head_dim", "vocabulary", "tied", "head_norms", "linear_per_layer", "outputs"):
        assert getattr(counted, size) == getattr(read, size), size
    assert counted.lora(16) == read.lora(16)
    assert counted.parameters == pytest.approx(read.parameters, rel=1e-4)
    for adapter, trains in (("lora", "adapter"), ("full", "full")):
        turned = 8 * counted.head_dim  # sines and cosines of positions, which are one for all layers
        by_formula = layer_bytes(counted, replace(LORA, adapter=adapter, rank=1))
        assert 0 <= counted.kept(trains, "bf16").bytes - by_formula <= turned  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "active", "packed", "adapters", "experts"),
    [
        # experts x (inputs + outputs) x rank: of a layer 128 x (2048 + 1536 + 768 + 2048)
        ("qwen3-30b-a3b", 3.04e9, 48 * 18_874_368, 13_369_344, 48 * 16 * 128 * (2048 + 1536 + 768 + 2048)),
        ("mixtral-8x7b", 12.75e9, 32 * 41_943_040, 13_631_488, 32 * 16 * 8 * (4096 + 28672 + 14336 + 4096)),
    ],
)
def test_experts(name: str, active: float, packed: int, adapters: int, experts: int) -> None:
    found = shape(name)
    assert not found.plain
    assert found.active == pytest.approx(active, rel=0.01)
    assert found.packed == found.layers * found.packed_per_layer == packed
    assert found.unpacked == found.parameters - packed
    assert (found.lora(16), found.expert_lora(16)) == (adapters, experts)
    assert found.active_per_layer < found.linear_per_layer <= found.largest_layer


@pytest.mark.parametrize("name", [*PLAIN, "mixtral-8x7b", "gpt2", "phi-3-mini", "gemma-2-2b"])
def test_copies_that_autocast_keeps(name: str) -> None:
    """What was seen to be kept whatever the length: of linear layers in 16 bits, and of no expert that is one tensor."""
    found = shape(name)
    assert found.kept("full", "bf16").fixed == pytest.approx(2 * found.packed_per_layer, rel=0.01)
    assert found.kept("full", "fp32").fixed < 1e6


def test_towers_are_apart() -> None:
    found = shape("qwen2.5-vl-7b")
    assert found.towers == 676_550_144
    assert found.lora(16) == shape("qwen2.5-7b").lora(16), "the language model is the same, and adapters go to no other part"
    assert found.parameters - found.towers == shape("qwen2.5-7b").parameters
    assert 0.9 * found.towers < found.packed - shape("qwen2.5-7b").packed < found.towers, "4-bit quantisation does go to towers"


def test_other_layers() -> None:
    mixed = shape("qwen3-next-80b-a3b")
    assert (mixed.layers, mixed.attention_layers) == (48, 12)
    assert shape("mamba-130m").attention_layers == shape("mamba-130m").looked_at(1024) == 0
    near = shape("gemma-2-2b")
    assert near.looked_at(4096) == 26 * 4096
    assert near.looked_at(8192) == 13 * 8192 + 13 * 4096
    assert shape("gpt2").lora(1) == 12 * (768 + 2304 + 768 + 768 + 768 + 3072 + 3072 + 768)


def test_what_could_not_be_seen_is_guessed_by_the_maps() -> None:
    body = anatomy("llama-3-8b")
    blind = body.model_copy(update={"layers": tuple(kind.model_copy(update={"kept": ()}) for kind in body.layers)})
    found = shape_of(ModelFacts(config={}, anatomy=blind))
    assert isinstance(found, CountedShape)
    assert found.kept("adapter", "bf16").bytes == pytest.approx(shape("llama-3-8b").kept("adapter", "bf16").bytes, rel=0.05)


def test_rank_dropout_and_rows_side_by_side_take_more() -> None:
    found = shape("phi-3-mini")
    once = layer_bytes(found, LORA)
    assert layer_bytes(found, replace(LORA, rank=17)) - once == 2 * 4, "a number for each of four maps"
    assert layer_bytes(found, replace(LORA, dropout=True)) - once == 3 * (3072 + 3072 + 3072 + 8192)
    assert layer_bytes(shape("mixtral-8x7b"), replace(LORA, padded=True)) - layer_bytes(shape("mixtral-8x7b"), LORA) == 2 * 2 * 24 * 128


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "mixtral-8x7b", "qwen2.5-vl-7b", "qwen3-next-80b-a3b", "gpt2", "mamba-130m", "deepseek-v2-lite"])
def test_memory_of_every_family_is_counted(name: str) -> None:
    found = shape(name)
    terms = training_bytes(found, LORA)
    assert terms["weights"] == 2.0 * found.parameters
    assert terms["adapter"] == 4.0 * found.lora(16)
    assert terms["activations"] > found.layers * 1024 * found.kept("adapter", "bf16").bytes * 0.9


def test_experts_stay_in_16_bits_under_qlora() -> None:
    weights = training_bytes(shape("mixtral-8x7b"), replace(LORA, adapter="qlora"))["weights"]
    assert 85 < weights / GIB < 88, "4-bit quantisation passes over experts that are one tensor"


def test_adapters_of_experts_are_counted_where_the_spec_wants_them() -> None:
    found = shape("qwen3-30b-a3b")
    more = training_bytes(found, replace(LORA, experts=True))["adapter"] - training_bytes(found, LORA)["adapter"]
    assert more == 4.0 * found.expert_lora(16) > 2 * GIB


def test_plan_says_where_sizes_are_from() -> None:
    machine = facts(H100, H100, H100, H100, ram_gib=900.0, disk_free_gib=900.0)
    plan = plan_of(
        machine.model_copy(update={"models": {MODEL: known("qwen3-30b-a3b")}}),
        "data: {train: [{source: /data/a.jsonl}], packing: false, max_length: 1024}",
    )
    lines = {decision.field: decision for decision in plan.decisions}
    assert lines["model"].value == "30.53 billion weights"
    assert lines["model"].why == "counted in Qwen3MoeForCausalLM: 3.04 billion compute a token"
    assert "not estimated" not in lines["memory"].value
    from_config = {decision.field: decision for decision in plan_of(facts(H100, config=LLAMA_8B), "").decisions}
    assert "config.json" in from_config["model"].why
    (line,) = show_shape(known("qwen2.5-vl-7b"), shape("qwen2.5-vl-7b"))
    assert line.why == "counted in Qwen2_5_VLForConditionalGeneration: visual 0.68"


def test_positions_under_any_name() -> None:
    assert positions_of(known("gpt2")) == 1024, "n_positions in its config"
    assert positions_of(known("gemma-3-4b")) == 131_072, "in a section of its config"
    assert positions_of(known("llama-3-8b")) == 8192
    assert positions_of(known("mamba-130m")) is None
    assert positions_of(None) is None


def test_no_shape() -> None:
    assert shape_of(None) is None
    assert shape_of(ModelFacts(config={"num_experts": 8})) is None
    assert show_shape(None, None) == []
