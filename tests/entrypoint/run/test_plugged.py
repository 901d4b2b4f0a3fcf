"""The examples of specs/plugins, each in a real run: what they change, and that a run which was killed goes on as if it had not been."""

import json
import shutil

import pytest

pytest.importorskip("trl")

import torch
from resumed import artifact_of, assert_exact
from tiny import ROOT, run, spec, write_rows

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

EXAMPLES = ROOT / "specs" / "plugins"
SETTINGS = "{epochs: 3, learning_rate: 1.0e-2, batch_tokens: 240, checkpoint: {every: 2}, validation: {every: 6}}"


def with_code(sources, store, tmp_path, plugins, **changes):
    """A spec with plug-ins, and a copy of the store with their code."""
    path = spec(tmp_path, *sources, plugins=plugins, **({"train": SETTINGS} | changes))
    own = shutil.copytree(store, tmp_path / "store")
    run("fetch", path, "--store", own, cwd=tmp_path)
    return path, own


def test_loss_metric_and_callback_in_one_run_that_is_killed(sources, prepared, tmp_path):
    """The callback ends the run by what it has smoothed since the first step: without its state it would end at another."""
    plugins = (
        f"{{loss: {EXAMPLES}/focal.py:focal, metric: {EXAMPLES}/top_k.py:top_k, callback: {EXAMPLES}/stop_at.py:StopAt, "
        "options: {loss: {gamma: 100.0}, metric: {k: 3}, callback: {loss: 3.2}}}"
    )
    path, store = with_code(sources, prepared, tmp_path, plugins)
    said = run("plan", path, "--store", store, cwd=tmp_path)
    assert all(
        f"{kind} {EXAMPLES}/{file}" in said for kind, file in (("loss", "focal.py:focal"), ("metric", "top_k.py:top_k"), ("callback", "stop_at.py:StopAt"))
    )
    curve = assert_exact(path, store, tmp_path)
    losses = [entry["loss"] for entry in curve if "loss" in entry]
    # Of a random model each token has about 1/400, so that (1 - p)^100 takes a fifth of a loss near ln 400 = 6.
    assert 4.0 < losses[0] < 5.4
    smoothed = losses[0]
    for step, loss in enumerate(losses, 1):
        smoothed = 0.9 * smoothed + 0.1 * loss
        assert (smoothed < 3.2) == (step == len(losses))
    assert 7 < len(losses) < 33, "ended by the callback, behind the kill"
    validations = [entry for entry in json.loads((artifact_of(tmp_path / "cut") / "curve.json").read_text()) if "eval_loss" in entry]
    assert 0 <= validations[0]["eval_top_3"] < validations[-1]["eval_top_3"] <= 1
    assert validations[-1]["eval_top_3"] >= validations[-1]["eval_mean_token_accuracy"]


def test_optimizer_and_trainer_on_two_processes_in_one_run_that_is_killed(sources, prepared, tmp_path):
    every = json.loads((sources[0] / "config.json").read_text())["vocab_size"]
    plugins = (
        f"{{optimizer: {EXAMPLES}/lion.py:Lion, trainer: {EXAMPLES}/penalty.py:Penalty, metric: {EXAMPLES}/top_k.py:top_k, "
        f"options: {{optimizer: {{beta2: 0.98}}, trainer: {{strength: 0.01}}, metric: {{k: {every}}}}}}}"
    )
    train = SETTINGS.replace("1.0e-2", "1.0e-3").replace("epochs: 3", "epochs: 1")
    path, store = with_code(sources, prepared, tmp_path, plugins, train=train, hardware="{strategy: ddp}")
    curve = assert_exact(path, store, tmp_path)
    trained = [entry for entry in curve if "loss" in entry]
    validations = [entry for entry in json.loads((artifact_of(tmp_path / "cut") / "curve.json").read_text()) if "eval_loss" in entry]
    # LoRA's random halves weigh in from the first step; a validation has the method's loss alone.
    assert trained[0]["loss"] > validations[0]["eval_loss"] + 0.1
    assert validations[-1]["eval_loss"] < validations[0]["eval_loss"]
    assert {entry[f"eval_top_{every}"] for entry in validations} == {1.0}, "every token is one of the vocabulary"


def test_a_plug_in_that_raises_is_said_with_its_own_traceback(sources, prepared, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("class C:\n    def on_step_end(self, args, state, control, **kwargs):\n        raise ValueError(f'at step {state.global_step}')\n")
    path, store = with_code(sources, prepared, tmp_path, f"{{callback: {own}:C}}")
    said = run("train", path, "--store", store, cwd=tmp_path, code=1)
    assert f"caisson: plugins.callback: {own}:3: ValueError: at step 1\n" in said
    assert f'File "{own}", line 3, in on_step_end\n    raise ValueError' in said
    assert said.count("Traceback") == 1 and "trainer.py" not in said


def test_a_preprocessor_in_prepare(sources, prepared, tmp_path):
    rows = [{"question": f" case {i}? ", "answers": [f"It is {i} of them.", "no", f"Maybe {i} or so."]} for i in range(30)]
    rows += [{"question": "?", "answers": ["no"]}]
    data = write_rows(tmp_path / "tickets.jsonl", rows)
    changes = {"data": f"{{train: [{{source: {data}}}], validation: 10%, max_rejected: 5%}}"}
    plugins = f"{{preprocessor: {EXAMPLES}/clean.py:clean, options: {{preprocessor: {{shortest: 3}}}}}}"
    path, store = with_code((sources[0], data), prepared, tmp_path, plugins, **changes)
    said = run("prepare", path, "--store", store, "--show", "1", cwd=tmp_path)
    assert "preprocessor: no answer is long enough" in said
    (report,) = (p for p in (store / "tiny" / "prepared").glob("*/report.json") if str(data) in p.read_text())
    found = json.loads(report.read_text())
    assert found["train"]["rows"] + found["validation"]["rows"] == 60
    assert found["rejected"]


def test_focal_without_gamma_is_the_usual_loss():
    from importlib.util import module_from_spec, spec_from_file_location

    found = spec_from_file_location("focal", EXAMPLES / "focal.py")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 11), torch.tensor([[-100, 1, 2, 3, -100], [4, 5, -100, 6, 7]])
    outputs = type("Outputs", (), {"logits": logits})
    usual = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert torch.allclose(module.focal(outputs, labels, None, gamma=0.0), usual)
    assert torch.allclose(module.focal(outputs, labels, 12, gamma=0.0), usual * 6 / 12)
