"""The chain on a real GPU, straight from the checkout: each adapter in bf16 on a random 1.1B model; memory and speed go to a file.

Skips itself without a GPU. CAISSON_GPU_RESULTS names the JSON file that the measurements are written to.
"""

import json
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
from tiny import rows, run, spec, tokenizer, write_rows  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900), pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

CONFIG = {
    "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
    "max_position_embeddings": 2048, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}  # fmt: skip
"""TinyLlama-1.1B's shape."""

LONG = [{"messages": [*r["messages"][:1], {"role": "assistant", "content": " ".join([r["messages"][1]["content"]] * 60)}]} for r in rows(64)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("gpu")
    torch.manual_seed(1)
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig(**CONFIG)).to(torch.bfloat16)
    model.save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    del model
    torch.cuda.empty_cache()
    data = write_rows(folder / "rows.jsonl", LONG)
    path = spec(folder, folder / "model", data)
    for stage in ("fetch", "prepare"):
        run(stage, path, "--store", folder / "store", cwd=folder)
    return folder / "model", data, folder / "store"


ADAPTERS = {"lora": "{kind: lora}", "qlora": "{kind: qlora}", "full": "{kind: full}"}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_each_adapter_trains_in_bf16_and_exports(prepared, tmp_path, kind):
    model, data, store = prepared
    rate = "1.0e-5" if kind == "full" else "5.0e-4"
    path = spec(tmp_path, model, data, adapter=ADAPTERS[kind], train=f"{{epochs: 3, learning_rate: {rate}, batch_tokens: 8192, checkpoint: {{every: 100}}}}")
    plan = json.loads(run("plan", path, "--store", store, "--json", cwd=tmp_path))
    (job,) = (s["job"] for s in plan["steps"] if s["stage"] == "train")
    assert (job["device"], job["precision"]) == ("cuda", "bf16")
    predicted = next(d["value"] for d in plan["decisions"] if d["field"] == "memory")
    run("train", path, "--store", store, cwd=tmp_path)
    found = [p for p in (store / "tiny" / "train").iterdir() if (p / "manifest.json").is_file()]
    manifest = json.loads((max(found, key=lambda p: p.stat().st_mtime) / "manifest.json").read_text())
    summary = manifest["summary"]
    assert summary["last_loss"] < summary["first_loss"]
    said = run("export", path, "--store", store, cwd=tmp_path)
    assert "answers are equal" in said
    _record(
        kind,
        {
            "predicted": predicted,
            "measured": summary,
            "micro_batch": job["micro_batch"],
            "versions": manifest["versions"],
            "device": torch.cuda.get_device_name(),
        },
    )


def _record(kind: str, result: dict) -> None:
    place = os.environ.get("CAISSON_GPU_RESULTS")
    if not place:
        return
    path = Path(place)
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(known | {kind: result}, indent=1) + "\n")
