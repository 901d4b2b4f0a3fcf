"""distil from an endpoint: its losses beside those of the teacher's whole logits, what is learned, and the same on two ranks."""

import pytest

pytest.importorskip("trl")

import numpy as np
import torch
from asked import ask, shards, task_of
from by_hand import FIRST, TOLERANCE, arguments, losses, ordered
from method_rows import HELD_OUT, TRAINED, Trained, examples, prepared_store
from resumed import assert_exact
from teacher_server import TeacherServer
from test_distil import FAST, _by_hand
from tiny import spec, tokenizer
from transformers import AutoModelForCausalLM

from entrypoint.chain import follow, machine, read_spec
from entrypoint.run.execute import execute
from entrypoint.run.methods.answered import Collator, DealtAnswers, forward_kl
from entrypoint.run.store import Store
from entrypoint.run.token_rows import DealtRows, token_rows
from schemas.errors import GateRefused

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

K = 8
TRAIN = "{epochs: 1, learning_rate: 5.0e-3, batch_tokens: 290, checkpoint: {every: 2}}"


@pytest.fixture(scope="module")
def teacher(sources, tmp_path_factory):
    """Folder of the base after sft: it knows the answers."""
    trained = Trained(tmp_path_factory.mktemp("teacher"), sources[0], "{kind: sft}", adapter="{kind: full}", train=FAST)
    return trained.artifact / "weights"


@pytest.fixture(scope="module")
def server(teacher):
    with TeacherServer(AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32), tokenizer()) as serving:
        yield serving


def learned(folder, model, server, k, **further):
    """A training over what the server says of the rows that it trains on."""
    task = task_of(folder / "asked", model, shards(folder / "shards"), server.url, k)
    assert ask(task)["top_k"] == min(k, len(tokenizer()))
    method = f'{{kind: distil, endpoint: "{server.url}", teacher_name: large, top_k: {k}}}'
    return Trained(folder / "student", model, method, "{kind: full}", FAST, answers=task.output, **further)


@pytest.fixture(scope="module")
def student(sources, server, tmp_path_factory):
    return learned(tmp_path_factory.mktemp("student"), sources[0], server, K)


def of_trl(trained, model, teacher, folder, loss=None):
    """Losses of TRL's GKDTrainer over text with the teacher's whole logits; `loss` stands in for its own."""
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    made = type("Cut", (GKDTrainer,), {"generalized_jsd_loss": staticmethod(loss)}) if loss else GKDTrainer
    rows = ordered([{"prompt": row["prompt"], "completion": row["chosen"]} for row in examples(TRAINED)], trained.job)
    config = GKDConfig(**arguments(trained.job, folder), beta=0.0, lmbda=0.0)
    known = AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32)
    return losses(made, config, model, trained.job, rows, tokenizer(), teacher_model=known, data_collator=_by_hand(tokenizer()))


def cut_to_k(student_logits, teacher_logits, labels, beta, num_items_in_batch):
    """The divergence of two distributions over K tokens and the rest, place by place, from whole logits."""
    total = 0.0
    for row, place in (labels != -100).nonzero().tolist():
        p, q = teacher_logits[row, place].softmax(0), student_logits[row, place].softmax(0)
        chosen = sorted(range(len(p)), key=lambda token: -float(p[token]))[:K]
        left = [token for token in range(len(p)) if token not in chosen]
        pairs = [(p[token], q[token]) for token in chosen] + [(p[left].sum(), q[left].sum())]
        total = total + sum(a * (a / b).log() for a, b in pairs)
    return total / num_items_in_batch


def test_losses_are_those_of_the_teachers_logits_cut_to_k(student, sources, teacher, tmp_path):
    expected = of_trl(student, sources[0], teacher, tmp_path, cut_to_k)
    assert student.losses[:FIRST] == pytest.approx(expected[:FIRST], rel=1e-4)


@pytest.mark.long
def test_with_the_whole_vocabulary_losses_are_those_of_a_teacher_by_path(sources, server, teacher, tmp_path):
    whole = learned(tmp_path, sources[0], server, 100_000)
    assert whole.losses[:FIRST] == pytest.approx(of_trl(whole, sources[0], teacher, tmp_path)[:FIRST], rel=10 * TOLERANCE)


def test_it_comes_nearer_to_its_teacher_on_new_questions(student, server, sources):
    """By the whole distributions, of which it has seen K tokens."""
    assert student.validated("loss") < 0.8 * student.losses[0]
    assert student.curve[0]["num_tokens"] > 0

    def distance(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        found = []
        for row in examples(HELD_OUT, held_out=True):
            ids = tokenizer()(row["prompt"] + row["chosen"], add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                mine = model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
            its = server.logprobs(ids)[1:]
            found.append(float((its.exp() * (its - mine)).sum(-1).mean()))
        return np.mean(found)

    assert distance(student.artifact / "weights") < 0.5 * distance(sources[0])


@pytest.mark.long
def test_killed_on_two_ranks_it_goes_on_bit_for_bit_and_learns_what_one_learns(sources, server, tmp_path, capfd):
    """99 rows: the last step has three for two ranks; no server is there any more."""
    method = f'{{kind: distil, endpoint: "{server.url}", teacher_name: large, top_k: {K}}}'
    path = spec(tmp_path, sources[0], sources[1], method=method, train=TRAIN, hardware="{strategy: ddp}")
    rows = examples(99)
    store = prepared_store(path, tmp_path / "clean", "text", rows, examples(HELD_OUT, held_out=True))
    place = Store(store)
    for said in ("sealed tiny/answers/", "up to date"):
        # The command line would refuse: the container of these tests has loopback alone.
        execute(follow(read_spec(path), machine(read_spec(path), place), place, "prepare").plan("prepare"), place)
        assert f"answers: what large says of the rows: {said}" in capfd.readouterr().out
    asked = server.requests
    path.write_text(path.read_text().replace(server.url, "http://127.0.0.1:9/v1"))  # the address is in no identity
    curve = assert_exact(path, store, tmp_path)
    assert server.requests == asked
    (folder,) = [p for p in (store / "tiny" / "answers").iterdir() if not p.name.startswith(".")]
    alone = Trained(tmp_path / "alone", sources[0], method, rows={"train": rows}, answers=folder)
    of_two = [entry["loss"] for entry in curve if "loss" in entry]
    assert len(of_two) == 13 and of_two == pytest.approx(alone.losses, abs=1e-4)


def test_divergence_of_equal_distributions_is_nothing_and_places_without_loss_take_none():
    logits = torch.randn(5, 40)
    best = logits.log_softmax(-1).topk(4)
    assert forward_kl(logits, best.indices, best.values).abs().max() < 1e-6
    nothing = forward_kl(torch.zeros(0, 40, requires_grad=True), torch.zeros(0, 4, dtype=torch.long), torch.zeros(0, 4))
    nothing.sum().backward()
    assert nothing.sum() == 0


def test_gradients_reach_every_token_and_are_numbers():
    """Of the tokens that the teacher did not name too: through the rest."""
    for k in (1, 6, 7):
        logits = torch.randn(3, 7, requires_grad=True)
        best = torch.randn(3, 7).log_softmax(-1).topk(k)
        forward_kl(logits, best.indices, best.values).sum().backward()
        assert torch.isfinite(logits.grad).all() and (logits.grad.abs() > 0).all()


def test_a_sure_teacher_leaves_nothing_for_the_rest():
    logits = torch.randn(1, 7, requires_grad=True)
    loss = forward_kl(logits, torch.tensor([[2, 3]]), torch.tensor([[1e-7, -9999.0]]))
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(-float(logits.detach().log_softmax(-1)[0, 2]), rel=1e-5)
    assert torch.isfinite(logits.grad).all()


def test_rows_and_answers_stay_together_in_a_batch(student, sources):
    folder = student.folder
    dealt = DealtAnswers(DealtRows(token_rows(folder / "prepared", "train")), folder.parent / "asked" / "answers", "train")
    batch = Collator(pad=2)([dealt[3], dealt[-1 - 5], dealt[0]])
    counts = (batch["labels"][:, 1:] != -100).sum(1).tolist()
    assert counts[1] == 0 and len(batch["teacher_ids"]) == sum(counts) == len(dealt[3]["teacher_ids"]) + len(dealt[0]["teacher_ids"])
    assert batch["teacher_ids"][counts[0]].tolist() == dealt[0]["teacher_ids"][0].tolist()


def test_answers_to_other_rows_are_refused(student):
    with pytest.raises(GateRefused, match="answers to 192 rows, 16 are prepared"):
        DealtAnswers(DealtRows(token_rows(student.folder / "prepared", "validation")), student.folder.parent / "asked" / "answers", "train")
