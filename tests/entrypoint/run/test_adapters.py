"""Each adapter learns, is saved so that it fits the untouched base, merges right, and trains on every engine that the plan allows as on one process."""

import json
from pathlib import Path

import pytest

pytest.importorskip("trl")

from forked import export_of, run_forked, task_of
from safetensors.torch import load_file
from tiny import fetched_store, write_model

from entrypoint.plan.adapter import goes_with

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

TRAIN = "{max_steps: 10, learning_rate: 5.0e-3, batch_tokens: 240, warmup: 0%}"
KINDS = {
    "full": "{kind: full}",
    "freeze": "{kind: freeze, layers: 1, patterns: ['model.norm.*']}",
    "lora": "{kind: lora, rank: 8}",
    "dora": "{kind: dora, rank: 8}",
    "rslora": "{kind: rslora, rank: 8}",
    "lora+": "{kind: lora+, rank: 8, ratio: 4}",
    "pissa": "{kind: pissa, rank: 8}",
    "olora": "{kind: olora, rank: 8}",
    "table": "{kind: lora, rank: 8, modules_to_save: [embed_tokens]}",
}
SAME = 2e-6
"""Of a loss in fp32, relative: sums of a step in other parts and another order."""


@pytest.fixture(scope="module")
def alone(prepared, sources, tmp_path_factory):
    """Task and losses of each kind, trained by one process; each is trained once."""
    found = {}

    def of(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp("alone")
            task = task_of(folder, prepared, sources, adapter=KINDS[kind], hardware="{strategy: single}", train=TRAIN)
            run_forked(task)
            found[kind] = task, curve(task)
        return found[kind]

    return of


def curve(task, name="loss"):
    return [entry[name] for entry in json.loads((Path(task.output) / "curve.json").read_text()) if name in entry]


def loss_of(model, folder):
    """Mean loss of the validation rows, by the model's own forward pass."""
    import torch

    from entrypoint.run.token_rows import token_rows

    total = count = 0.0
    with torch.inference_mode():
        for row in token_rows(Path(folder), "validation"):
            ids, labels = (torch.tensor(row[name]).view(1, -1) for name in ("input_ids", "labels"))
            found = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], labels[0, 1:], reduction="sum", ignore_index=-100)
            total, count = total + float(found), count + int((labels[0, 1:] != -100).sum())
    return total / count


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_fits_the_base_and_merges(alone, kind, tmp_path):
    from entrypoint.run.load_model import load_plain

    task, losses = alone(kind)
    assert losses[-1] < 0.97 * losses[0], losses
    weights = Path(task.output) / "weights"
    if kind in ("full", "freeze"):
        tuned = load_plain(weights)
    else:
        from peft import PeftModel

        tuned = PeftModel.from_pretrained(load_plain(Path(task.inputs["model"])), str(weights)).eval()
    # The trainer measured what it trained; the saved adapter over the base as everybody has it must measure the same.
    assert loss_of(tuned, task.inputs["prepared"]) == pytest.approx(curve(task, "eval_loss")[-1], abs=2e-4)
    said = run_forked(export_of(task, tmp_path))
    assert "answers are equal token for token" in said
    merged = load_plain(tmp_path / "exported")
    assert loss_of(merged, task.inputs["prepared"]) == pytest.approx(curve(task, "eval_loss")[-1], abs=2e-2), "bf16"
    assert not any("lora" in name or "modules_to_save" in name for name in load_file(tmp_path / "exported" / "model.safetensors"))


def test_only_what_is_named_moves(alone):
    """Of freeze: the weights of the other layer are those of the base, bit for bit."""
    task, _ = alone("freeze")
    base, trained = load_file(Path(task.inputs["model"]) / "model.safetensors"), load_file(Path(task.output) / "weights" / "model.safetensors")
    moved = {name for name in base if not base[name].float().equal(trained[name].float())}
    assert moved == {name for name in base if ".layers.1." in name} | {"model.norm.weight"}


def test_a_principal_part_is_saved_as_twice_the_rank(alone):
    config = {kind: json.loads((Path(alone(kind)[0].output) / "weights" / "adapter_config.json").read_text()) for kind in ("lora", "pissa", "olora")}
    assert [(config[kind]["r"], config[kind]["lora_alpha"]) for kind in config] == [(8, 16.0), (16, 16.0), (16, 16.0)]
    assert alone("pissa")[1][0] == pytest.approx(alone("lora")[1][0], rel=1e-5), "before the first step the model is the base"


def test_kinds_differ(alone):
    """A kind that fell back to plain lora would learn as that does."""
    last = {kind: alone(kind)[1][-1] for kind in KINDS}
    assert len({round(value, 5) for value in last.values()}) == len(KINDS), last


PAIRS = [
    ("freeze", "fsdp"), ("freeze", "zero3"), ("dora", "fsdp"), ("lora+", "ddp"), ("pissa", "ddp"), ("pissa", "fsdp"), ("pissa", "zero2"), ("table", "fsdp"),
]  # fmt: skip
"""One of each way of being cut up; bench/adapters has all that the plan allows."""


@pytest.mark.parametrize(("kind", "engine"), PAIRS, ids=map("-".join, PAIRS))
def test_each_engine_trains_it_as_one_process_does(alone, prepared, sources, tmp_path, kind, engine):
    assert goes_with(kind, engine.partition(",")[0])
    task = task_of(tmp_path, prepared, sources, adapter=KINDS[kind], hardware=f"{{strategy: {engine}}}", train=TRAIN)
    run_forked(task)
    assert task.job.ranks == 2
    assert curve(task) == pytest.approx(alone(kind)[1], rel=SAME)
    assert curve(task, "eval_loss") == pytest.approx(curve(alone(kind)[0], "eval_loss"), rel=SAME)


def test_single_tokens_and_the_head_of_an_untied_model(sources, tmp_path):
    """Rows of the input table, and a head that is trained whole beside the adapter."""
    import torch
    from transformers import LlamaForCausalLM

    model = write_model(tmp_path / "model")
    tied = LlamaForCausalLM.from_pretrained(model)
    tied.config.tie_word_embeddings = False
    untied = LlamaForCausalLM(tied.config)
    untied.load_state_dict(tied.state_dict())
    untied.lm_head.weight.data = tied.lm_head.weight.data.clone()
    untied.to(torch.bfloat16).save_pretrained(model)
    store = fetched_store(tmp_path, model, sources[1])
    wanted = "{kind: lora, rank: 8, trainable_tokens: ['<|im_start|>'], modules_to_save: [lm_head]}"
    task = task_of(tmp_path / "run", store, (model, sources[1]), adapter=wanted, hardware="{strategy: single}", train=TRAIN)
    run_forked(task)
    run_forked(export_of(task, tmp_path))
    base, merged = (load_file(folder / "model.safetensors") for folder in (Path(task.inputs["model"]), tmp_path / "exported"))
    moved = (base["model.embed_tokens.weight"] != merged["model.embed_tokens.weight"]).any(dim=1).nonzero().flatten().tolist()
    assert moved == [1], "the one row"
    assert not base["lm_head.weight"].equal(merged["lm_head.weight"])
