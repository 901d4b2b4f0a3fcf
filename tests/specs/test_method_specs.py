"""A worked spec for each method: valid for the program and for editors, and planned on a machine with a GPU and on one without."""

import re
from pathlib import Path
from typing import get_args

import pytest
from laid_out import check_laid_out

from entrypoint.plan import Inputs, plan_fetch, plan_prepare, plan_train
from schemas.errors import MachineError
from schemas.facts import Facts, ModelFacts
from schemas.job import TrainJob
from schemas.load import load
from schemas.method import Method, teacher_of

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs" / "methods").glob("*.yaml"))
MACHINES = ("cpu2", "h100x1")

# Shapes of the models that they name, from their config.json.
SIZES = {
    "135M": (576, 1536, 9, 3, 30, 49152),
    "1.7B": (2048, 8192, 32, 32, 24, 49152),
    "7B": (3584, 18944, 28, 4, 28, 152064),
}
KINDS = [get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(Method)[0])]


def facts(machine: str, *sources: str) -> Facts:
    """A recorded machine that knows the models' shapes."""
    read = Facts.model_validate_json((ROOT / "tests" / "facts" / f"{machine}.json").read_text(encoding="utf-8"))
    keys = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers", "vocab_size")
    known = dict(read.models)
    for source in sources:
        size = next(sizes for name, sizes in SIZES.items() if name in source)
        config = {**dict(zip(keys, size, strict=True)), "max_position_embeddings": 8192, "tie_word_embeddings": "SmolLM2" in source}
        known[source] = ModelFacts(config=config)
    return read.model_copy(update={"models": known})


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid_and_it_teaches(path: Path) -> None:
    check_laid_out(path)
    assert re.match(r"# [A-Z]", path.read_text(encoding="utf-8").splitlines()[2]), "says what it is for"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_planned(path: Path, machine: str) -> None:
    spec = load(path.read_text(encoding="utf-8"))
    teacher = teacher_of(spec.method)
    known = facts(machine, spec.model.source, *([teacher] if teacher else []))
    assert len(plan_fetch(spec, known).steps) == (3 if teacher else 2)
    assert plan_prepare(spec, known, Inputs()).steps[0].job.rows == spec.method.rows  # type: ignore[union-attr]
    try:
        plan = plan_train(spec, known, Inputs())
    except MachineError:
        assert machine == "cpu2"  # a laptop has no room for them
        return
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    assert job.method.rows == spec.method.rows
    fields = [d.field for d in plan.decisions]
    assert "method" in fields and "warning: train.learning_rate" not in fields


def test_every_method_has_one() -> None:
    assert {load(path.read_text(encoding="utf-8")).method.kind for path in SPECS} | {"sft"} == set(KINDS)


def test_names_differ() -> None:
    names = [load(path.read_text(encoding="utf-8")).name for path in SPECS]
    assert len(set(names)) == len(names)
