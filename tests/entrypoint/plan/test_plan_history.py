"""What was measured before: the same setting exactly, or a factor from settings like it."""

import json

from measured_run import SETTING, measured
from small_run import Caisson, SmallRun

from entrypoint.plan.history import Expected, correction, expect, known_speed, show_known
from entrypoint.run.history import remember
from schemas.history import Measured, Setting, config_digest


def other(**changes: object) -> Setting:
    return SETTING.model_copy(update=changes)


def test_exactly_this_setting_by_the_median_of_the_newest() -> None:
    history = [measured(seconds) for seconds in (50.0, 1.0, 2.0, 3.0, 4.0, 9.0)]
    found = known_speed(history, SETTING)
    assert found is not None and (found.step_seconds, found.runs) == (3.0, 5)
    for changes in ({"micro_batch": 8}, {"device": "cpu, 4 thread(s)"}, {"length": 513}, {"gradient_checkpointing": True}, {"config": "1" * 64}):
        assert known_speed(history, other(**changes)) is None
    assert known_speed([], SETTING) is None


def ran(seconds: float, modelled: float | None, **changes: object) -> Measured:
    return measured(seconds).model_copy(update={"setting": other(**changes), "modelled_seconds": modelled})


def test_a_factor_from_the_nearest_group() -> None:
    near, far = ran(3.0, 1.0, micro_batch=2), ran(4.0, 2.0, adapter="full")
    elsewhere, unknown = ran(9.0, 1.0, device="other"), ran(9.0, None, micro_batch=2)
    assert correction([near, far, elsewhere, unknown], other(micro_batch=16)) == (3.0, 1)
    assert correction([far, elsewhere], SETTING) == (2.0, 1)
    assert correction([ran(4.0, 2.0, config="2" * 64)], SETTING) == (2.0, 1)
    assert correction([elsewhere, unknown], SETTING) is None
    assert correction([ran(900.0, 1.0), far], SETTING) == (2.0, 1), "a factor of 900 is no correction"


def test_what_is_expected_and_why() -> None:
    assert expect([measured(7.0)], SETTING, 2.0, "from a table") == Expected(7.0, 2.0, "as measured in this setting before")
    assert expect([ran(3.0, 1.0, micro_batch=2)], SETTING, 2.0, "from a table") == Expected(6.0, 2.0, "an estimate, times 3.00 as one run here took")
    assert expect([], SETTING, 2.0, "from a table") == Expected(2.0, 2.0, "an estimate with rates from a table")


def test_lines() -> None:
    assert show_known(None) == []
    (line,) = show_known(known_speed([measured(0.0123)], SETTING))
    assert (line.field, line.value) == ("measured before", "12 ms a step, 100 tokens/s, 0.9 GiB")
    assert line.why == "the median of one run of exactly this setting on this store"


def test_the_plan_says_and_predicts_it(run: SmallRun, caisson: Caisson) -> None:
    """As a finished run names itself; tests/entrypoint/run/test_train.py has a real one."""
    run.seal("fetch", "prepare")
    before = run.chain().plan("train")
    job = before.steps[0].job
    assert job.stage == "train" and job.predicted.step_seconds is None and job.predicted.memory_bytes
    config = json.loads((run.model / "config.json").read_text())
    threads = before.steps[0].environment["OMP_NUM_THREADS"]
    setting = other(
        config=config_digest(config),
        device=f"cpu, {threads} thread(s)",
        micro_batch=job.micro_batch,
        accumulation=job.accumulation,
        length=job.pack_length or 80,
    )
    remember(run.store.root, measured(0.5).model_copy(update={"setting": setting}).model_dump(mode="json"))
    after = run.chain().plan("train")
    assert after.steps[0].job.model_dump()["predicted"]["step_seconds"] == 0.5
    assert after.steps[0].identity == before.steps[0].identity, "what is known decides nothing"
    assert after.steps[0].work_id == before.steps[0].work_id
    code, out, _ = caisson("plan", run.spec_file, "--store", run.store.root)
    assert code == 0 and "measured before  0.50 s a step, 100 tokens/s, 0.9 GiB" in out
