"""Lines that say how fast, how long, and why not otherwise."""

import pytest
from known import H100, LLAMA_8B, LONG, card, facts, inputs, plan_of, why

from entrypoint.plan import Inputs
from entrypoint.plan.reasons import duration, rates_of
from schemas.rates import Rates

MEASURED = Rates(device="cpu", matmul_tflops={"fp32": 0.1}, memory_gib=10.0, launch_us=5.0, measured_at=1.0, source="torch 2.13, caisson calibrate")


def test_speed_and_time_of_a_known_card() -> None:
    plan = plan_of(facts(H100, config=LLAMA_8B), "hardware: {price: 2.5}", LONG)
    value, reason = why(plan, "speed")
    assert value.endswith(" tok/s") and "matrix products" in reason and "from a table, not measured here" in reason
    value, reason = why(plan, "time")
    assert value.split()[1] in ("min", "h")
    assert "steps; at most " in reason and "kWh" in reason and "at hardware.price 2.5" in reason


def test_cost_is_price_times_time() -> None:
    (cheap, dear) = (why(plan_of(facts(H100, config=LLAMA_8B), f"hardware: {{price: {price}}}", LONG), "time")[1] for price in (1, 100))
    amount = [float(text.split("costs ")[1].split()[0].replace(",", "")) for text in (cheap, dear)]
    assert amount[1] == pytest.approx(100 * amount[0], rel=0.02)


def test_a_cpu_is_not_estimated_before_it_is_measured() -> None:
    assert why(plan_of(facts()), "speed") == ("not estimated", "a CPU's rates are not tabled: run `caisson calibrate` on this machine")
    value, reason = why(plan_of(facts(rates=MEASURED)), "speed")
    assert value.endswith(" tok/s") and "measured on this machine" in reason


def test_an_unknown_card_is_named() -> None:
    assert "card 24 is not in the table" in why(plan_of(facts(card(24.0))), "speed")[1]


def test_measured_rates_come_first() -> None:
    assert rates_of(facts(H100, rates=MEASURED)) == MEASURED
    assert rates_of(facts(H100, card(24.0))) is None
    assert rates_of(facts()) is None


def test_each_choice_names_what_it_was_weighed_against() -> None:
    plan = plan_of(facts(H100, config=LLAMA_8B), "", LONG)
    assert "tok/s, with selective recomputation, " in why(plan, "train.gradient_checkpointing")[1]
    assert "; lora " in why(plan, "adapter.kind")[1] and ", qlora " in why(plan, "adapter.kind")[1]


def test_the_next_larger_part_is_named() -> None:
    """On an H100 one row of 4,096 tokens at once keeps its activations, two do not fit."""
    full = inputs(rows=10_000, tokens=10_000 * 4096, longest=4096)
    reason = why(plan_of(facts(H100, config=LLAMA_8B), "adapter: {kind: lora}", full), "micro-batch x accumulation")[1]
    assert "; 2 x 8 does not fit, " in reason


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0123, "12 ms"), (1.234, "1.23 s"), (99.0, "99 s"), (600, "10 min"), (9000, "2 h 30 min"), (400_000, "4 days 15 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_before_the_rows_are_counted_a_million_tokens_are() -> None:
    """Whoever asks what to buy has no counted rows yet."""
    plan = plan_of(facts(H100, config=LLAMA_8B), "hardware: {price: 100}", Inputs())
    speed = float(why(plan, "speed")[0].split()[0].replace(",", ""))
    value, reason = why(plan, "time")
    assert value == "not known" and reason.startswith("prepare has not counted the rows yet; a million tokens take ")
    assert float(reason.split("costs ")[1].split()[0]) == pytest.approx(100 * 1e6 / speed / 3600, rel=0.02)
