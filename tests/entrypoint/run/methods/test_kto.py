"""kto beside TRL's own trainer, its mismatched answers, and what it learns."""

import pytest

pytest.importorskip("trl")

from by_hand import FIRST, TOLERANCE, arguments, losses, ordered
from method_rows import TRAINED, Trained, examples, write_split
from tiny import tokenizer

from entrypoint.run.methods.kto import LabelCollator
from entrypoint.run.token_rows import token_rows

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


def labelled(count):
    """As write_split labels them: every second answer is the unwanted one."""
    return [{"prompt": row["prompt"], "completion": row[("chosen", "rejected")[i % 2]], "label": i % 2 == 0} for i, row in enumerate(examples(count))]


@pytest.mark.parametrize("loss", ["kto", "apo_zero_unpaired"])
def test_losses_of_trl_by_hand_and_wanted_answers_win(sources, tmp_path, loss):
    from trl import KTOConfig, KTOTrainer

    trained = Trained(tmp_path / "ours", sources[0], f"{{kind: kto, loss: {loss}, desirable_weight: 1.2}}")
    config = KTOConfig(**arguments(trained.job, tmp_path), loss_type=loss, desirable_weight=1.2)
    expected = losses(KTOTrainer, config, sources[0], trained.job, ordered(labelled(TRAINED), trained.job), tokenizer())
    assert trained.losses[:FIRST] == pytest.approx(expected[:FIRST], rel=TOLERANCE)
    assert trained.validated("rewards/margins") > 0.5 and trained.validated("rewards/chosen") > trained.validated("rewards/rejected")
    assert ("kl" in trained.events[0].get("metrics", {}) or loss != "kto") and trained.job.micro_batch >= 2


def test_a_mismatched_answer_is_that_of_the_row_before(tmp_path):
    write_split(tmp_path, "train", "labelled", examples(4))
    rows = token_rows(tmp_path, "train", "labelled")
    batch = LabelCollator(2, estimates=True)([rows[i] for i in (2, 0, 3)])
    made = tokenizer()
    shown = [made.decode(ids[: int(mask.sum())]) for ids, mask in zip(batch["KL_input_ids"], batch["KL_attention_mask"], strict=True)]
    found = labelled(4)
    assert shown == [found[prompt]["prompt"] + found[answer]["completion"] for prompt, answer in ((2, 3), (0, 2), (3, 0))]
    learned = [made.decode(ids[mask.bool()]) for ids, mask in zip(batch["KL_input_ids"], batch["KL_completion_mask"], strict=True)]
    assert learned == [found[answer]["completion"] for answer in (3, 2, 0)]
    assert batch["label"].tolist() == [True, True, False] and batch["counts"].all()
    assert "KL_input_ids" not in LabelCollator(2, estimates=False)([rows[0]])
