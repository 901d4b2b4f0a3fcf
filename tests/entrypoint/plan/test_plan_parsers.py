"""Parsers of tool calls and thinking: by the model's type and template, or by name."""

import pytest
from known import H100, LLAMA_8B, facts, inputs, spec, why

from entrypoint.plan import plan_serve
from entrypoint.plan.tables import ENGINES, PARSERS
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.plan import Plan
from schemas.serve_job import ServeJob
from schemas.template_marks import MARKS, marks_in

NAMES = {"tool_parser": "--tool-call-parser", "reasoning_parser": "--reasoning-parser"}


def machine(model_type: str | None, *marks: str, known: bool = True) -> Facts:
    config = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"], **({"model_type": model_type} if model_type else {})}
    return facts(H100, config=config, template_marks=marks if known else None)


def plan_of(text: str, facts_: Facts) -> Plan:
    return plan_serve(spec(f"serve: {{max_length: 512, {text}}}"), facts_, inputs())


def parsers(plan: Plan) -> tuple[str | None, str | None]:
    """Of tool calls and of thinking, as the engine is told."""
    job = plan.steps[0].job
    assert isinstance(job, ServeJob)
    found = [job.arguments[job.arguments.index(flag) + 1] if flag in job.arguments else None for flag in NAMES.values()]
    if job.engine == "vllm":
        assert ("--enable-auto-tool-choice" in job.arguments) is (found[0] is not None), "vLLM refuses one without the other"
    return found[0], found[1]


@pytest.mark.parametrize(
    ("model_type", "marks", "vllm", "lmdeploy"),
    [
        ("qwen2", ("<tool_call>",), ("hermes", None), ("qwen3", None)),
        ("qwen3", ("<tool_call>", "<think>"), ("hermes", "qwen3"), ("qwen3", "default")),
        ("qwen3_moe", ("<tool_call>", "<function="), ("qwen3_coder", None), ("qwen3coder", None)),
        ("llama", ("<|python_tag|>",), ("llama3_json", None), ("llama3", None)),
        ("llama", ("<think>",), (None, "deepseek_r1"), (None, "default")),
        ("mistral", ("[TOOL_CALLS]", "[THINK]"), ("mistral", "mistral"), (None, None)),
        ("gpt_oss", ("<|channel|>",), ("openai", "openai_gptoss"), (None, None)),
        ("glm4_moe", ("<tool_call>", "<arg_key>", "<think>"), ("glm47", "glm45"), ("glm47", "default")),
        ("llama", (), (None, None), (None, None)),
        ("olmo9", ("<tool_call>",), (None, None), (None, None)),
        (None, ("<tool_call>",), (None, None), (None, None)),
    ],
)
def test_auto(model_type: str | None, marks: tuple[str, ...], vllm: tuple[str | None, str | None], lmdeploy: tuple[str | None, str | None]) -> None:
    assert parsers(plan_of("engine: vllm", machine(model_type, *marks))) == vllm
    assert parsers(plan_of("engine: lmdeploy", machine(model_type, *marks))) == lmdeploy


def test_auto_says_why() -> None:
    plan = plan_of("engine: vllm", machine("qwen3", "<tool_call>", "<think>"))
    assert why(plan, "serve.tool_parser") == ("hermes", "a qwen3 whose chat template has <tool_call>")
    (found,) = [decision for decision in plan.decisions if decision.field == "serve.tool_parser"]
    assert found.source.startswith("vLLM's documentation, Tool Calling")


def test_a_model_that_one_engine_reads_says_so_with_the_other() -> None:
    value, reason = why(plan_of("engine: lmdeploy", machine("mistral", "[TOOL_CALLS]")), "serve.tool_parser")
    assert (value, reason) == ("none", "a mistral whose chat template has [TOOL_CALLS], for which LMDeploy 0.18.0 has no parser of its own")


def test_nothing_is_assumed_of_a_template_that_is_not_there() -> None:
    assert parsers(plan_of("engine: vllm", machine("qwen3", known=False))) == (None, None)


@pytest.mark.parametrize("kind", NAMES)
def test_by_hand(kind: str) -> None:
    qwen = machine("qwen3", "<tool_call>", "<think>")
    at = list(NAMES).index(kind)
    assert parsers(plan_of(f"{kind}: none", qwen))[at] is None
    assert parsers(plan_of(f"{kind}: deepseek_v3", qwen))[at] == "deepseek_v3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tool_parser: hermess", "serve.tool_parser: vLLM 0.32.0 has no 'hermess'\n    did you mean `hermes`?"),
        ("engine: lmdeploy, tool_parser: hermes", "serve.tool_parser: LMDeploy 0.18.0 has no 'hermes'\n"),
        ("engine: lmdeploy, tool_parser: mistral", "engine: vllm has it"),
        ("reasoning_parser: default", "engine: lmdeploy has it"),
        ("engine: lmdeploy, reasoning_parser: thoughts", "known: deepseek-v3, deepseek-v3.2, deepseek-v32, deepseek-v4, default, none"),
    ],
)
def test_unknown_names(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_of(text, machine("llama"))
    assert said in str(caught.value)


@pytest.mark.parametrize("kind", NAMES)
def test_table(kind: str) -> None:
    """Every name is one that the engine has, every mark one that is looked for, every row has its source and is reached."""
    seen: set[tuple[str, str]] = set()
    for row in PARSERS[kind]:
        assert set(row) == {"types", "mark", "vllm", "lmdeploy", "source"} and row["source"]
        assert row["mark"] in MARKS
        for engine in ("vllm", "lmdeploy"):
            assert row[engine] is None or row[engine] in ENGINES[engine][kind]
        pairs = {(model_type, row["mark"]) for model_type in row["types"]}
        assert not pairs & seen, "an earlier row takes all of it"
        seen |= pairs


def test_marks_in_a_template() -> None:
    assert marks_in("{%- if tools %}<tool_call>{{ x }}</tool_call>{% endif %}<think>") == ("<tool_call>", "<think>")
    assert marks_in("{{ messages }}") == ()
    used = {row["mark"] for rows in PARSERS.values() for row in rows}
    assert used == set(MARKS), "a mark that means nothing"
