"""sft and pretrain beside TRL's own trainer, and what they learn."""

import pytest

pytest.importorskip("trl")

from by_hand import FIRST, TOLERANCE, arguments, losses, ordered
from method_rows import TRAINED, Trained, examples
from tiny import tokenizer

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

COLUMNS = {
    "sft": lambda row: {"prompt": row["prompt"], "completion": row["chosen"]},
    "pretrain": lambda row: {"text": row["prompt"] + row["chosen"]},
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_losses_of_trl_by_hand_and_new_questions_answered(sources, tmp_path, kind):
    from trl import SFTConfig, SFTTrainer

    trained = Trained(tmp_path / "ours", sources[0], f"{{kind: {kind}}}")
    rows = ordered([COLUMNS[kind](row) for row in examples(TRAINED)], trained.job)
    expected = losses(SFTTrainer, SFTConfig(**arguments(trained.job, tmp_path)), sources[0], trained.job, rows, tokenizer())
    assert trained.losses[:FIRST] == pytest.approx(expected[:FIRST], rel=TOLERANCE)
    assert trained.validated("loss") < 0.95 * trained.losses[0]
