"""The specs with plug-ins are valid and planned, and each of their files is the plug-in that it is named as."""

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from entrypoint.plan import Inputs, plan_fetch, plan_prepare, plan_train
from schemas.code import read_code
from schemas.facts import Facts
from schemas.job import FetchJob, PrepareJob, TrainJob
from schemas.load import load
from schemas.plugins import KINDS, split_code

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs" / "plugins").glob("*.yaml"))
SCHEMA_LINE = "# yaml-language-server: $schema=../../schemas/spec.schema.json"


def test_each_kind_has_an_example() -> None:
    plugins = [load(path.read_text(encoding="utf-8")).plugins for path in SPECS]
    assert {kind for kind in KINDS for one in plugins if getattr(one, kind)} == set(KINDS)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid_and_laid_out(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert load(text, path.name).name == path.stem
    schema = json.loads((ROOT / "schemas" / "spec.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(YAML(typ="safe", pure=True).load(text))
    assert text.splitlines()[0] == SCHEMA_LINE
    assert [line for line in text.splitlines() if len(line) > 80 or line != line.rstrip()] == []


@pytest.mark.parametrize("machine", ["cpu2", "h100x1"])
@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_planned_over_the_files_beside_it(path: Path, machine: str) -> None:
    spec = load(path.read_text(encoding="utf-8"))
    facts = Facts.model_validate_json((ROOT / "tests" / "facts" / f"{machine}.json").read_text(encoding="utf-8"))
    named = {place for kind in KINDS if (place := getattr(spec.plugins, kind))}
    code = {source: read_code((path.parent / Path(source).name).read_bytes()) for source, _ in map(split_code, named)}
    facts = facts.model_copy(update={"code": code, "ram_gib": 512.0})
    fetched = [source for step in plan_fetch(spec, facts).steps if isinstance(step.job, FetchJob) and step.folder == "plugins" for source in step.job.sources]
    assert sorted(fetched) == sorted(code)
    prepare, train = plan_prepare(spec, facts, Inputs()), plan_train(spec, facts, Inputs())
    listed = {decision.value.partition(" ")[2] for plan in (prepare, train) for decision in plan.decisions if decision.field == "code"}
    assert listed == named
    prepared, trained = prepare.steps[0].job, train.steps[0].job
    assert isinstance(prepared, PrepareJob) and isinstance(trained, TrainJob)
    jobs = {**trained.plugins, **({"preprocessor": prepared.preprocessor} if prepared.preprocessor else {})}
    assert {kind: job.options for kind, job in jobs.items() if job.options} == spec.plugins.options
