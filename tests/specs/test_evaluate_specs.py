"""Example specs of evaluations: valid, laid out like the others, and planned with the gate that they write."""

from pathlib import Path

import pytest
from laid_out import check_laid_out

from entrypoint.plan import Inputs, plan_evaluate
from entrypoint.plan.refuse import refuse_unbuilt
from schemas.evaluate_job import EvaluateJob
from schemas.facts import Facts
from schemas.load import load

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs" / "evaluate").glob("*.yaml"))
MACHINES = [Facts.model_validate_json((ROOT / "tests" / "facts" / f"{name}.json").read_text(encoding="utf-8")) for name in ("cpu2", "h100x1")]


def test_there_is_one() -> None:
    assert SPECS


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid_and_laid_out_like_the_others(path: Path) -> None:
    check_laid_out(path)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
@pytest.mark.parametrize("facts", MACHINES, ids=["cpu2", "h100x1"])
def test_planned(path: Path, facts: Facts) -> None:
    spec = load(path.read_text(encoding="utf-8"))
    refuse_unbuilt(spec)
    job = plan_evaluate(spec, facts, Inputs()).steps[0].job
    assert isinstance(job, EvaluateJob) and job.gate == spec.evaluate.gate != {}
