"""distil beside TRL's own trainer, what it learns of its teacher, and teachers that do not fit."""

import json
import shutil

import pytest

pytest.importorskip("trl")

import torch
from by_hand import FIRST, TOLERANCE, arguments, losses, ordered
from method_rows import TRAINED, Trained, examples
from tiny import run, spec, tokenizer
from transformers import AutoModelForCausalLM

from entrypoint.run.methods.distil import teacher
from entrypoint.run.token_rows import token_rows
from schemas.errors import GateRefused

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


FAST = "{epochs: 1, learning_rate: 1.0e-2, batch_tokens: 360}"


@pytest.fixture(scope="module")
def taught(sources, tmp_path_factory):
    """A teacher that knows the answers: the base after sft; and what a student learned of it."""
    folder = tmp_path_factory.mktemp("distil")
    learned = Trained(folder / "teacher", sources[0], "{kind: sft}", adapter="{kind: full}", train=FAST)
    place = learned.artifact / "weights"
    return place, Trained(folder / "student", sources[0], f"{{kind: distil, teacher: {place}, beta: 0.3}}", "{kind: full}", FAST, teacher=place)


def test_losses_of_trl_by_hand(taught, sources, tmp_path):
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    place, trained = taught
    rows = ordered([{"prompt": row["prompt"], "completion": row["chosen"]} for row in examples(TRAINED)], trained.job)
    config = GKDConfig(**arguments(trained.job, tmp_path), beta=0.3, lmbda=0.0)
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    expected = losses(GKDTrainer, config, sources[0], trained.job, rows, tokenizer(), teacher_model=model, data_collator=_by_hand(tokenizer()))
    assert trained.losses[:FIRST] == pytest.approx(expected[:FIRST], rel=TOLERANCE)


def _by_hand(made):
    """Prompt and completion to what GKDTrainer reads, without any of ours."""

    def collate(rows):
        whole = [made(row["prompt"] + row["completion"], add_special_tokens=False)["input_ids"] for row in rows]
        starts = [len(made(row["prompt"], add_special_tokens=False)["input_ids"]) for row in rows]
        width = max(map(len, whole))
        return {
            "input_ids": torch.tensor([ids + [2] * (width - len(ids)) for ids in whole]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in whole]),
            "labels": torch.tensor([[-100] * at + ids[at:] + [-100] * (width - len(ids)) for ids, at in zip(whole, starts, strict=True)]),
        }

    return collate


def test_it_comes_nearer_to_its_teacher_on_new_questions(taught):
    _, trained = taught
    assert trained.validated("loss") < 0.8 * trained.losses[0]
    assert trained.curve[0]["num_tokens"] > 0


def test_the_teacher_is_fetched_and_sealed(taught, sources, tmp_path):
    place, _ = taught
    rows = tmp_path / "rows.jsonl"
    shutil.copy(sources[1], rows)
    path = spec(tmp_path, sources[0], rows, method=f"{{kind: distil, teacher: {place}}}")
    said = run("fetch", path, "--store", tmp_path / "store", cwd=tmp_path)
    assert f"teacher {place}" in " ".join(said.split())
    assert len([p for p in (tmp_path / "store" / "models").iterdir() if not p.name.startswith(".")]) == 2
    again = run("fetch", path, "--store", tmp_path / "store", cwd=tmp_path)
    assert "up to date" in again
    gone = spec(tmp_path, sources[0], rows, method="{kind: distil, teacher: /models/nowhere}")
    assert "method.teacher: /models/nowhere is not there" in run("fetch", gone, "--store", tmp_path / "store", cwd=tmp_path, code=2)


def test_a_teacher_with_another_tokenizer_is_refused(taught, tmp_path):
    place, trained = taught
    other = shutil.copytree(place, tmp_path / "other")
    raw = json.loads((other / "tokenizer.json").read_text())
    vocabulary = raw["model"]["vocab"]
    first, second = list(vocabulary)[50:52]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(GateRefused, match="its tokenizer is not the model's"):
        teacher(trained.task.model_copy(update={"inputs": {**trained.task.inputs, "teacher": str(other)}}))


def test_a_head_filled_up_further_is_cut_and_a_shorter_one_refused(taught, sources, tmp_path):
    place, trained = taught
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    entries = model.config.vocab_size
    for wanted, folder in ((entries + 100, tmp_path / "wide"), (entries - 10, tmp_path / "narrow")):
        shutil.copytree(place, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
        model.resize_token_embeddings(wanted)
        model.save_pretrained(folder)
    made = teacher(trained.task.model_copy(update={"inputs": {**trained.task.inputs, "teacher": str(tmp_path / "wide")}}))["teacher_model"]
    assert made.get_output_embeddings().weight.shape[0] == entries
    with pytest.raises(GateRefused, match=f"its output head has {entries - 10} entries"):
        teacher(trained.task.model_copy(update={"inputs": {**trained.task.inputs, "teacher": str(tmp_path / "narrow")}}))


def test_rows_are_read_as_of_sft(taught):
    _, trained = taught
    assert set(token_rows(trained.folder / "prepared", "train", "text").column_names) == {"input_ids", "labels"}
