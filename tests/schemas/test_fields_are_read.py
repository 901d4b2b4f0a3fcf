"""Every field of the spec decides something: planning reads it.

Handing a whole section on with model_dump does not count: that only puts it into a hash.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from entrypoint.plan import Inputs, plan_export, plan_fetch, plan_gateway, plan_prepare, plan_serve, plan_train
from entrypoint.plan.suites import suite_jobs
from schemas.base import Section
from schemas.errors import CaissonError
from schemas.facts import Facts
from schemas.gate_check import gate_problems
from schemas.load import load
from schemas.manifest import Manifest, Sealed
from schemas.shape import models_in
from schemas.spec import Spec

ROOT = Path(__file__).parents[2]
READ_BY_LOAD = {("Spec", "spec")}
"""The version decides whether a file is read at all."""


def every_field() -> Iterator[tuple[str, str]]:
    """Each model below the spec with each of its fields."""
    seen: list[type[BaseModel]] = []
    queue: list[type[BaseModel]] = [Spec]
    while queue:
        model = queue.pop()
        if model in seen:
            continue
        seen.append(model)
        for name, field in model.model_fields.items():
            yield model.__name__, name
            queue += models_in(field.annotation)


@pytest.fixture(scope="module")
def read() -> set[tuple[str, str]]:
    """What all the plans of all example specs on all recorded machines look at."""
    found: set[tuple[str, str]] = set()
    specs = [load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "specs").rglob("*.yaml"))]
    machines = [Facts.model_validate_json(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "tests" / "facts").glob("*.json"))]
    manifest = Manifest(
        stage="prepare", name="a", identity="0", request="0", job={}, program="0", files=(),
        summary={"train": {"rows": 270, "tokens": 16_000, "longest": 120}, "validation": {"rows": 30, "tokens": 1_800, "longest": 110}},
    )  # fmt: skip
    inputs = Inputs(prepared=Sealed("a/prepared/0", manifest))
    usual = Section.__getattribute__

    def note(section: Section, name: str) -> Any:
        found.add((type(section).__name__, name))
        return usual(section, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Section, "__getattribute__", note, raising=False)
        for spec, facts in product(specs, machines):
            for plan in (
                lambda s, f, i: plan_fetch(s, f),
                plan_prepare,
                plan_train,
                plan_export,
                plan_serve,
                lambda s, f, i: plan_gateway(s, f.cpu_cores, "127.0.0.1", False),
                lambda s, f, i: suite_jobs(s, 8),
                lambda s, f, i: list(gate_problems(s)),  # no plan has to do with the gate: promotion and the report judge it
            ):
                try:
                    plan(spec, facts, inputs)
                except CaissonError:
                    continue  # that machine cannot: others can
    return found


@pytest.mark.parametrize("field", sorted(set(every_field()) - READ_BY_LOAD), ids=".".join)
def test_read(field: tuple[str, str], read: set[tuple[str, str]]) -> None:
    assert field in read, f"{'.'.join(field)} is accepted and then read by nothing"
