"""Every method that a spec can name has a recipe, and none is trained as another."""

from typing import get_args

import pytest

pytest.importorskip("trl")

from tiny import spec

from entrypoint.chain import machine, read_spec
from entrypoint.plan import Inputs, plan_train
from entrypoint.run.methods import recipe_of
from entrypoint.run.store import Store
from schemas.job import TrainJob
from schemas.method import Method

pytestmark = pytest.mark.image

TRAINERS = {"sft": "SFTTrainer", "pretrain": "SFTTrainer", "dpo": "DPOTrainer", "ipo": "DPOTrainer"}
KINDS = [get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(Method)[0])]


def job_of(sources, tmp_path, kind, adapter="{kind: lora}"):
    read = read_spec(spec(tmp_path, *sources, method=f"{{kind: {kind}}}", adapter=adapter))
    job = plan_train(read, machine(read, Store(tmp_path / "store")), Inputs()).steps[0].job
    assert isinstance(job, TrainJob)
    return job


@pytest.mark.parametrize("kind", KINDS)
def test_recipe(sources, tmp_path, kind):
    recipe = recipe_of(job_of(sources, tmp_path, kind), pad=2)
    assert recipe.trainer.__name__ == TRAINERS[kind]
    assert set(recipe.settings) <= set(recipe.config.__dataclass_fields__)


def test_dropout_that_a_spec_asks_for_stays_on(sources, tmp_path):
    """TRL's switch for the model's own dropout takes the adapter's with it."""
    assert recipe_of(job_of(sources, tmp_path, "dpo"), pad=2).settings["disable_dropout"]
    assert not recipe_of(job_of(sources, tmp_path, "dpo", "{kind: lora, dropout: 0.1}"), pad=2).settings["disable_dropout"]
