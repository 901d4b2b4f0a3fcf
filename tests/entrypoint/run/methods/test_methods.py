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

TRAINERS = {
    "sft": "SFTTrainer",
    "pretrain": "SFTTrainer",
    "dpo": "DPOTrainer",
    "ipo": "DPOTrainer",
    "orpo": "OrpoTrainer",
    "simpo": "CpoTrainer",
    "cpo": "CpoTrainer",
    "kto": "KTOTrainer",
    "reward": "JudgeTrainer",
    "distil": "DistilTrainer",
}
KINDS = [get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(Method)[0])]


def job_of(sources, tmp_path, kind, adapter="{kind: lora}"):
    if kind.startswith("distil"):
        kind += f", teacher: {sources[0]}"
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


OTHER = {
    "dpo": {
        "beta": 0.3, "loss": "[hinge]", "weights": "[0.5]", "label_smoothing": ("[robust]", 0.1), "divergence": "forward_kl",
        "divergence_alpha": ("alpha_divergence", 0.3),
    },
    "orpo": {"beta": 0.3}, "simpo": {"beta": 3.0, "gamma": 0.5, "chosen_weight": 1.0},
    "cpo": {"loss": "hinge", "beta": 0.3, "label_smoothing": 0.1, "chosen_weight": 0.3},
    "kto": {"loss": "apo_zero_unpaired", "beta": 0.3, "desirable_weight": 1.3, "undesirable_weight": 0.7}, "reward": {"center": 0.01}, "distil": {"beta": 0.0},
}  # fmt: skip
"""Another value of each field; two where it goes only with another value of a second."""

OF_ENDPOINT = {"endpoint", "teacher_name", "top_k", "key_file", "requests"}

BESIDE = {"label_smoothing": "loss", "divergence_alpha": "divergence"}


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in OTHER.items() for field in fields])
def test_every_field_reaches_trl(sources, tmp_path, kind, field):
    value = OTHER[kind][field]
    beside = ""
    if isinstance(value, tuple):
        beside, value = f", {BESIDE[field]}: {value[0]}", value[1]
    usual, other = (recipe_of(job_of(sources, tmp_path, f"{kind}{beside}{more}"), pad=2).settings for more in ("", f", {field}: {value}"))
    assert usual != other


def test_no_field_is_left_out():
    """But loss_on and what a teacher's endpoint is asked, which are prepare's, and the teacher, which is an input."""
    for model in get_args(get_args(Method)[0]):
        kind = get_args(model.model_fields["kind"].annotation)[0]
        if kind != "ipo":  # ipo becomes dpo in the plan
            assert set(OTHER.get(kind, {})) == set(model.model_fields) - {"kind", "loss_on", "teacher"} - OF_ENDPOINT
