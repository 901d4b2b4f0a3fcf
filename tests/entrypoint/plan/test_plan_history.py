"""What was measured before: the same setting exactly, or a factor from settings like it."""

import json

from measured_run import SETTING, measured
from small_run import Caisson, SmallRun

from entrypoint.plan.history import correction, known_speed, show_known
from entrypoint.run.history import remember
from schemas.history import Setting, config_digest


def other(**changes: object) -> Setting:
    return SETTING.model_copy(update=changes)


def test_exactly_this_setting_by_the_median_of_the_newest() -> None:
    history = [measured(seconds) for seconds in (50.0, 1.0, 2.0, 3.0, 4.0, 9.0)]
    found = known_speed(history, SETTING)
    assert found is not None and (found.step_seconds, found.runs) == (3.0, 5)
    for changes in ({"micro_batch": 8}, {"device": "cpu, 4 thread(s)"}, {"length": 513}, {"gradient_checkpointing": True}, {"config": "1" * 64}):
        assert known_speed(history, other(**changes)) is None
    assert known_speed([], SETTING) is None


def test_a_factor_from_the_nearest_group() -> None:
    def predict(setting: Setting) -> float | None:
        return None if setting.length == 7 else 0.5 * setting.micro_batch

    near = measured(3.0).model_copy(update={"setting": other(micro_batch=2)})
    far = measured(4.0).model_copy(update={"setting": other(adapter="full")})
    elsewhere = measured(9.0).model_copy(update={"setting": other(device="other")})
    unknown = measured(9.0).model_copy(update={"setting": other(length=7)})
    assert correction([near, far, elsewhere, unknown], other(micro_batch=16), predict) == (3.0, 1)
    assert correction([far, elsewhere], SETTING, predict) == (2.0, 1)
    assert correction([far.model_copy(update={"setting": other(config="2" * 64)})], SETTING, predict) == (2.0, 1)
    assert correction([elsewhere, unknown], SETTING, predict) is None
    wild = near.model_copy(update={"step_seconds": 900.0})
    assert correction([wild, far], SETTING, predict) == (2.0, 1), "a factor of 900 is no correction"


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
