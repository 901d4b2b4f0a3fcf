"""Which validation is the best, when training ends, and what a checkpoint keeps of that."""

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers")

from entrypoint.run.events import Events
from entrypoint.run.judge import Judge
from schemas.errors import UsageError
from schemas.job import ValidationJob

pytestmark = pytest.mark.image


def judge(tmp_path, **job):
    return Judge(ValidationJob(**job), Events(tmp_path / "events.jsonl"))


def show(judged, step, value, metric="loss"):
    """One validation; what it asks of the trainer."""
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    judged.on_evaluate(None, SimpleNamespace(global_step=step, max_steps=100), control, metrics={f"eval_{metric}": value, "eval_runtime": 1.0})
    return control.should_save, control.should_training_stop


def test_the_best_is_saved_and_spared(tmp_path):
    judged = judge(tmp_path, best=True)
    assert judged.spare is None
    assert [show(judged, step, loss) for step, loss in ((10, 3.0), (20, 2.0), (30, 2.5), (40, 2.0), (50, 1.9))] == [
        (True, False), (True, False), (False, False), (False, False), (True, False),
    ]  # fmt: skip
    assert (judged.best, judged.spare) == (1.9, 50)


def test_patience_runs_out(tmp_path):
    judged = judge(tmp_path, patience=2, min_delta=0.1)
    assert [show(judged, step, loss) for step, loss in ((10, 3.0), (20, 2.95), (30, 2.85), (40, 2.8), (50, 2.76))] == [
        (False, False), (False, False), (False, False), (False, False), (True, True),
    ]  # fmt: skip
    assert judged.ended and judged.best_step == 30 and judged.spare is None
    assert '"event": "stopped_early"' in (tmp_path / "events.jsonl").read_text()


def test_after_the_last_step_nothing_ends_early(tmp_path):
    judged = judge(tmp_path, patience=1)
    show(judged, 90, 1.0)
    assert show(judged, 100, 2.0) == (False, False) and not judged.ended


@pytest.mark.parametrize(
    ("metric", "values", "best"), [("mean_token_accuracy", (0.1, 0.3, 0.2), 20), ("entropy", (3, 2, 4), 20), ("rewards/margins", (1, 2, 0), 20)]
)
def test_direction_follows_the_name(tmp_path, metric, values, best):
    judged = judge(tmp_path, best=True, metric=metric)
    for step, value in zip((10, 20, 30), values, strict=True):
        show(judged, step, value, metric)
    assert judged.best_step == best


def test_no_number_is_never_the_best(tmp_path):
    judged = judge(tmp_path, best=True, patience=2)
    assert show(judged, 10, math.nan) == (False, False)
    assert show(judged, 20, math.inf) == (True, True) and judged.best is None


def test_an_unknown_metric_is_refused_with_those_that_exist(tmp_path):
    with pytest.raises(UsageError, match="gives no accuracy") as caught:
        show(judge(tmp_path, best=True, metric="accuracy"), 10, 1.0, "mean_token_accuracy")
    assert "mean_token_accuracy" in caught.value.fix and "runtime" not in caught.value.fix


def test_it_goes_on_where_a_checkpoint_left_it(tmp_path):
    first = judge(tmp_path, best=True, patience=3)
    show(first, 10, 2.0)
    show(first, 20, 3.0)
    second = judge(tmp_path, best=True, patience=3)
    second.set_counts(first.counts())
    assert second.counts() == {"best": 2.0, "best_step": 10, "not_better": 1, "ended": False}
    show(second, 30, 3.0)
    assert show(second, 40, 3.0) == (True, True)


def test_without_wishes_it_looks_at_nothing(tmp_path):
    judged = judge(tmp_path)
    assert show(judged, 10, 1.0, "something") == (False, False) and judged.best is None
