"""Methods over pairs beside TRL's own trainers, what they learn, and what a kill leaves of them."""

import pytest

pytest.importorskip("trl")

from by_hand import FIRST, TOLERANCE, arguments, losses, ordered
from method_rows import HELD_OUT, TRAIN, TRAINED, Trained, examples, prepared_store
from resumed import assert_exact
from tiny import spec, tokenizer, write_model

from schemas.errors import GateRefused

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def dpo(sources, tmp_path_factory) -> Trained:
    return Trained(tmp_path_factory.mktemp("dpo"), sources[0], "{kind: dpo}")


def test_its_first_losses_are_those_of_trl_by_hand(dpo, sources, tmp_path):
    from trl import DPOConfig, DPOTrainer

    assert (dpo.job.micro_batch, dpo.job.accumulation) == (4, 2)
    expected = losses(DPOTrainer, DPOConfig(**arguments(dpo.job, tmp_path)), sources[0], dpo.job, ordered(examples(TRAINED), dpo.job), tokenizer())
    assert dpo.losses[:FIRST] == pytest.approx(expected[:FIRST], rel=TOLERANCE)


def test_it_prefers_the_chosen_answers_to_new_questions(dpo):
    assert dpo.losses[0] == pytest.approx(0.6931, abs=1e-4)  # log 2: policy and reference are one
    margin, accuracy, loss = dpo.validated("rewards/margins"), dpo.validated("rewards/accuracies"), dpo.validated("loss")
    assert margin > 0.5 and accuracy > 0.9 and loss < 0.5, (margin, accuracy, loss)


def test_rewards_are_told(dpo):
    step = next(e for e in dpo.events if e["event"] == "step" and e["step"] == 3)
    assert {"rewards/margins", "rewards/accuracies", "rewards/chosen", "logps/chosen"} <= set(step["metrics"])
    validated = next(e for e in dpo.events if e["event"] == "validated")
    assert validated["metrics"]["rewards/accuracies"] > 0.9
    board = b"".join(p.read_bytes() for p in (dpo.artifact / "tensorboard").glob("events*"))
    assert b"train/rewards/margins" in board and b"eval/rewards/accuracies" in board


def test_killed_on_two_ranks_it_goes_on_bit_for_bit_and_learns_what_one_learns(sources, tmp_path):
    """99 pairs: the last step has three for two ranks. Sums over ranks are taken in another order."""
    path = spec(tmp_path, sources[0], sources[1], method="{kind: dpo}", train=TRAIN, hardware="{strategy: ddp}")
    pairs = examples(99)
    curve = assert_exact(path, prepared_store(path, tmp_path / "clean", "pair", pairs, examples(HELD_OUT, held_out=True)), tmp_path)
    alone = Trained(tmp_path / "alone", sources[0], "{kind: dpo}", rows={"train": pairs})
    assert (alone.job.micro_batch, alone.job.accumulation) == (4, 2)
    of_two = [entry["loss"] for entry in curve if "loss" in entry]
    assert len(of_two) == 13 and of_two == pytest.approx(alone.losses, abs=1e-4)


def test_full_weights_are_compared_with_a_frozen_copy(sources, tmp_path):
    trained = Trained(tmp_path, sources[0], "{kind: ipo}", adapter="{kind: full}", train="{epochs: 1, learning_rate: 1.0e-3, batch_tokens: 1600}")
    assert trained.job.method.kind == "dpo" and trained.job.method.loss == ("ipo",)
    first = trained.curve[0]
    assert first["rewards/margins"] == 0.0 and first["loss"] == pytest.approx(25.0)  # (0 - 1 / (2 x 0.1)) squared
    assert trained.validated("rewards/margins") > 0
    assert any(entry.get("num_tokens", 0) > 0 for entry in trained.curve)
    assert (trained.artifact / "weights" / "model.safetensors").is_file()


WITHOUT_REFERENCE = {
    "orpo": ("{kind: orpo, beta: 0.2}", "ORPO", {"beta": 0.2}),
    "simpo": ("{kind: simpo}", "CPO", {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0}),
    "cpo": ("{kind: cpo, chosen_weight: 0.5}", "CPO", {"loss_type": "sigmoid", "beta": 0.1, "cpo_alpha": 0.5}),
}


@pytest.mark.parametrize("kind", WITHOUT_REFERENCE)
def test_without_a_reference(sources, tmp_path, kind):
    """First losses are TRL's by hand; held-out margins and accuracies rise; tokens are counted."""
    import importlib

    method, name, settings = WITHOUT_REFERENCE[kind]
    trl = importlib.import_module(f"trl.experimental.{name.lower()}")
    trained = Trained(tmp_path / "ours", sources[0], method)
    given = {**arguments(trained.job, tmp_path), "max_length": 1024, **settings}
    rows = ordered(examples(TRAINED), trained.job)
    expected = losses(getattr(trl, f"{name}Trainer"), getattr(trl, f"{name}Config")(**given), sources[0], trained.job, rows, tokenizer())
    assert trained.losses[:FIRST] == pytest.approx(expected[:FIRST], rel=TOLERANCE)
    first = next(e for e in trained.events if e["event"] == "step")["metrics"]
    assert trained.validated("rewards/accuracies") > 0.9
    assert trained.validated("rewards/margins") > first["rewards/margins"] + 0.05
    tokens = [entry["num_tokens"] for entry in trained.curve if "loss" in entry]
    assert tokens == sorted(tokens) and tokens[0] > 0


@pytest.mark.parametrize("kind", ["dpo", "orpo"])
def test_gradients_that_are_not_numbers_are_skipped_and_named(tmp_path, kind):
    """TRL's experimental trainers tell a step by its loss, which a bad one has not."""
    from safetensors.torch import load_file, save_file

    model = write_model(tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GateRefused, match="not numbers for 3 steps in a row, the last is step 3 with rows"):
        Trained(tmp_path / "ours", model, f"{{kind: {kind}}}", train=TRAIN.replace("}}", "}, max_bad_steps: 3}"))
