"""Schedules by share, groups by name, and Muon beside AdamW."""

import json
import math

import pytest

pytest.importorskip("trl")

import torch
from resumed import outcome
from test_plugged import with_code
from tiny import run

from entrypoint.run.muon import MuonWithAdamW, is_matrix
from entrypoint.run.optimised import NAMES, Optimised, recomputation, schedule
from schemas.job import AdapterJob, OptimisationJob

pytestmark = pytest.mark.image

PEAK, STEPS = 0.5, 100


def rates(**changes):
    """Learning rate of each of 100 steps."""
    job = OptimisationJob(**{"optimizer": "adamw", "schedule": "linear", "warmup": 0.1, **changes})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    made = schedule(job, optimizer, STEPS)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return found


@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "wsd", "inverse_sqrt"])
def test_each_schedule_warms_up_over_its_share(name):
    found = rates(schedule=name)
    assert found[:11] == pytest.approx([PEAK * step / 10 for step in range(11)])
    assert max(found) == pytest.approx(PEAK) and rates(schedule=name, warmup=0.0)[0] == pytest.approx(PEAK, rel=1e-3)
    assert rates(schedule=name, warmup=0.5, warmup_steps=4)[4] == pytest.approx(PEAK), "steps in place of a share"


def test_shapes():
    assert rates(schedule="constant")[10:] == [PEAK] * 90
    assert rates(schedule="linear")[55] == pytest.approx(PEAK / 2)
    assert rates(schedule="cosine")[55] == pytest.approx(PEAK / 2)
    assert rates(schedule="cosine", min_rate=0.2)[99] == pytest.approx(0.2 * PEAK, rel=0.01)
    wsd = rates(schedule="wsd", decay=0.2, min_rate=0.1)
    assert wsd[10:81] == [PEAK] * 71 and wsd[99] == pytest.approx(0.1 * PEAK, rel=0.3) and wsd[80:] == sorted(wsd[80:], reverse=True)
    falls = rates(schedule="inverse_sqrt")
    assert falls[40] == pytest.approx(PEAK / math.sqrt(4))
    assert rates(schedule="wsd", decay=0.0)[10:] == [PEAK] * 90
    assert max(rates(schedule="linear", warmup=1.0)) == pytest.approx(PEAK * 0.99), "all of it warms up"


class Model(torch.nn.Module):
    """Names as peft gives them."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.lora_A = torch.nn.Linear(4, 2, bias=False)
        self.lora_B = torch.nn.Linear(2, 4, bias=True)

    def get_output_embeddings(self):
        return None


class Trainer(Optimised):
    """What Optimised reads of a trainer of transformers."""

    def __init__(self, optimizer="adamw", ratio=None):
        from transformers import Trainer as Base
        from transformers import TrainingArguments

        self.optimisation = OptimisationJob(optimizer=optimizer, schedule="linear", warmup=0.0)
        self.adapter = AdapterJob(kind="lora+" if ratio else "lora", ratio=ratio)
        self.args = TrainingArguments(output_dir="/tmp/none", learning_rate=1e-3, weight_decay=0.1, use_cpu=True, optim=NAMES[optimizer])
        self.model, self.optimizer, self.lr_scheduler = Model(), None, None
        self.get_optimizer_cls_and_kwargs = Base.get_optimizer_cls_and_kwargs
        self.get_decay_parameter_names = lambda model: Base.get_decay_parameter_names(self, model)


def groups(trainer):
    """Learning rate and decay by parameter."""
    by_id = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    made = trainer.create_optimizer()
    return {by_id[id(p)]: (group["lr"], group["weight_decay"]) for group in made.param_groups for p in group["params"]}


def test_lora_plus_gives_the_second_matrix_its_own_rate():
    assert groups(Trainer(ratio=8.0)) == {
        "embed.weight": (1e-3, 0.1), "lora_A.weight": (1e-3, 0.1), "lora_B.weight": (8e-3, 0.1), "lora_B.bias": (8e-3, 0.0),
    }  # fmt: skip


def test_a_schedule_moves_both_rates():
    trainer = Trainer(ratio=8.0)
    trainer.create_optimizer()
    made = trainer.create_scheduler(10)
    for _ in range(5):
        trainer.optimizer.step()
        made.step()
    assert sorted({group["lr"] for group in trainer.optimizer.param_groups}) == pytest.approx([5e-4, 4e-3])


def test_muon_steps_matrices_and_adamw_the_rest():
    trainer = Trainer("muon")
    names = groups(trainer)
    assert set(names) == {"embed.weight", "lora_A.weight", "lora_B.weight", "lora_B.bias"}
    made = trainer.optimizer
    assert isinstance(made, MuonWithAdamW)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    made.step()
    kinds = {name: set(made.state[parameter]) for name, parameter in trainer.model.named_parameters()}
    moments = {"step", "exp_avg", "exp_avg_sq"}
    assert kinds == {"embed.weight": moments, "lora_A.weight": {"momentum_buffer"}, "lora_B.weight": {"momentum_buffer"}, "lora_B.bias": moments}


def test_a_schedule_still_moves_muon_after_its_state_was_loaded():
    """As accelerate does before the first step."""
    made = MuonWithAdamW(
        [{"params": [torch.nn.Parameter(torch.ones(4, 4))], "weight_decay": 0.0, "lr": 1.0}],
        [{"params": [torch.nn.Parameter(torch.ones(4))], "weight_decay": 0.0, "lr": 1.0}], 1.0, (0.9, 0.999), 1e-8,
    )  # fmt: skip
    made.load_state_dict(made.state_dict())
    parameters = [group["params"][0] for group in made.param_groups]
    for group in made.param_groups:
        group["lr"] = 0.0
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    made.step()
    assert all(parameter.eq(1).all() for parameter in parameters), "a rate of nothing moves nothing"
    assert [set(made.state[parameter]) for parameter in parameters] == [{"momentum_buffer"}, {"step", "exp_avg", "exp_avg_sq"}]


def test_muon_is_torchs():
    """The same updates as torch's own on the matrices, at AdamW's size."""
    torch.manual_seed(3)
    start, gradient = torch.randn(6, 4), torch.randn(6, 4)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    mine = MuonWithAdamW([{"params": [ours], "weight_decay": 0.1, "lr": 1e-2}], [], 1e-2, (0.9, 0.999), 1e-8)
    torchs = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        torchs.step()
    assert torch.equal(ours, theirs) and not torch.equal(ours, start)
    assert is_matrix("a", ours, set()) and not is_matrix("a", ours, {"a"}) and not is_matrix("b", torch.zeros(3), set())


COUNTING = """
import json
from pathlib import Path


class Counting:
    into: str = ""

    def training_step(self, model, inputs, num_items_in_batch=None):
        passes, hooks = {}, []
        for name, module in model.named_modules():
            if name.endswith("input_layernorm"):
                hooks.append(module.register_forward_pre_hook(lambda *_, name=name: passes.update({name: passes.get(name, 0) + 1})))
        loss = super().training_step(model, inputs, num_items_in_batch)
        for hook in hooks:
            hook.remove()
        Path(self.into).write_text(json.dumps(list(passes.values())))
        return loss
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("adapter", ["{kind: lora, rank: 8, dropout: 0.2}", pytest.param("{kind: qlora, rank: 8}", marks=pytest.mark.long)])
def test_what_is_recomputed_changes_no_bit(few_sources, few_prepared, tmp_path, adapter):
    """Dropout too is the same the second time; of two layers the first alone is computed twice, and in each way the run ends with the same weights."""
    (tmp_path / "counting.py").write_text(COUNTING)
    found = {}
    for wanted in ("false", "selective", "true")[: 3 if "dropout" in adapter else 2]:
        folder = tmp_path / wanted
        folder.mkdir()
        plugins = f"{{trainer: {tmp_path}/counting.py:Counting, options: {{trainer: {{into: {folder}/passes.json}}}}}}"
        train = f"{{max_steps: 4, learning_rate: 1.0e-2, batch_tokens: 240, gradient_checkpointing: {wanted}}}"
        path, store = with_code(few_sources, few_prepared, folder, plugins, train=train, adapter=adapter)
        run("train", path, "--store", store, cwd=folder)
        found[wanted] = (json.loads((folder / "passes.json").read_text()), outcome(store))
    passes = {"false": [1, 1], "selective": [2, 1], "true": [2, 2]}
    assert {wanted: counts for wanted, (counts, _) in found.items()} == {wanted: passes[wanted] for wanted in found}
    assert all(told == found["false"][1] for _, told in found.values())


def test_what_transformers_is_told_of_recomputation():
    assert recomputation(False) is None
    assert recomputation(True) == {"use_reentrant": False}
    assert recomputation("selective") == {"use_reentrant": False, "every_n_layers": 2}
