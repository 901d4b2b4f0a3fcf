"""vLLM itself, told what the plan makes of a spec that wishes for much of what a CPU has."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_model import USER_KEY, Served, Store

from entrypoint.plan import Inputs, plan_serve
from schemas.facts import Facts, ModelFacts
from schemas.load import load
from schemas.serve_job import ServeJob

pytestmark = [pytest.mark.image, pytest.mark.serving, pytest.mark.timeout(600)]

SPEC = """\
spec: 1
name: tiny
model: {source: /m}
data: {train: [{source: /d}]}
method: {kind: sft}
serve:
  max_length: 256
  max_running: 4
  kv_cache: fp8
  prefix_caching: true
  speculative: {kind: ngram, tokens: 3}
  structured_output: xgrammar
  tool_parser: hermes
  generation: {temperature: 0, max_tokens: 12}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = Store(tmp_path_factory.mktemp("store"))
    exported = store.export("aaaa")
    config = json.loads((exported / "config.json").read_text())
    facts = Facts(device="cpu", cpu_cores=1, ram_gib=8, disk_free_gib=9, shm_gib=1, program="0", models={"/m": ModelFacts(config=config)})
    job = plan_serve(load(SPEC), facts, Inputs()).steps[0].job
    assert isinstance(job, ServeJob)
    made = Served(store.root, exported, tmp_path_factory.mktemp("served") / "x", more=job.arguments, parity="warn")
    try:
        made.wait_for("ready")
        yield made
    finally:
        made.remove()
        store.remove()


def ask(served: Served, **more: object) -> dict:
    status, said = served.ask("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "word of the harbour"}], **more}, USER_KEY)
    assert status == 200, said
    return said


@pytest.mark.parametrize("part", ["kv_cache_dtype=fp8", "method='ngram'", "enable_prefix_caching=True", "backend='xgrammar'"])
def test_the_engine_says_the_same(served: Served, part: str) -> None:
    (config,) = [line for line in served.said().splitlines() if "with config: model=" in line]
    assert part in config


def test_a_limit_on_all_answers(served: Served) -> None:
    assert 1 <= ask(served)["usage"]["completion_tokens"] <= 12
    assert ask(served, max_tokens=200)["usage"]["completion_tokens"] <= 12


def test_structured_output(served: Served) -> None:
    """A choice, since the limit would cut a longer form."""
    assert ask(served, structured_outputs={"choice": ["of", "the"]})["choices"][0]["message"]["content"] in ("of", "the")


def test_tools_are_taken(served: Served) -> None:
    tools = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}]
    assert ask(served, tools=tools, tool_choice="auto")["choices"][0]["finish_reason"] in ("stop", "length", "tool_calls")


def test_it_ends_well(served: Served, tmp_path: Path) -> None:
    assert served.stop() == 0
