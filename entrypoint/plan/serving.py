"""What is served and how, decided: the same for every engine, which then says it in flags of its own."""

from dataclasses import dataclass
from typing import Any

from entrypoint.plan.engine_choice import Choice
from entrypoint.plan.spread import Spread
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.serve import CacheType, Drafted, Generation, Serve, Speculative
from schemas.serve_job import AdapterPlace

FALLBACK_LENGTH = 4096
MEMORY_SHARE = 0.9


@dataclass(frozen=True)
class Serving:
    """Every wish of the section `serve`, checked against engine, model and machine. None: the engine decides."""

    choice: Choice
    on_gpu: bool
    memory_gib: float
    """Of the smallest GPU, or the RAM."""

    has_bf16: bool
    length: int
    memory_share: float
    drain_seconds: int
    spread: Spread
    cache: CacheType | None
    prefix_caching: bool
    running: int | None
    seed: int
    tool_parser: str | None
    reasoning_parser: str | None
    structured_output: str | None
    speculative: Speculative | None
    generation: dict[str, int | float]
    """By their names in a generation_config.json."""

    adapters: tuple[AdapterPlace, ...]
    rank: int
    """The largest that adapters may have; 0 without adapters."""


def decide_length(serve: Serve, positions: int | None, decisions: list[Decision]) -> int:
    """Tokens of the longest conversation."""
    wanted = serve.max_length
    if wanted and positions and wanted > positions:
        raise UsageError(f"serve.max_length: {wanted} tokens, but the model has {positions} positions", f"write max_length: {positions} or less")
    value = wanted or positions or FALLBACK_LENGTH
    why = "set in the spec" if wanted else ("the model's positions" if positions else "assumed until the model's config is fetched")
    decisions.append(Decision(field="serve.max_length", value=str(value), why=why))
    return value


def decide_share(serve: Serve, facts: Facts, decisions: list[Decision]) -> float:
    """Of each GPU's memory; a CPU's cache has a rule of its own."""
    share = serve.memory_share or MEMORY_SHARE
    if facts.device == "cuda":
        why = "set in the spec" if serve.memory_share else "leaves a tenth for what else runs on the GPU"
        decisions.append(Decision(field="serve.memory_share", value=f"{share:g}", why=why))
    return share


def decide_structured(serve: Serve, choice: Choice, known: list[str]) -> str | None:
    """Raises UsageError for a library that the engine does not use."""
    wanted = serve.structured_output
    if wanted and wanted not in known:
        raise UsageError(f"serve.structured_output: {choice.name} has {', '.join(known)} alone, not {wanted}", f"write {known[0]} or auto, or engine: vllm")
    return wanted


def decide_speculative(serve: Serve, choice: Choice, facts: Facts, decisions: list[Decision]) -> Speculative | None:
    """Raises UsageError for a way of guessing that the engine lacks, MachineError for a draft that is not there."""
    wanted = serve.speculative
    if wanted is None:
        return None
    if choice.engine == "lmdeploy" and wanted.kind not in ("eagle", "eagle3"):
        raise UsageError(
            f"serve.speculative: {choice.place} has eagle and eagle3, not {wanted.kind}", "write kind: eagle3 with a head for this model, or engine: vllm"
        )
    if isinstance(wanted, Drafted):
        found = facts.sources.get(wanted.model)
        if found and found.kind != "folder":
            raise MachineError(
                f"serve.speculative.model: {wanted.model} is no folder that can be read here", "put the model below models/, or take speculative out"
            )
    decisions.append(Decision(field="serve.speculative", value=f"{wanted.kind}, {wanted.tokens} tokens", why="set in the spec"))
    return wanted


def decide_prefix_caching(serve: Serve, decisions: list[Decision]) -> bool:
    """On unless the spec says otherwise."""
    value = serve.prefix_caching if serve.prefix_caching is not None else True
    why = "set in the spec" if serve.prefix_caching is not None else "system prompts and earlier turns are computed once"
    decisions.append(Decision(field="serve.prefix_caching", value="on" if value else "off", why=why))
    return value


def generation_values(generation: Generation, choice: Choice) -> dict[str, int | float]:
    """What the spec sets, by the names of a generation_config.json. Raises UsageError for what the engine does not take from there."""
    if choice.engine == "lmdeploy" and generation.max_tokens is not None:
        raise UsageError(f"serve.generation.max_tokens: {choice.name} has no limit for all requests", "take it out, or write engine: vllm")
    values: dict[str, Any] = {
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        "min_p": generation.min_p,
        "repetition_penalty": generation.repetition_penalty,
        "max_new_tokens": generation.max_tokens,
    }
    return {name: value for name, value in values.items() if value is not None}


def decide_seed(serve: Serve, train_seed: int, choice: Choice, decisions: list[Decision]) -> int:
    """Of sampling. Raises UsageError where the engine has none of its own and the spec sets one."""
    if choice.engine == "lmdeploy":
        if serve.seed is not None:
            raise UsageError(f"serve.seed: {choice.name} takes a seed with each request only", "take it out, or write engine: vllm")
        decisions.append(Decision(field="serve.seed", value="none", why=f"{choice.name} takes a seed with each request only"))
        return 0
    return serve.seed if serve.seed is not None else train_seed
