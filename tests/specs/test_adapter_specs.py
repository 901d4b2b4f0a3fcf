"""Example specs of adapters and optimizers: valid, planned on a machine that can, and what they say is what the trainer is told."""

from pathlib import Path

import pytest
from laid_out import check_laid_out

from entrypoint.plan import Inputs, plan_train
from schemas.facts import Facts
from schemas.job import TrainJob
from schemas.load import load

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs" / "adapters").glob("*.yaml"))
MACHINES = [Facts.model_validate_json((ROOT / "tests" / "facts" / f"{name}.json").read_text(encoding="utf-8")) for name in ("h100x1", "h100x8")]


def test_each_kind_has_one() -> None:
    kinds = {load(path.read_text(encoding="utf-8")).adapter.kind for path in SPECS}
    assert kinds >= {"freeze", "dora", "rslora", "lora+", "pissa", "olora", "lora", "full"}


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid_and_laid_out_like_the_others(path: Path) -> None:
    check_laid_out(path)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
@pytest.mark.parametrize("facts", MACHINES, ids=["h100x1", "h100x8"])
def test_planned(path: Path, facts: Facts) -> None:
    spec = load(path.read_text(encoding="utf-8"))
    job = plan_train(spec, facts, Inputs()).steps[0].job
    assert isinstance(job, TrainJob)
    assert job.adapter.kind == spec.adapter.kind
    assert job.optimisation.optimizer == spec.train.optimizer and job.strategy == ("single" if len(facts.accelerators) == 1 else "ddp")
    assert job.validation.model_dump(include={"every", "patience", "best"}) == spec.train.validation.model_dump(include={"every", "patience", "best"})
