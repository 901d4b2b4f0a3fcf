"""reward beside TRL's own trainer, what it learns, and that export writes the head."""

import json

import pytest

pytest.importorskip("trl")

from by_hand import FIRST, TOLERANCE, arguments, losses, ordered
from method_rows import HELD_OUT, TRAINED, Trained, encode, examples
from tiny import tokenizer

from entrypoint.run.events import Events
from entrypoint.run.export import export
from entrypoint.run.load_model import lora_config
from entrypoint.run.reward_head import load_merged, load_with_new_head, reward
from schemas.errors import GateRefused
from schemas.export_job import ExportJob
from schemas.job import Task

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

ADAPTERS = {"lora": "{kind: lora, rank: 8}", "full": "{kind: full}", "qlora": "{kind: qlora, rank: 8}"}
RATES = {"lora": "5.0e-3", "full": "1.0e-3", "qlora": "5.0e-3"}


def train(folder, model, adapter):
    return Trained(
        folder, model, "{kind: reward, center: 0.01}", adapter=ADAPTERS[adapter], train=f"{{epochs: 1, learning_rate: {RATES[adapter]}, batch_tokens: 360}}"
    )


def exported(trained, sources, folder):
    folder.mkdir()
    golden = [{"kind": "plain", "messages": [], "prompt_ids": encode(row, "chosen").ids.tolist()} for row in examples(3, held_out=True)]
    (trained.folder / "prepared" / "golden.json").write_text(json.dumps(golden))
    inputs = {"model": str(sources[0]), "prepared": str(trained.folder / "prepared"), "trained": str(trained.artifact)}
    job = ExportJob(kind="safetensors", dtype="bf16", golden_tokens=4)
    task = Task(name="tiny", job=job, inputs=inputs, output=str(folder), events=str(folder.with_suffix(".jsonl")), summary="unused")
    return export(task, Events(folder.with_suffix(".jsonl")))


@pytest.fixture(scope="module")
def judged(sources, tmp_path_factory):
    """With an adapter."""
    return train(tmp_path_factory.mktemp("reward"), sources[0], "lora")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_it_judges_new_answers_and_its_head_is_exported(judged, sources, tmp_path, adapter):
    trained = judged if adapter == "lora" else train(tmp_path / "ours", sources[0], adapter)
    assert trained.validated("accuracy") > 0.9 and trained.validated("margin") > 0.5
    summary = exported(trained, sources, tmp_path / "exported")
    assert summary["golden"] == 3
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"] and config["pad_token_id"] == tokenizer().pad_token_id
    judge = load_merged(tmp_path / "exported")
    rewards = [[reward(judge, encode(row, side).ids.tolist()) for side in ("chosen", "rejected")] for row in examples(HELD_OUT, held_out=True)]
    assert sum(chosen > rejected for chosen, rejected in rewards) > 0.9 * HELD_OUT


def test_losses_of_trl_by_hand(judged, sources, tmp_path):
    from trl import RewardConfig, RewardTrainer

    trained = judged
    rows = ordered([{"chosen": row["prompt"] + row["chosen"], "rejected": row["prompt"] + row["rejected"]} for row in examples(TRAINED)], trained.job)
    model = load_with_new_head(sources[0], trained.job)
    peft = lora_config(trained.job.adapter, model, tokenizer())
    peft.task_type, peft.modules_to_save = "SEQ_CLS", ["score"]
    config = RewardConfig(**arguments(trained.job, tmp_path), center_rewards_coefficient=0.01)
    expected = losses(RewardTrainer, config, sources[0], trained.job, rows, tokenizer(), model=model, peft_config=peft)
    assert trained.losses[:FIRST] == pytest.approx(expected[:FIRST], rel=TOLERANCE)


def test_a_head_that_judges_otherwise_after_the_merge_is_refused(judged, sources, tmp_path, monkeypatch):
    monkeypatch.setattr("entrypoint.run.reward_head.LARGEST_DIFFERENCE", 1e-9)
    with pytest.raises(GateRefused, match="judges otherwise"):
        exported(judged, sources, tmp_path / "exported")
