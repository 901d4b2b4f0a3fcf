"""One base, several adapters, each by its name; a new one is loaded by the supervisor once it has passed, and the engine goes on."""

import copy
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_model import USER_KEY, Served, Store, golden

from entrypoint.run.adapter_folder import newest_adapter
from entrypoint.run.adapters_served import LOOK_SECONDS
from entrypoint.run.seal import seal
from entrypoint.run.store import Store as Artifacts
from schemas.manifest import Manifest
from schemas.serve_job import AdapterPlace

pytestmark = [pytest.mark.image, pytest.mark.serving, pytest.mark.timeout(900)]

RANK, ALPHA = 8, 16
LORA = ("--enable-lora", "--max-lora-rank", "8", "--max-loras", "2", "--max-cpu-loras", "8")


def adapter(store: Store, run: str, name: str, seed: int, size: float, answers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Seal an export of the kind adapter with random matrices; its golden answers are those of the base with their product in it."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    merged = copy.deepcopy(store.model).float()
    tensors = {}
    for at, layer in enumerate(merged.model.layers):
        weight = layer.self_attn.q_proj.weight
        a, b = torch.randn(RANK, weight.shape[1]) * size, torch.randn(weight.shape[0], RANK) * size
        place = f"base_model.model.model.layers.{at}.self_attn.q_proj"
        tensors |= {f"{place}.lora_A.weight": a, f"{place}.lora_B.weight": b}
        weight.data += ALPHA / RANK * (b @ a)
    said = golden(merged, store.tokenizer)
    partial = store.root / run / "exports" / f".partial-{name}"
    partial.mkdir(parents=True)
    save_file(tensors, partial / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": ["q_proj"], "bias": "none", "task_type": "CAUSAL_LM"}
    (partial / "adapter_config.json").write_text(json.dumps(config))
    (partial / "golden_answers.json").write_text(json.dumps(answers or said))
    time.sleep(1.1)  # what is newest is told by the second
    seal(partial, partial.with_name(name), Manifest(stage="export", name=run, identity=name, request="r", job={"kind": "adapter"}, program="0", files=()))
    return said


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("store"))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    exported = store.export("aaaa")
    adapter(store, "tiny", "bbbb", seed=1, size=0.05)
    adapter(store, "other", "cccc", seed=2, size=0.05)
    places = (AdapterPlace(name="tiny", run="tiny"), AdapterPlace(name="second", run="other"))
    made = Served(store.root, exported, tmp_path_factory.mktemp("served") / "x", base=exported, more=LORA, adapters=places)
    try:
        made.wait_for("ready")
        yield made
    finally:
        made.remove()


def first(served: Served, model: str) -> float:
    """Log-probability of the first token of an answer."""
    body = {"model": model, "prompt": "word of the harbour", "max_tokens": 1, "temperature": 0, "logprobs": 1}
    status, said = served.ask("/v1/completions", body, USER_KEY)
    assert status == 200, said
    return float(said["choices"][0]["logprobs"]["token_logprobs"][0])


def wait(served: Served, kind: str, count: int = 1) -> None:
    end = time.monotonic() + LOOK_SECONDS + 60
    while len(served.events(kind)) < count:
        assert time.monotonic() < end, served.tail()
        time.sleep(0.2)


def test_every_adapter_has_passed_its_gate(served: Served) -> None:
    gates = served.events("parity")
    assert [(g["model"], g["export"], g["verdict"]) for g in gates] == [("tiny", "bbbb", "passed"), ("second", "cccc", "passed")]
    assert served.active()["models"] == ["tiny", "second", "tiny-base"]


def test_each_answers_by_its_name(served: Served) -> None:
    assert len({round(first(served, model), 3) for model in ("tiny", "second", "tiny-base")}) == 3
    assert served.ask("/v1/completions", {"model": "third", "prompt": "x"}, USER_KEY)[0] == 404


def test_a_new_adapter_is_served_without_a_restart(served: Served, store: Store) -> None:
    before, engine = first(served, "second"), served.engine()
    adapter(store, "other", "dddd", seed=3, size=0.05)
    wait(served, "adapter_loaded")
    assert served.events("parity")[-1]["model"] == "second.candidate"
    assert abs(first(served, "second") - before) > 1e-3
    assert served.engine() == engine and len(served.events("ready")) == 1
    status, said = served.ask("/v1/models", None, USER_KEY)
    assert status == 200 and sorted(m["id"] for m in said["data"]) == ["second", "tiny", "tiny-base"]


def test_an_adapter_that_is_not_what_was_trained_is_not_served(served: Served, store: Store) -> None:
    before = first(served, "second")
    answers = json.loads((store.root / "other" / "exports" / "dddd" / "golden_answers.json").read_text())
    adapter(store, "other", "eeee", seed=4, size=0.4, answers=answers)
    wait(served, "adapter_refused")
    refused = served.events("adapter_refused")[0]
    assert refused["folder"].endswith("eeee") and "of its answer" in refused["what"]
    assert first(served, "second") == before
    assert "second.candidate" not in str(served.ask("/v1/models", None, USER_KEY)[1])


def test_an_engine_that_comes_back_loads_what_was_good(served: Served) -> None:
    before, generation = first(served, "second"), served.active()["generation"]
    os.kill(served.engine(), 9)
    served.wait_for("ready", after=generation + 1)
    assert first(served, "second") == pytest.approx(before, abs=1e-3)
    assert served.stop() == 0


def test_the_newest_of_a_run(tmp_path: Path, store: Store) -> None:
    assert newest_adapter(Artifacts(tmp_path), "none") is None
    found = newest_adapter(Artifacts(store.root), "other")
    assert found and found[0].name == "eeee"
