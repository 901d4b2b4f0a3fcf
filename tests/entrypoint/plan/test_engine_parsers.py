"""Every flag that a plan can emit is one that the engine's own command line takes, with such a value."""

import argparse
import json
from itertools import product
from pathlib import Path

import pytest
from engine_parser import DISTRIBUTIONS, check, describe, real_parser, record, recorded, text_of
from known import H100, LLAMA_8B, T4, facts, inputs, spec

from entrypoint.plan import plan_serve, serve_lmdeploy, serve_vllm
from entrypoint.plan.tables import ENGINES
from schemas.errors import CaissonError
from schemas.facts import AdapterFacts, Facts
from schemas.load import load
from schemas.serve_job import ServeJob

ROOT = Path(__file__).resolve().parents[3]
FLAGS = {"vllm": serve_vllm.FLAGS, "lmdeploy": serve_lmdeploy.FLAGS}
LLAMA = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
EIGHT = facts(*(H100,) * 8, config=LLAMA, template_marks=("<|python_tag|>", "<think>"))
MACHINES = [EIGHT, EIGHT.model_copy(update={"node": 1}), facts(H100, config=LLAMA), facts(T4), facts()]

WISHES = [
    "", "max_running: 64, memory_share: 0.5", "tensor_parallel: 2", "pipeline_parallel: 2", "nodes: 2, master: head", "prefix_caching: false", "seed: 5",
    "kv_cache: bf16", "kv_cache: fp8", "kv_cache: int8", "kv_cache: int4", "backend: pytorch", "backend: turbomind", "tool_parser: qwen3",
    "tool_parser: hermes", "reasoning_parser: default", "reasoning_parser: qwen3", "structured_output: xgrammar", "structured_output: outlines",
    "structured_output: guidance", "structured_output: lm-format-enforcer", "generation: {temperature: 0.5, top_k: 20, min_p: 0.1, max_tokens: 9}",
    "generation: {temperature: 0.5, top_p: 0.5, repetition_penalty: 1.1}", "speculative: {kind: ngram}", "speculative: {kind: draft, model: /models/d}",
    "speculative: {kind: eagle, model: /models/d}", "speculative: {kind: eagle3, model: /models/d}", "adapters: [{name: a, path: /models/a}]",
]  # fmt: skip


def planned(engine: str) -> list[tuple[str, ...]]:
    """What the engine is told, for every wish on every machine that can, and for the example specs."""
    specs = [spec(f"serve: {{engine: {engine}, max_length: 512{', ' if wish else ''}{wish}}}") for wish in WISHES]
    specs += [one for path in sorted(ROOT.glob("specs/**/*.yaml")) if (one := load(path.read_text(encoding="utf-8"))).serve.engine in (None, engine)]
    rank = AdapterFacts(config={"r": 24, "target_modules": ["q_proj"]}, folder="/models/a")
    machines: list[Facts] = [*MACHINES, EIGHT.model_copy(update={"adapters": {"a": rank}})]
    found = []
    for one, machine in product(specs, machines):
        try:
            job = plan_serve(one, machine, inputs()).steps[0].job
        except CaissonError:
            continue
        assert isinstance(job, ServeJob)
        if job.engine == engine:
            found.append(job.arguments)
    return found


@pytest.mark.parametrize("engine", FLAGS)
def test_what_is_planned_is_taken(engine: str) -> None:
    jobs = planned(engine)
    for arguments in jobs:
        check(engine, arguments)
        for name in ("--structured-outputs-config", "--speculative-config", "--override-generation-config"):
            if name in arguments:
                assert isinstance(json.loads(arguments[arguments.index(name) + 1]), dict)
    told = {part for arguments in jobs for part in arguments if part.startswith("--")}
    assert told == set(FLAGS[engine].values()), "a flag that no plan emits, or one that stands elsewhere"


@pytest.mark.parametrize("engine", FLAGS)
def test_recorded_of_the_version_in_the_image(engine: str) -> None:
    version = recorded(engine)["version"]
    assert version == ENGINES[engine]["version"] and ENGINES[engine]["name"].endswith(f" {version}")
    locks = sorted((ROOT / "images" / f"serve-{engine}").glob("requirements.*.txt"))
    assert len(locks) == {"vllm": 2, "lmdeploy": 1}[engine]
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert any(f"\n{name}=={version} " in text for name in DISTRIBUTIONS[engine]), f"{lock.name}: read the new parser, then write the record"


@pytest.mark.parametrize("engine", FLAGS)
def test_each_flag_stands_once(engine: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob(f"entrypoint/plan/*{engine}.py")))
    assert {flag: text.count(f'"{flag}"') for flag in FLAGS[engine].values() if text.count(f'"{flag}"') != 1} == {}


def test_the_check_can_fail() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", "-o", type=int, choices=(1, 2))
    parser.add_argument("--many", nargs="+")
    assert [option["names"] for option in describe(parser)] == [["--many"], ["--one", "-o"]]
    for bad in (["--no-such"], ["--max-model-len"], ["--tensor-parallel-size", "two"], ["--max-lora-rank", "24"], ["--enable-lora", "yes"]):
        with pytest.raises((AssertionError, ValueError)):
            check("vllm", bad)


@pytest.mark.image
@pytest.mark.serving
@pytest.mark.lmdeploy
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
@pytest.mark.parametrize("engine", FLAGS)
def test_the_engine_itself_takes_it(engine: str) -> None:
    """In the engine's image: the record is of this very parser, and the parser reads what is planned."""
    pytest.importorskip(engine)
    assert text_of(record(engine)) == (ROOT / "tests" / "data" / "parsers" / f"{engine}.json").read_text(encoding="utf-8")
    parser = real_parser(engine)
    for arguments in planned(engine):
        parser.parse_args([*(["/models/m"] if engine == "lmdeploy" else []), *arguments])


@pytest.mark.image
@pytest.mark.serving
@pytest.mark.lmdeploy
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
@pytest.mark.parametrize("kind", ["tool_parser", "reasoning_parser"])
def test_vllm_knows_the_parsers(kind: str) -> None:
    pytest.importorskip("vllm")
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    manager = ToolParserManager if kind == "tool_parser" else ReasoningParserManager
    assert sorted(manager.list_registered()) == ENGINES["vllm"][kind]


@pytest.mark.image
@pytest.mark.serving
@pytest.mark.lmdeploy
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
@pytest.mark.parametrize("kind", ["tool_parser", "reasoning_parser"])
def test_lmdeploy_knows_the_parsers(kind: str) -> None:
    pytest.importorskip("lmdeploy")
    from lmdeploy.serve.parsers.reasoning_parser import ReasoningParserManager
    from lmdeploy.serve.parsers.tool_parser import ToolParserManager

    manager = ToolParserManager if kind == "tool_parser" else ReasoningParserManager
    assert sorted(manager.module_dict) == ENGINES["lmdeploy"][kind]


@pytest.mark.image
@pytest.mark.serving
@pytest.mark.lmdeploy
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
def test_lmdeploy_has_the_models() -> None:
    pytest.importorskip("lmdeploy")
    from lmdeploy.model import MODELS
    from lmdeploy.pytorch.models.module_map import MODULE_MAP
    from lmdeploy.turbomind.supported_models import SUPPORTED_ARCHS

    assert sorted(MODELS.module_dict) == ENGINES["lmdeploy"]["templates"]
    assert sorted(SUPPORTED_ARCHS) == ENGINES["lmdeploy"]["turbomind"]
    assert set(ENGINES["lmdeploy"]["pytorch"]) <= set(MODULE_MAP)


@pytest.mark.image
@pytest.mark.serving
@pytest.mark.lmdeploy
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
def test_vllm_has_the_ranks() -> None:
    pytest.importorskip("vllm")
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    assert [rank for rank in get_args(MaxLoRARanks) if rank >= 8] == ENGINES["vllm"]["lora_ranks"]
