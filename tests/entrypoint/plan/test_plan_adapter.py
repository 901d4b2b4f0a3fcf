"""Which weights move: numbers, legal pairs, and the ranks that a server takes."""

import pytest
from known import H100, LLAMA_8B, TINY, facts, job_of, plan_of, refusal, why

from entrypoint.plan.adapter import PRINCIPAL, SERVED_RANKS, goes_with
from entrypoint.plan.load import GIB, Load, optimizer_bytes, trained_weights
from entrypoint.plan.memory import training_bytes
from entrypoint.plan.model_shape import read_shape
from entrypoint.plan.tables import DEFAULTS
from schemas.errors import UsageError

LORA_LIKE = ("lora", "qlora", "dora", "rslora", "lora+", "pissa", "olora")


@pytest.mark.parametrize("kind", LORA_LIKE)
def test_defaults_of_each_kind(kind: str) -> None:
    adapter = job_of(facts(H100), f"adapter: {{kind: {kind}}}").adapter
    alpha = {"rslora": 16.0, "pissa": 16.0, "olora": 16.0}.get(kind, 32.0)
    assert (adapter.kind, adapter.rank, adapter.alpha, adapter.targets) == (kind, 16, alpha, "all-linear")
    assert adapter.ratio == (16.0 if kind == "lora+" else None)
    wide = job_of(facts(H100), f"adapter: {{kind: {kind}, rank: 64}}").adapter
    assert wide.alpha == {"rslora": 16.0, "pissa": 64.0, "olora": 64.0}.get(kind, 128.0)


@pytest.mark.parametrize("kind", LORA_LIKE)
def test_what_is_written_is_kept(kind: str) -> None:
    text = f"adapter: {{kind: {kind}, rank: 4, alpha: 5, targets: [q_proj], modules_to_save: [lm_head], trainable_tokens: ['<|x|>']}}"
    config = {**TINY, "tie_word_embeddings": False}
    adapter = job_of(facts(H100, config=config), text).adapter
    assert (adapter.rank, adapter.alpha, adapter.targets, adapter.modules_to_save, adapter.trainable_tokens) == (4, 5, ("q_proj",), ("lm_head",), ("<|x|>",))


def test_freeze_defaults_to_the_last_two_layers() -> None:
    assert why(plan_of(facts(H100), "adapter: {kind: freeze}"), "adapter.layers") == ("2", "default")
    job = job_of(facts(H100), "adapter: {kind: freeze}")
    assert (job.adapter.layers, job.adapter.patterns, job.adapter.rank) == (2, (), None)
    job = job_of(facts(H100), "adapter: {kind: freeze, patterns: ['*.mlp.*']}")
    assert (job.adapter.layers, job.adapter.patterns) == (0, ("*.mlp.*",))
    assert job_of(facts(H100), "adapter: {kind: freeze, layers: 5, patterns: ['*.mlp.*']}").adapter.layers == 5


def test_learning_rate_follows_the_kind_of_weights() -> None:
    rates = DEFAULTS["learning_rate"]["sft"]
    assert job_of(facts(H100), "adapter: {kind: freeze}").learning_rate == rates["full"]["value"]
    assert job_of(facts(H100), "adapter: {kind: dora}").learning_rate == rates["adapter"]["value"]
    assert job_of(facts(H100), "adapter: {kind: pissa}").learning_rate == rates["pissa"]["value"] < rates["adapter"]["value"]
    assert job_of(facts(H100), "adapter: {kind: lora+}").learning_rate == rates["lora+"]["value"] < rates["adapter"]["value"]


@pytest.mark.parametrize(
    ("adapter", "strategy", "named"),
    [
        ("{kind: qlora}", "zero3", "use strategy: ddp with qlora, or adapter.kind: lora with zero3"),
        ("{kind: qlora}", "fsdp", "use strategy: ddp with qlora, or adapter.kind: lora with fsdp"),
        ("{kind: pissa}", "zero3", "use strategy: fsdp, zero2 or ddp with pissa, or adapter.kind: lora with zero3"),
        ("{kind: olora}", "zero3", "use strategy: fsdp, zero2 or ddp with olora"),
        ("{kind: lora, trainable_tokens: ['<|x|>']}", "fsdp", "use strategy: ddp or zero2, or modules_to_save: [embed_tokens, lm_head]"),
        ("{kind: lora, experts: true}", "fsdp", "use strategy: ddp or zero2, or experts: false"),
    ],
)
def test_what_does_not_go_together_names_a_neighbour(adapter: str, strategy: str, named: str) -> None:
    machine = facts(H100, H100, config={**TINY, "tie_word_embeddings": False})
    said = refusal(machine, f"adapter: {adapter}\nhardware: {{strategy: {strategy}}}", kind=UsageError)
    assert named in said


def test_automatic_strategies_leave_out_what_does_not_go() -> None:
    """An 8B model that only fits in shares: pissa cannot take zero3 and is refused for memory, lora takes it."""
    small = facts(*(H100.model_copy(update={"memory_gib": 14.0}),) * 8, config=LLAMA_8B)
    assert job_of(small, "adapter: {kind: lora}").strategy == "zero3"
    assert "does not fit" in refusal(small, "adapter: {kind: pissa}")
    assert [s for s in ("single", "ddp", "fsdp", "zero1", "zero2", "zero3") if not goes_with("pissa", s)] == ["zero3"]


def test_rows_of_a_tied_table_are_refused() -> None:
    said = refusal(facts(H100), "adapter: {kind: lora, trainable_tokens: ['<|x|>']}", kind=UsageError)
    assert "input table is its output head too" in said and "modules_to_save: [embed_tokens]" in said


@pytest.mark.parametrize(("kind", "rank", "saved", "next_rank"), [("lora", 24, 24, "32"), ("pissa", 12, 24, "32"), ("lora", 500, 500, "512")])
def test_a_rank_that_no_server_has_is_said(kind: str, rank: int, saved: int, next_rank: str) -> None:
    value, reason = why(plan_of(facts(H100), f"adapter: {{kind: {kind}, rank: {rank}}}"), "adapter as served")
    assert value == f"rank {saved}" and f"the next is {next_rank};" in reason


def test_a_rank_that_a_server_has_is_not_worth_a_line() -> None:
    for kind in LORA_LIKE:
        rank = 16 if kind not in PRINCIPAL else 32
        fields = [d.field for d in plan_of(facts(H100), f"adapter: {{kind: {kind}, rank: {rank}}}").decisions]
        assert "adapter as served" not in fields
    value, reason = why(plan_of(facts(H100), "adapter: {kind: pissa, rank: 512}"), "adapter as served")
    assert value == "rank 1024" and f"{SERVED_RANKS[-1]} is the largest" in reason


# -- memory


def load(adapter: str, **other: object) -> Load:
    return Load(adapter, 16, "bf16", "single", 1, 1, 4096, True, True, **other)  # type: ignore[arg-type]


def test_weights_that_move() -> None:
    shape = read_shape(LLAMA_8B)
    assert shape
    layer = 218_103_808 + 2 * 4096
    assert trained_weights(shape, load("freeze", layers=2)) == 2 * layer
    assert trained_weights(shape, load("freeze", layers=99)) == 32 * layer, "there are no more"
    # 4096 outputs of q, o, down, 1024 of k and v, 14336 of gate and up: what peft reports beside r16.
    assert trained_weights(shape, load("dora")) == shape.lora(16) + 32 * (3 * 4096 + 2 * 1024 + 2 * 14336)
    assert trained_weights(shape, load("lora", tables=2)) == shape.lora(16) + 2 * 128256 * 4096
    assert {trained_weights(shape, load(kind)) for kind in ("rslora", "lora+", "pissa", "olora", "qlora")} == {shape.lora(16)}


def test_freeze_needs_less_than_full_and_more_than_lora() -> None:
    shape = read_shape(LLAMA_8B)
    assert shape
    sums = [sum(training_bytes(shape, load(kind, layers=2)).values()) for kind in ("lora", "freeze", "full")]
    assert sums == sorted(sums) and len(set(sums)) == 3
    assert training_bytes(shape, load("freeze", layers=2))["weights"] == 2 * shape.parameters + 2 * trained_weights(shape, load("freeze", layers=2))


def test_state_of_each_optimizer() -> None:
    shape = read_shape(LLAMA_8B)
    assert shape
    full = {name: optimizer_bytes(shape, load("full", optimizer=name)) / GIB for name in ("adamw", "adamw_8bit", "adafactor", "muon")}
    assert full["adamw"] == 8 * shape.parameters / GIB
    assert full["adamw_8bit"] == pytest.approx(full["adamw"] / 4, rel=0.02)
    assert full["adafactor"] < 0.02
    assert full["muon"] == (4 * shape.parameters + 4 * shape.embedding) / GIB
    assert optimizer_bytes(shape, load("lora", optimizer="adafactor")) < optimizer_bytes(shape, load("lora")) / 16
