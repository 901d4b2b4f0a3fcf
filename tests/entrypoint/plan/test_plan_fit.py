"""Two memories, each with its own limit."""

import re
from dataclasses import replace

import pytest
from known import LLAMA_8B, card, facts, inputs, spec

from entrypoint.plan import Inputs, plan_train
from entrypoint.plan.fit import MARGIN, Fit, fit_of, predicted_of, show_memory
from entrypoint.plan.load import GIB, Load
from entrypoint.plan.model_shape import ModelShape, read_shape
from schemas.errors import MachineError, UsageError
from schemas.facts import Accelerator

LOAD = Load(adapter="lora", rank=16, precision="bf16", strategy="single", ranks=1, micro_batch=1, length=128, gradient_checkpointing=False, on_gpu=True)


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


@pytest.mark.parametrize(
    ("device", "host", "fits"),
    [(MARGIN * 10, MARGIN * 20, True), (MARGIN * 10 + 0.01, 0.0, False), (0.0, MARGIN * 20 + 0.01, False)],
)
def test_both_have_to_be_enough(device: float, host: float, fits: bool) -> None:
    assert Fit(LOAD, {"a": device * GIB / 2, "b": device * GIB / 2}, 10.0, {"c": host * GIB}, 20.0).fits is fits


@pytest.mark.parametrize(("host", "may"), [(MARGIN * 10, True), (MARGIN * 10 + 0.01, False)])
def test_pages_are_locked_only_where_twice_as_many_fit(host: float, may: bool) -> None:
    assert Fit(LOAD, {}, 10.0, {"c": host * GIB}, 20.0).may_pin is may


def test_nothing_is_known_without_a_shape() -> None:
    fit = fit_of(None, LOAD, facts(card(24.0)))
    assert (fit.gib, fit.host_gib, fit.fits, fit.may_pin) == (0, 0, True, False)


def test_processes_on_a_cpu_share_its_memory() -> None:
    load = replace(LOAD, on_gpu=False, strategy="ddp", ranks=2)
    assert fit_of(shape(), load, facts(ram_gib=64.0)).room_gib == 32.0
    assert fit_of(shape(), load, facts(ram_gib=64.0)).host_terms == {}


def test_a_line_for_each_memory() -> None:
    (device, host) = show_memory(Fit(LOAD, {"a": GIB, "b": 2 * GIB, "c": 1.0}, 10.0, {"d": 1.0}, 20.0), shape())
    assert device.parts == {"b": 2.0, "a": 1.0} and device.source.startswith("at the peak, ")
    assert (device.field, device.value, device.why) == ("memory", "3.0 of 10.0 GiB", "b 2.00, a 1.00")
    assert (host.field, host.value, host.why) == ("host memory", "0.0 of 20.0 GiB", "less than 0.01")


@pytest.mark.parametrize("cards", [(card(80.0), card(24.0)), (card(24.0), card(80.0))], ids=["large first", "small first"])
def test_the_smallest_of_several_gpus_is_the_room(cards: tuple[Accelerator, ...]) -> None:
    assert fit_of(shape(), replace(LOAD, strategy="ddp", ranks=2), facts(*cards)).room_gib == 24.0


def test_the_program_needs_room_on_a_cpu() -> None:
    """A tiny model in 0.5 GiB: the weights would fit, Python and torch do not."""
    with pytest.raises(MachineError, match=r"does not fit: .* needs 0\.8 GiB"):
        plan_train(spec(), facts(ram_gib=0.5), inputs())
    plan_train(spec(), facts(ram_gib=1.0), inputs())


@pytest.mark.parametrize(
    ("named", "memory", "advice"),
    [
        ("ddp", 40.0, "use hardware: {strategy: zero2}"),
        ("single", 40.0, "use hardware: {strategy: zero2}"),
        ("zero2", 32.0, "use hardware: {strategy: zero3}"),
        ("ddp", 79.6, "use hardware: {strategy: zero2}"),
        ("ddp", 14.0, "use hardware: {strategy: zero3, offload: cpu}, which is slower"),
    ],
)
def test_shards_are_advised_before_the_host_s_memory(named: str, memory: float, advice: str) -> None:
    machine = facts(*(card(memory),) * 8, config=LLAMA_8B, ram_gib=1000.0)
    with pytest.raises(MachineError) as caught:
        plan_train(
            spec(f"adapter: {{kind: full}}\nhardware: {{strategy: {named}}}\ndata: {{train: [{{source: /data/a.jsonl}}], max_length: 1024, packing: false}}"),
            machine,
            inputs(),
        )
    assert f"; or {advice}; or plan for" in str(caught.value.fix)


@pytest.mark.parametrize("text", ["adapter: {kind: pissa}", "adapter: {kind: full}\ntrain: {optimizer: muon}"], ids=["adapter", "optimizer"])
def test_nothing_is_advised_that_would_be_refused(text: str) -> None:
    """Neither shards for what wants whole weights, nor for an optimizer that wants whole states."""
    machine = facts(*(card(14.0),) * 8, config=LLAMA_8B, ram_gib=1000.0)
    data = "data: {train: [{source: /data/a.jsonl}], max_length: 1024, packing: false}"
    with pytest.raises(MachineError) as caught:
        plan_train(spec(f"{text}\nhardware: {{strategy: ddp}}\n{data}"), machine, inputs())
    assert "zero3" not in str(caught.value.fix)


def said(text: str, memory: float, ranks: int = 1, length: int = 4096, packing: str = "") -> str:
    """What a machine with 1,000 GiB beside its cards says of an 8B model."""
    machine = facts(*(card(memory),) * ranks, config=LLAMA_8B, ram_gib=1000.0, disk_free_gib=10_000.0)
    with pytest.raises(MachineError) as caught:
        plan_train(spec(f"{text}\ndata: {{train: [{{source: /data/a.jsonl}}], max_length: {length}{packing}}}"), machine, Inputs())
    return str(caught.value)


def test_a_frozen_copy_is_not_offloaded() -> None:
    refused = said("method: {kind: dpo}\nadapter: {kind: full}", 79.6)
    assert "offload" not in refused and "use adapter.kind: lora" in refused


def test_what_does_not_fit_for_its_padding_is_not_blamed_on_the_host() -> None:
    """Pairs lie side by side under a mask; a row alone would fit."""
    refused = said("method: {kind: dpo}\nadapter: {kind: lora}", 23.6, length=8192)
    assert "each GPU has 23.6 GiB" in refused and "host's memory" not in refused


def test_the_length_that_is_named_fits() -> None:
    """Automatic packs have 4,096 tokens also where rows are shorter."""
    refused = said("adapter: {kind: qlora}", 10.0, length=8192)
    named = re.search(r"shorten data.max_length and data.pack_length: packs of ([\d,]+) tokens fit", refused)
    assert named
    length = int(named[1].replace(",", ""))
    assert length < 4096
    machine = facts(card(10.0), config=LLAMA_8B, ram_gib=1000.0)
    data = f"data: {{train: [{{source: /data/a.jsonl}}], max_length: {length}, pack_length: {length}}}"
    assert plan_train(spec(f"adapter: {{kind: qlora}}\n{data}"), machine, Inputs()).steps


def test_no_length_is_named_where_none_fits() -> None:
    assert "shorten" not in said("adapter: {kind: lora}", 12.0, length=2048)


def test_no_adapter_is_advised_for_a_host_that_has_no_room_for_it_either() -> None:
    """Each of 8 processes reads 15 GiB under FSDP, an adapter's too."""
    machine = facts(*(card(80.0),) * 8, config=LLAMA_8B, ram_gib=100.0)
    with pytest.raises(MachineError, match=r"needs \d+\.\d GiB of the host's memory \(.*, and a tenth free\)") as caught:
        plan_train(spec("adapter: {kind: full}\nhardware: {strategy: fsdp}"), machine, inputs())
    assert "adapter.kind: lora" not in str(caught.value.fix)


@pytest.mark.parametrize("again", ["false", "selective"])
def test_recomputation_that_the_spec_leaves_out_is_named_first(again: str) -> None:
    kept = f"train: {{gradient_checkpointing: {again}}}\nadapter: {{kind: lora}}"
    assert said(kept, 22.0, packing=", packing: false").partition("\n    ")[2].startswith("write train.gradient_checkpointing: true; or plan for")
    for way in said(kept, 14.0, packing=", packing: false").partition("\n    ")[2].split("; or ")[:-1]:
        assert way.startswith("write train.gradient_checkpointing: true, and "), way


def test_what_no_machine_helps_is_said_before_memory() -> None:
    with pytest.raises(UsageError, match="takes a part out of the base"):
        plan_train(spec("method: {kind: dpo}\nadapter: {kind: pissa}"), facts(card(1.0), config=LLAMA_8B), inputs())


def test_a_run_compares_itself_with_what_torch_allocates() -> None:
    """On a GPU neither the context nor fragments are among it."""
    found = fit_of(shape(), LOAD, facts(card(80.0)))
    apart = found.terms["context"] + found.terms["fragments"]
    assert predicted_of(found).memory_bytes == pytest.approx(found.gib * GIB - apart, abs=1) and apart > 0.9 * GIB
