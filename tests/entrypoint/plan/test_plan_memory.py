"""Bytes by term: against counted weights, against measurements, and in the right direction."""

import json
from dataclasses import replace

import pytest
from known import LLAMA_8B, ROOT

from entrypoint.plan.host_memory import host_bytes, serving_bytes_per_token
from entrypoint.plan.load import GIB, Load
from entrypoint.plan.memory import BUCKET, PROCESS_GIB, live_weights, training_bytes
from entrypoint.plan.model_shape import ModelShape, read_shape

PLAIN = Load(adapter="lora", rank=16, precision="bf16", strategy="single", ranks=1, micro_batch=1, length=4096, gradient_checkpointing=False, on_gpu=True)


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


def total(load: Load, leave_out: tuple[str, ...] = ()) -> float:
    """GiB."""
    return sum(size for name, size in training_bytes(shape(), load).items() if name not in leave_out) / GIB


@pytest.mark.parametrize(
    ("what", "measured", "logits_measured", "load"),
    [
        # One H100, Llama-3-8B shape, 4096 tokens, LoRA r16 on all linear layers; peak allocated, so without the CUDA context.
        # A plain loss holds the logits of 4096 tokens: bf16 (2 bytes), the fp32 copy (4) and its gradient (4), 128256 wide. Ours are chunked: left out of both.
        ("plain, no checkpointing, batch 1", 43.7, 4096 * 128256 * 10 / GIB, PLAIN),
        # Fused or chunked heads: what is left of logits is small, ours stay in.
        ("fused head, checkpointing, batch 4", 22.3, None, replace(PLAIN, micro_batch=4, gradient_checkpointing=True)),
        ("TRL's defaults, checkpointing, batch 8", 34.0, None, replace(PLAIN, micro_batch=8, gradient_checkpointing=True)),
    ],
)
def test_against_measurements(what: str, measured: float, logits_measured: float | None, load: Load) -> None:
    if logits_measured is None:
        assert total(load, ("context",)) == pytest.approx(measured, rel=0.2), what
    else:
        assert total(load, ("context", "logits")) == pytest.approx(measured - logits_measured, rel=0.2), what


def test_terms_of_lora_to_the_byte() -> None:
    terms = training_bytes(shape(), PLAIN)
    assert shape().parameters == 8_030_261_248, "the published count"
    trained = shape().lora(16)
    assert trained == 41_943_040, "what peft reports for r16 on all linear layers"
    assert terms["weights"] == 2 * 8_030_261_248
    assert (terms["gradients"], terms["optimizer"], terms["adapter"]) == (4 * trained, 8 * trained, 4 * trained)
    assert terms["logits"] == 1024 * 128256 * 10, "one chunk, not the whole row"


def test_activations_to_the_byte() -> None:
    """docs/plan.md: 8 h + 2 kv + 4 m values a token and layer, and two fp32 norms; recomputation keeps one layer and each layer's input."""
    layer = (8 * 4096 + 2 * 1024 + 4 * 14336) * 2 + 8 * 4096
    assert training_bytes(shape(), PLAIN)["activations"] == 4096 * 32 * layer
    assert training_bytes(shape(), replace(PLAIN, gradient_checkpointing=True))["activations"] == 4096 * (32 * 4096 * 2 + layer)


def test_full_weights_take_sixteen_bytes_each() -> None:
    terms = training_bytes(shape(), replace(PLAIN, adapter="full"))
    assert terms["weights"] + terms["gradients"] + terms["optimizer"] == 16 * shape().parameters
    assert "adapter" not in terms


def test_four_bit_weights() -> None:
    """8B in NF4 with embedding and head in bf16 is about 5.3 GiB."""
    assert training_bytes(shape(), replace(PLAIN, adapter="qlora"))["weights"] / GIB == pytest.approx(5.3, rel=0.05)


@pytest.mark.parametrize("name", ["length", "micro_batch", "rank"])
@pytest.mark.parametrize("adapter", ["lora", "qlora"])
@pytest.mark.parametrize("again", [False, True])
def test_grows(name: str, adapter: str, again: bool) -> None:
    load = replace(PLAIN, adapter=adapter, gradient_checkpointing=again)
    sizes = [total(replace(load, **{name: getattr(load, name) * factor})) for factor in (1, 2, 4, 8)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


def test_batch_and_length_cost_the_same_activations() -> None:
    one, two = (training_bytes(shape(), replace(PLAIN, micro_batch=b, length=n))["activations"] for b, n in ((4, 1024), (1, 4096)))
    assert one == two


def test_short_rows_hold_fewer_logits_than_a_chunk() -> None:
    assert training_bytes(shape(), replace(PLAIN, length=16))["logits"] == 16 * 128256 * 10


def test_order_of_need() -> None:
    full, lora, qlora = (total(replace(PLAIN, adapter=kind)) for kind in ("full", "lora", "qlora"))
    assert full > lora > qlora
    assert total(replace(PLAIN, gradient_checkpointing=True)) < total(PLAIN)
    assert total(replace(PLAIN, precision="fp32")) > total(PLAIN)


@pytest.mark.parametrize("strategy", ["ddp", "zero1", "zero2", "zero3"])
def test_what_is_sharded(strategy: str) -> None:
    one = training_bytes(shape(), replace(PLAIN, adapter="full"))
    eight = training_bytes(shape(), replace(PLAIN, adapter="full", strategy=strategy, ranks=8))
    shares = {name: one[name] / eight[name] for name in ("weights", "gradients", "optimizer", "activations")}
    stage = int(strategy[-1]) if strategy != "ddp" else 0
    assert shares == {"weights": 8 if stage == 3 else 1, "gradients": 8 if stage >= 2 else 1, "optimizer": 8 if stage >= 1 else 1, "activations": 1}
    assert ("gathered layers" in eight) is (stage == 3)


@pytest.mark.parametrize(
    ("strategy", "weights", "gradients"),
    [("zero1", 2 * 8_030_261_248, 4 * 8_030_261_248), ("zero2", 2 * 8_030_261_248, 2 * 2 * BUCKET), ("zero3", None, 2 * 2 * BUCKET)],
)
def test_what_offload_leaves_on_a_gpu(strategy: str, weights: int | None, gradients: int) -> None:
    terms = training_bytes(shape(), replace(PLAIN, adapter="full", strategy=strategy, offload="cpu"))
    assert "optimizer" not in terms
    assert (terms.get("weights"), terms["gradients"]) == (weights, gradients)


def test_offload_moves_the_optimizer_to_the_byte() -> None:
    load = replace(PLAIN, adapter="full", strategy="zero3", ranks=8, offload="cpu")
    count = shape().parameters
    # Two moments, the fp32 weights, the gradient in fp32 and its sum in bf16, the bf16 weights, and the copy of a checkpoint.
    assert host_bytes(shape(), load) == {
        "checkpoint copy": 12 * count, "optimizer": 8 * count, "fp32 weights": 4 * count, "gradients": 6 * count, "weights": 2 * count,
    }  # fmt: skip
    assert set(host_bytes(shape(), replace(load, strategy="zero2"))) == {"checkpoint copy", "optimizer", "fp32 weights", "gradients"}
    assert host_bytes(shape(), replace(load, offload="none")) == {"checkpoint copy": 12 * count}


def test_lora_under_zero3_offload_keeps_its_base_in_the_host() -> None:
    load = replace(PLAIN, strategy="zero3", offload="cpu")
    assert host_bytes(shape(), load)["weights"] == 2 * shape().parameters
    assert {"weights", "adapter"} & set(training_bytes(shape(), load)) == set()
    assert training_bytes(shape(), load)["gathered layers"] == 2 * live_weights(shape())


def test_a_cpu_holds_both_parts() -> None:
    gpu, cpu = (replace(PLAIN, adapter="full", strategy="zero2", ranks=2, offload="cpu", on_gpu=on_gpu) for on_gpu in (True, False))
    both = sum(training_bytes(shape(), gpu).values()) - training_bytes(shape(), gpu)["context"] + sum(host_bytes(shape(), gpu).values()) / 2
    assert sum(training_bytes(shape(), cpu).values()) == pytest.approx(both + PROCESS_GIB * GIB)


def test_context_is_of_gpus() -> None:
    assert "context" in training_bytes(shape(), PLAIN)
    assert "context" not in training_bytes(shape(), replace(PLAIN, on_gpu=False))


def test_each_process_on_a_cpu_holds_the_program() -> None:
    """Against what bench/processes measured in the image: the largest of the three kinds, rounded up."""
    measured = json.loads((ROOT / "bench" / "processes" / "result.json").read_text())["gib"]
    assert max(kind["a step"]["Rss"] for kind in measured.values()) <= PROCESS_GIB <= 1.25 * max(kind["a step"]["Rss"] for kind in measured.values())
    for strategy, ranks in (("single", 1), ("ddp", 2)):
        assert training_bytes(shape(), replace(PLAIN, on_gpu=False, strategy=strategy, ranks=ranks))["program"] == PROCESS_GIB * GIB
    assert "program" not in training_bytes(shape(), PLAIN), "beside a GPU it is the host's"


def test_cache_of_one_token() -> None:
    assert serving_bytes_per_token(shape()) == 2 * 2 * 32 * 8 * 128
