"""dpo beside TRL's own trainer, what it learns, and what a kill leaves of it."""

import pytest

pytest.importorskip("trl")

from by_hand import FIRST, TOLERANCE, arguments, losses, ordered
from method_rows import HELD_OUT, TRAIN, TRAINED, Trained, examples, prepared_store
from resumed import assert_exact
from tiny import spec, tokenizer

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


def test_killed_it_goes_on_bit_for_bit(sources, tmp_path):
    path = spec(tmp_path, sources[0], sources[1], method="{kind: dpo}", adapter="{kind: lora, rank: 8, dropout: 0.2}", train=TRAIN)
    clean = prepared_store(path, tmp_path / "clean", "pair", examples(TRAINED // 2), examples(HELD_OUT, held_out=True))
    curve = assert_exact(path, clean, tmp_path)
    assert len({entry["loss"] for entry in curve if "loss" in entry}) > 8


def test_full_weights_are_compared_with_a_frozen_copy(sources, tmp_path):
    trained = Trained(tmp_path, sources[0], "{kind: ipo}", adapter="{kind: full}", train="{epochs: 1, learning_rate: 1.0e-3, batch_tokens: 1600}")
    assert trained.job.method.kind == "dpo" and trained.job.method.loss == ("ipo",)
    first = trained.curve[0]
    assert first["rewards/margins"] == 0.0 and first["loss"] == pytest.approx(25.0)  # (0 - 1 / (2 x 0.1)) squared
    assert trained.validated("rewards/margins") > 0
    assert (trained.artifact / "weights" / "model.safetensors").is_file()
