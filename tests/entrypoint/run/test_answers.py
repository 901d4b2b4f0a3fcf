"""A teacher is asked about prepared rows: what lies in the files, what a kill leaves, and servers that do not fit."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from asked import ask, shards, task_of
from teacher_server import TeacherServer
from tiny import ROOT, tokenizer
from transformers import AutoModelForCausalLM

from entrypoint.run import answers, teacher_endpoint
from entrypoint.run.answer_files import Answers, is_whole, part_file, places_of
from entrypoint.run.shards import read_shards
from entrypoint.run.token_texts import TokenTexts
from schemas.errors import GateRefused, MachineError, StepFailed, UsageError

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]

SMALL_PARTS = "import sys\nfrom entrypoint.run import answers\nfrom entrypoint.run.leaf import run_leaf\nanswers.PART_TOKENS = 400\nrun_leaf(answers.answers)\n"
"""`python -m entrypoint.run.answers TASK`, with parts that a tiny set of rows has several of."""


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(teacher_endpoint, "WAIT_SECONDS", 0.01)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(sources):
    return AutoModelForCausalLM.from_pretrained(sources[0], dtype=torch.float32)


@pytest.fixture
def server(model):
    with TeacherServer(model, tokenizer()) as serving:
        yield serving


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return shards(tmp_path_factory.mktemp("rows") / "prepared", train=24)


def rows(prepared, split="train"):
    """Ids and mask of each."""
    return [(s["ids"][a:b].tolist(), s["supervised"][a:b]) for s in read_shards(prepared, split) for a, b in zip(s["starts"], s["starts"][1:], strict=False)]


@pytest.mark.parametrize("form", ["prompt_logprobs", "echo ids"])
def test_the_files_hold_the_teachers_likeliest_tokens_at_each_learned_place(sources, prepared, server, tmp_path, form):
    server.form = form
    task = task_of(tmp_path, sources[0], prepared, server.url, 6)
    summary = ask(task)
    for split in ("train", "validation"):
        found, expected = Answers(Path(task.output), split), rows(prepared, split)
        assert len(found) == len(expected)
        assert summary["places"][split] == sum(int(mask[1:].sum()) for _, mask in expected)
        for number, (ids, mask) in enumerate(expected):
            best = server.logprobs(ids)[torch.from_numpy(places_of(mask))].topk(6)
            assert np.array_equal(found[number].ids, best.indices.numpy())
            assert found[number].logprobs == pytest.approx(best.values.numpy(), abs=1e-6)
    assert found.nothing().ids.shape == (0, 6)
    assert server.counted(ids for ids, _ in rows(prepared))[1:] == [1] * 23, "the first has shown which form the server understands"
    assert 1 < server.most_at_once <= 4


def test_killed_it_asks_for_the_rest_and_ends_with_the_same_bytes(sources, prepared, server, tmp_path):
    server.slow = 0.05
    whole, cut = (task_of(tmp_path / name, sources[0], prepared, server.url, 6, requests=2) for name in ("whole", "cut"))
    for task in (whole, cut):
        (Path(task.output).parent / "task.json").write_text(task.model_dump_json())

    def start(task):
        command = [sys.executable, "-c", SMALL_PARTS, str(Path(task.output).parent / "task.json")]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    process = start(whole)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    process = start(cut)
    while not part_file(Path(cut.output), "train", 1).is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    time.sleep(0.2)  # what it asked last is still being answered
    kept = {path.name: path.stat().st_mtime_ns for path in Path(cut.output).glob("*.safetensors")}
    server.prompts.clear()
    process = start(cut)
    said, _ = process.communicate()
    assert process.returncode == 0 and f"goes on: {len(kept)} of" in said
    sealed = sum(len(Answers(Path(cut.output), "train").starts[number]) - 1 for number in range(len(kept)))
    assert 2 <= len(kept) < len(list(Path(whole.output).glob("train-*")))
    assert server.counted(ids for ids, _ in rows(prepared)[:sealed])[1:] == [0] * (sealed - 1), "asked before, and sealed"
    assert {path.name: path.read_bytes() for path in Path(cut.output).iterdir()} == {path.name: path.read_bytes() for path in Path(whole.output).iterdir()}
    assert all(Path(cut.output, name).stat().st_mtime_ns == when for name, when in kept.items())
    events = [json.loads(line) for line in Path(cut.events).read_text().splitlines()]
    assert [event["parts"] for event in events if event["event"] == "resumed"] == [len(kept)]


def test_a_damaged_part_is_asked_for_again(sources, prepared, server, tmp_path):
    task = task_of(tmp_path, sources[0], prepared, server.url, 6)
    ask(task)
    path = part_file(Path(task.output), "train", 0)
    good = path.read_bytes()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:100], b""):
        path.write_bytes(bad)
        server.prompts.clear()
        ask(task)
        assert path.read_bytes() == good
        assert sum(server.counted(ids for ids, _ in rows(prepared, "validation"))) == 0
    assert not is_whole(path, [1], 6)


def test_errors_that_pass_are_waited_for(sources, prepared, server, tmp_path):
    server.fails = dict.fromkeys(range(3, 40, 4), 500)
    ask(task_of(tmp_path / "bad", sources[0], prepared, server.url, 6))
    server.fails = {}
    ask(task_of(tmp_path / "good", sources[0], prepared, server.url, 6))
    assert part_file(tmp_path / "bad" / "answers", "train", 0).read_bytes() == part_file(tmp_path / "good" / "answers", "train", 0).read_bytes()


def test_a_server_that_goes_away_is_a_failed_step(sources, prepared, server, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "PART_TOKENS", 200)
    task = task_of(tmp_path, sources[0], prepared, server.url, 6)
    server.fails = dict.fromkeys(range(30, 10_000), 503)
    with pytest.raises(StepFailed, match="503: out of order"):
        ask(task)
    assert list(Path(task.output).glob("train-*"))
    server.fails = {}
    assert ask(task)["top_k"] == 6


def swapped():
    """The tokenizer with two of its tokens the other way round."""
    made = tokenizer()
    raw = json.loads(made.backend_tokenizer.to_str())
    first, second = list(raw["model"]["vocab"])[300:302]
    vocabulary = raw["model"]["vocab"]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    from tokenizers import Tokenizer

    made._tokenizer = Tokenizer.from_str(json.dumps(raw))
    return made, sorted((vocabulary[first], vocabulary[second]))[0]


def refused(kind, sources, prepared, server, tmp_path, words, k=6):
    task = task_of(tmp_path, sources[0], prepared, server.url, k)
    with pytest.raises(kind, match=words) as found:
        ask(task)
    assert not list(Path(task.output).iterdir())
    return str(found.value)


def test_another_tokenizer_is_refused_with_the_first_token_that_differs(sources, prepared, server, tmp_path):
    server.tokenizer, first = swapped()
    refused(GateRefused, sources, prepared, server, tmp_path, f"the teacher's tokenizer is not the model's: token {first} is '.+' there and '.+' here")


def test_a_smaller_vocabulary_is_refused(sources, prepared, server, tmp_path):
    """Also where no row has the token that is not known there."""
    server.unknown = 0
    words = "does not know all of the model's tokens: it answers 400: Token id 0 is out of vocabulary\n.*of the same family"
    refused(GateRefused, sources, prepared, server, tmp_path, words)
    server.unknown = 2
    refused(GateRefused, sources, prepared, server, tmp_path, "to prompt_logprobs=6 it answers 400: Token id 2 is out of vocabulary.*\n.*of the same family")


def test_texts_that_stand_for_several_tokens_are_refused(sources, prepared, server, tmp_path):
    server.form = "echo texts"
    said = refused(GateRefused, sources, prepared, server, tmp_path, "names tokens by their texts, and several tokens of the model have the text", 400)
    assert "such as vLLM" in said


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"form": "nothing"}, GateRefused, "gives no log-probabilities of a prompt's tokens: to prompt_logprobs=6 it answers with nothing"),
        ({"form": "unlike"}, GateRefused, "gives no log-probabilities of a prompt's tokens: to prompt_logprobs=6 it answers with nothing"),
        ({"max_logprobs": 5}, GateRefused, "start it with --max-logprobs 6, or write a smaller top_k"),
        ({"name": "other"}, UsageError, "does not serve large\n.*it serves other"),
        ({"room": 20}, GateRefused, "the longest row has .* tokens, the server takes 20"),
        ({"key": "sk-1"}, MachineError, "answers 401: it wants a key"),
        ({"shift": 10.0}, GateRefused, "the answers are no log-probabilities"),
    ],
)
def test_servers_that_do_not_fit(sources, prepared, server, tmp_path, change, kind, words):
    for name, value in change.items():
        setattr(server, name, value)
    refused(kind, sources, prepared, server, tmp_path, words)


def test_texts_of_parts_of_characters_say_nothing():
    known = TokenTexts(tokenizer(), 0)
    part = next(token for token, text in enumerate(known.texts) if "\ufffd" in text)
    known.check(part, "é")
    with pytest.raises(GateRefused, match="token 5 is"):
        known.check(5, "something else")
    with pytest.raises(GateRefused, match=f"it knows token {known.count}, the model has {known.count}"):
        known.check_id(known.count)
    assert known.only_id("<|im_end|>") == 2
