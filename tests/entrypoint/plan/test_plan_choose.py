"""All that fit, the fastest of them, and what it was weighed against."""

import time

import pytest
from known import H100, LLAMA_8B, card, facts

from entrypoint.plan.accelerators import tabled_rates
from entrypoint.plan.batch import Rows
from entrypoint.plan.choose import EXCESS, MAX_MICRO_BATCH, SIMPLER, against, choose, is_padded, options, rounded, row_width, sizes
from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape, read_shape
from schemas.facts import Facts

PACKS = Rows(1000, 4096.0, 4096, assumed=False, pack=4096)
ROWS = Rows(1000, 500.0, 2048, assumed=False)
LORA = Load("lora", 16, "bf16", "single", 1, 1, 4096, False, True)


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


def loads(*strategies: str, ranks: int = 1) -> list[Load]:
    return [
        Load(kind, 16, "bf16", strategy, ranks, 1, 4096, again, True) for kind in ("lora", "qlora") for strategy in strategies for again in (False, True)
    ]  # fmt: skip


def found_on(machine: Facts, *strategies: str, ranks: int = 1, known: bool = True, step: int = 16):  # type: ignore[no-untyped-def]
    return options(loads(*strategies, ranks=ranks), shape(), machine, tabled_rates(H100) if known else None, PACKS, lambda ranks: step)


@pytest.mark.parametrize("share", [1, 2, 7, 37, 64, 97, 1000])
@pytest.mark.parametrize("least", [1, 2])
def test_sizes_keep_the_batch(share: int, least: int) -> None:
    found = sizes(share, least)
    assert found
    for micro, parts in found:
        assert least <= micro <= MAX_MICRO_BATCH
        assert share <= micro * parts <= max((1 + EXCESS) * share, share + least - 1)


def test_the_fastest_that_fits_is_taken() -> None:
    found = found_on(facts(H100, config=LLAMA_8B), "single")
    best = choose(found)
    assert best and best.speed
    lora = [option for option in found if option.fit.fits and option.load.adapter == "lora"]
    assert best.speed.rate == max(option.speed.rate for option in lora if option.speed)
    assert not best.load.gradient_checkpointing
    assert all(option.speed.rate <= best.speed.rate for option in lora if option.speed and option.load.gradient_checkpointing)


def test_adapters_of_16_bits_come_first_even_where_4_bits_are_faster() -> None:
    found = found_on(facts(H100, config=LLAMA_8B), "single")
    best = choose(found)
    assert best and best.load.adapter == "lora"
    assert choose([option for option in found if option.load.adapter == "qlora"]) is not None


def test_without_rates_the_preferred_with_most_rows_at_once() -> None:
    best = choose(found_on(facts(H100, config=LLAMA_8B), "single", known=False))
    assert best and best.speed is None and best.order == 0
    assert best.load.micro_batch == max(
        o.load.micro_batch for o in found_on(facts(H100, config=LLAMA_8B), "single", known=False) if o.fit.fits and o.order == 0
    )


def test_nothing_is_chosen_where_nothing_fits() -> None:
    assert choose(found_on(facts(card(4.0), config=LLAMA_8B), "single")) is None


def test_the_simpler_strategy_wins_unless_it_is_much_slower() -> None:
    machine = facts(*(H100,) * 8, config=LLAMA_8B, ram_gib=1000.0)
    found = found_on(machine, "ddp", "zero2", "zero3", ranks=8, step=64)
    best = choose(found)
    assert best and best.load.strategy == "ddp"
    fastest = max(o.speed.rate for o in found if o.speed and o.fit.fits and o.load.adapter == "lora")
    assert best.speed and fastest <= (1 + SIMPLER) * best.speed.rate


def test_the_runner_up_differs_in_one_thing() -> None:
    found = found_on(facts(H100, config=LLAMA_8B), "single")
    best = choose(found)
    assert best
    other = against(found, best, lambda load: load.gradient_checkpointing)
    assert other and other.load.gradient_checkpointing and other.words.endswith(" tok/s")
    assert against(found, best, lambda load: load.strategy) is None
    small = found_on(facts(card(20.0), config=LLAMA_8B), "single")
    best = choose(small)
    assert best and (other := against(small, best, lambda load: load.adapter)) and other.words.startswith("does not fit")


@pytest.mark.parametrize(("rows", "at_once", "padded"), [(PACKS, 4, False), (ROWS, 1, False), (ROWS, 2, True), (Rows(10, 9.0, 9, assumed=False), 2, False)])
def test_rows_side_by_side_are_padded(rows: Rows, at_once: int, padded: bool) -> None:
    assert is_padded(rows, at_once) is padded


def test_a_row_beside_others_is_as_long_as_the_longest_of_them() -> None:
    assert row_width(ROWS, 1) == 500
    assert 500 < row_width(ROWS, 2) < row_width(ROWS, 64) < 2048
    assert row_width(PACKS, 64) == 4096


@pytest.mark.parametrize(("number", "said"), [(13691.4, "13,700"), (1.234, "1.23"), (0.0, "0"), (99.96, "100.0"), (123456, "123,000")])
def test_three_digits(number: float, said: str) -> None:
    assert rounded(number) == said


def test_hundreds_of_options_take_well_under_a_second() -> None:
    machine = facts(*(H100,) * 8, config=LLAMA_8B, ram_gib=1000.0)
    start = time.process_time()
    found = found_on(machine, "ddp", "zero2", "zero3", ranks=8, step=8 * 720)
    choose(found)
    assert len(found) > 200
    assert time.process_time() - start < 0.5


def test_the_fewest_rows_that_a_method_takes_are_always_a_way() -> None:
    """31 has no parts: two at once make 32 rows, one in 31 too many, and are all that fits a small card."""
    assert (2, 16) in sizes(31, 2)
    assert (1, 31) in sizes(31, 1)
