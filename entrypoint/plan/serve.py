"""Plan of the stage serve: an engine, and what it is told, from the spec, the machine and the exported model."""

from collections.abc import Mapping
from typing import Any

from entrypoint.plan import serve_lmdeploy, serve_vllm
from entrypoint.plan.counted_shape import positions_of, shape_of
from entrypoint.plan.device import check_device, show_unlike
from entrypoint.plan.engine_choice import Choice, check_format, choose_engine
from entrypoint.plan.export import served_entry
from entrypoint.plan.handover import choose_handover
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.kv_cache import decide_cache
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.parsers import decide_parser
from entrypoint.plan.served_adapters import decide_adapters
from entrypoint.plan.serving import (
    Serving,
    decide_length,
    decide_prefix_caching,
    decide_seed,
    decide_share,
    decide_speculative,
    decide_structured,
    generation_values,
)
from entrypoint.plan.spread import decide_spread
from entrypoint.plan.step import make_step
from entrypoint.plan.tables import ENGINES
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.plan import Decision, Plan
from schemas.serve_job import ServeJob
from schemas.spec import Spec

DRAIN_SECONDS = 60
"""How long requests in flight may take to end after SIGTERM; Compose's grace period is longer."""


def plan_serve(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step that ends in the engine itself and seals nothing."""
    if spec.method.kind == "reward":
        raise UsageError(
            "serve: a reward model answers no question, and the endpoints for scores are not built yet in this version",
            f"load the folder below {spec.name}/exports with transformers' AutoModelForSequenceClassification",
        )
    check_device(facts)
    decisions: list[Decision] = []
    known = facts.models.get(spec.model.source)
    config = known.config if known else None
    choice = choose_engine(spec.serve, facts, config, decisions)
    check_format(served_entry(spec).kind, choice)
    decisions += show_unlike(facts)
    shape = shape_of(known)
    serving = _decide(spec, facts, inputs, choice, config, shape, decisions)
    if choice.engine == "vllm":
        arguments = serve_vllm.vllm_arguments(serving)
        environment = serve_vllm.vllm_environment(facts, serving, shape, decisions)
    else:
        arguments = serve_lmdeploy.lmdeploy_arguments(serving, decisions)
        environment = serve_lmdeploy.lmdeploy_environment()
    if spec.serve.promote == "manual":
        decisions.append(Decision(field="serve.promote", value="manual", why="set in the spec: a new export is served once `caisson promote` says so"))
    handover = choose_handover(spec, facts, shape, serve_vllm.cpu_cache_gib(facts), serving.memory_share)
    decisions.append(handover)
    job = ServeJob(
        served_name=spec.name,
        arguments=tuple(arguments),
        engine=choice.engine,
        headless=serving.spread.node > 0,
        adapters=serving.adapters,
        drain_seconds=DRAIN_SECONDS,
        generation=serving.generation if choice.engine == "lmdeploy" else {},
        parity=spec.serve.parity,
        handover=handover.value,
        keep=spec.serve.keep,
        on_cpu=facts.device == "cpu",
    )
    wanted = {"serve": spec.serve.model_dump(mode="json"), "name": spec.name}
    step = make_step(
        job,
        f"{spec.name} by {'vLLM' if choice.engine == 'vllm' else 'LMDeploy'}",
        f"{spec.name}/served",
        facts,
        inputs,
        ("exported", "model") if serving.adapters else ("exported",),
        wanted,
        environment=environment,
        image=f"serve-{choice.engine}",
    )
    return Plan(name=spec.name, steps=(step,), decisions=tuple(decisions))


def passed_over(current: str, own: str) -> Decision:
    """What is served is another export than the spec's own."""
    return Decision(
        field="serve.export", value=current, why=f"it is current; the spec's own is {own}: `caisson promote SPEC {own.rpartition('/')[2]}` serves that"
    )


def _decide(
    spec: Spec, facts: Facts, inputs: Inputs, choice: Choice, config: Mapping[str, Any] | None, shape: ModelShape | None, decisions: list[Decision]
) -> Serving:
    """Every field of the section, each by what decides it."""
    serve = spec.serve
    length = decide_length(serve, positions_of(facts.models.get(spec.model.source)), decisions)
    has_bf16 = not facts.accelerators or facts.oldest.has_bf16  # vLLM refuses bfloat16 on a card without it instead of falling back
    why = "as exported" if has_bf16 else f"{facts.oldest.name} has no bf16"
    decisions.append(Decision(field="serve precision", value="bfloat16" if has_bf16 else "float16", why=why))
    share = decide_share(serve, facts, decisions)
    spread = decide_spread(serve, choice, facts, shape, share, decisions)
    adapters, rank = decide_adapters(spec, choice, facts, inputs, decisions)
    return Serving(
        choice=choice,
        on_gpu=facts.device == "cuda",
        memory_gib=facts.smallest.memory_gib if facts.accelerators else facts.ram_gib,
        has_bf16=has_bf16,
        length=length,
        memory_share=share,
        drain_seconds=DRAIN_SECONDS,
        spread=spread,
        cache=decide_cache(serve, choice, facts, shape, decisions),
        prefix_caching=decide_prefix_caching(serve, decisions),
        running=serve.max_running,
        seed=decide_seed(serve, spec.train.seed, choice, decisions),
        tool_parser=decide_parser("tool_parser", spec, choice, facts, config, decisions),
        reasoning_parser=decide_parser("reasoning_parser", spec, choice, facts, config, decisions),
        structured_output=decide_structured(serve, choice, ENGINES[choice.engine]["structured_output"]),
        speculative=decide_speculative(serve, choice, facts, decisions),
        generation=generation_values(serve.generation, choice),
        adapters=adapters,
        rank=rank,
    )
