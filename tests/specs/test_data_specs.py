"""The specs about data are valid, and planned on a machine without a GPU and on one with."""

from pathlib import Path

import pytest
from laid_out import check_laid_out

from entrypoint.plan import Inputs, plan_fetch, plan_prepare
from schemas.facts import Facts
from schemas.job import FetchJob, PrepareJob
from schemas.load import load

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs" / "data").glob("*.yaml"))
SCHEMA_LINE = "# yaml-language-server: $schema=../../schemas/spec.schema.json"


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid_and_laid_out(path: Path) -> None:
    assert check_laid_out(path).name == path.stem


@pytest.mark.parametrize("machine", ["cpu2", "h100x1"])
@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_planned(path: Path, machine: str) -> None:
    spec = load(path.read_text(encoding="utf-8"))
    facts = Facts.model_validate_json((ROOT / "tests" / "facts" / f"{machine}.json").read_text(encoding="utf-8"))
    fetch = plan_fetch(spec, facts).steps[1].job
    assert isinstance(fetch, FetchJob)
    assert len(fetch.sources) == len(set(fetch.sources)) >= 1
    job = plan_prepare(spec, facts, Inputs()).steps[0].job
    assert isinstance(job, PrepareJob)
    assert [rows.source for rows in (*job.train, *job.validation)] == list(fetch.sources)


def test_the_mixture_reaches_the_stage() -> None:
    spec = load((ROOT / "specs" / "data" / "mixture.yaml").read_text(encoding="utf-8"))
    facts = Facts.model_validate_json((ROOT / "tests" / "facts" / "cpu2.json").read_text(encoding="utf-8"))
    job = plan_prepare(spec, facts, Inputs()).steps[0].job
    assert isinstance(job, PrepareJob)
    assert [rows.weight for rows in job.train] == [2, 1, 1]
    assert job.train[1].columns == {"prompt": "frage", "completion": "antwort"}
    assert (job.train[2].max_rows, job.validation[0].max_rows) == (20000, 500)
    assert job.deduplicate
