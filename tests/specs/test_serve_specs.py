"""Example specs of serving: valid, and planned where they can be; their flags are looked at in tests/entrypoint/plan."""

from pathlib import Path

import pytest
from laid_out import check_laid_out

from entrypoint.plan import Inputs, plan_serve
from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.load import load
from schemas.serve_job import ServeJob

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs" / "serve").glob("*.yaml"))


def facts(name: str) -> Facts:
    return Facts.model_validate_json((ROOT / "tests" / "facts" / f"{name}.json").read_text(encoding="utf-8"))


def test_both_engines_have_some() -> None:
    engines = {load(path.read_text(encoding="utf-8")).serve.engine for path in SPECS}
    assert engines == {None, "vllm", "lmdeploy"}


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid_and_laid_out_like_the_others(path: Path) -> None:
    check_laid_out(path)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_planned(path: Path) -> None:
    spec = load(path.read_text(encoding="utf-8"))
    step = plan_serve(spec, facts("h100x8"), Inputs()).steps[0]
    assert isinstance(step.job, ServeJob)
    assert step.job.engine == (spec.serve.engine or "vllm")
    assert [place.name for place in step.job.adapters][1:] == [one.name for one in spec.serve.adapters]
    assert step.image_lock, "the engine's own image"


@pytest.mark.parametrize("path", [path for path in SPECS if path.stem.startswith("lmdeploy")], ids=lambda p: p.stem)
def test_lmdeploy_needs_a_gpu(path: Path) -> None:
    with pytest.raises(MachineError, match="write engine: vllm or auto"):
        plan_serve(load(path.read_text(encoding="utf-8")), facts("cpu2"), Inputs())
