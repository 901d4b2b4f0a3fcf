import pytest

pytest.importorskip("trl")
from method_rows import examples, prepared_store, Trained
from tiny import run, spec

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]
T = "{epochs: 1, learning_rate: 5.0e-3, batch_tokens: 180, checkpoint: {every: 2}}"
CASES = [
    ("pair", "{kind: dpo}", "{kind: lora, rank: 8}", "zero3"),
    ("pair", "{kind: dpo}", "{kind: full}", "zero3"),
    ("pair", "{kind: dpo}", "{kind: full}", "zero2"),
    ("pair", "{kind: dpo}", "{kind: lora, rank: 8}", "fsdp"),
    ("pair", "{kind: dpo}", "{kind: full}", "ddp"),
    ("pair", "{kind: orpo}", "{kind: lora, rank: 8}", "ddp"),
    ("pair", "{kind: simpo}", "{kind: full}", "fsdp"),
    ("pair", "{kind: reward}", "{kind: lora, rank: 8}", "ddp"),
    ("pair", "{kind: reward}", "{kind: full}", "zero3"),
    ("pair", "{kind: reward}", "{kind: lora, rank: 8}", "fsdp"),
    ("labelled", "{kind: kto}", "{kind: lora, rank: 8}", "ddp"),
]


@pytest.mark.parametrize(("kind", "method", "adapter", "strategy"), CASES, ids=lambda c: c)
def test_runs(sources, tmp_path, kind, method, adapter, strategy):
    path = spec(tmp_path, *sources, method=method, adapter=adapter, hardware=f"{{strategy: {strategy}}}", train=T)
    store = prepared_store(path, tmp_path / "store", kind, examples(15), examples(5, held_out=True))
    said = run("train", path, "--store", store, cwd=tmp_path)
    print("\n".join(l for l in said.splitlines() if "step " in l))


@pytest.mark.parametrize("method", ["dpo", "orpo", "simpo", "kto"])
@pytest.mark.parametrize("adapter", ["{kind: qlora, rank: 8}", "{kind: lora, rank: 8, dropout: 0.1}"])
def test_more(sources, tmp_path, method, adapter):
    t = Trained(tmp_path / "a", sources[0], f"{{kind: {method}}}", adapter=adapter, train="{epochs: 1, max_steps: 3, learning_rate: 5.0e-3, batch_tokens: 180, gradient_checkpointing: true}")
    print(t.losses)
