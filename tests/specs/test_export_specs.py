"""Example specs of exports: valid, laid out like the others, and planned as they say."""

from pathlib import Path

import pytest
from laid_out import check_laid_out

from entrypoint.plan import Inputs, plan_export
from schemas.export_job import ExportJob
from schemas.facts import Facts
from schemas.load import load

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs" / "export").glob("*.yaml"))
MACHINES = [Facts.model_validate_json((ROOT / "tests" / "facts" / f"{name}.json").read_text(encoding="utf-8")) for name in ("cpu2", "h100x1")]


def test_each_kind_has_one() -> None:
    kinds = {entry.kind for path in SPECS for entry in load(path.read_text(encoding="utf-8")).export}
    assert kinds == {"safetensors", "adapter", "fp8", "int8", "awq", "gptq"}


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid_and_laid_out_like_the_others(path: Path) -> None:
    check_laid_out(path)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
@pytest.mark.parametrize("facts", MACHINES, ids=["cpu2", "h100x1"])
def test_planned(path: Path, facts: Facts) -> None:
    spec = load(path.read_text(encoding="utf-8"))
    jobs = [step.job for step in plan_export(spec, facts, Inputs()).steps]
    assert all(isinstance(job, ExportJob) for job in jobs)
    assert sorted(job.kind for job in jobs if isinstance(job, ExportJob)) == sorted(entry.kind for entry in spec.export)
