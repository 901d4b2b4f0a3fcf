"""Adapters that are served beside each other on one base: what an engine takes, and how wide they are."""

from collections.abc import Iterator, Mapping
from typing import Any

from entrypoint.plan.engine_choice import Choice
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.load import OWN_WEIGHTS
from entrypoint.plan.tables import ENGINES
from schemas.errors import MachineError, UsageError, shown
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.serve_job import AdapterPlace
from schemas.spec import Spec

ASSUMED_RANK = 64
"""Until an adapter is there: four times the default."""

PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Starts of an adapter whose base stays as it is: vllm/lora/peft_helper.py."""


def decide_adapters(spec: Spec, choice: Choice, facts: Facts, inputs: Inputs, decisions: list[Decision]) -> tuple[tuple[AdapterPlace, ...], int]:
    """Places of this run's own adapter and of those that the spec names, and the engine's maximal rank; nothing and 0 where it names none.

    Raises UsageError for adapters that the engine would refuse or, worse, would compute otherwise than they were trained; MachineError for
    those that are not there.
    """
    if not spec.serve.adapters:
        return (), 0
    if spec.adapter.kind in OWN_WEIGHTS:
        raise UsageError(
            f"serve.adapters: this run trains the model itself (adapter.kind: {spec.adapter.kind}), which is no base for adapters of other runs",
            "serve them with a spec whose adapter.kind is lora",
        )
    if spec.name in [adapter.name for adapter in spec.serve.adapters]:
        raise UsageError(f"serve.adapters: {spec.name} is the name of this run's own adapter, which is served anyway", "take the entry out, or rename it")
    if choice.engine == "lmdeploy":
        _check_names([spec.name, *(one.name for one in spec.serve.adapters)], choice)
    named = [(spec.name, spec.name, None), *((one.name, one.run, one.path) for one in spec.serve.adapters)]
    places = tuple(AdapterPlace(name=name, run=run, path=_folder(name, facts) or path) for name, run, path in named)
    base = inputs.model.manifest.content if inputs.model else ""
    ranks = [rank for place in places if (rank := _rank(place, choice, facts, base)) is not None]
    if choice.engine == "lmdeploy":
        why = "loaded when the engine starts: a new one takes a restart"
        decisions.append(Decision(field="serve.adapters", value=", ".join(place.name for place in places), why=why))
        return places, max(ranks, default=ASSUMED_RANK)
    widest = max(ranks, default=ASSUMED_RANK)
    known = ENGINES["vllm"]["lora_ranks"]
    allowed = next((rank for rank in known if rank >= widest), None)
    if allowed is None:
        raise UsageError(f"serve.adapters: rank {widest} is more than {choice.name} takes", f"serve it merged, or train it with rank {known[-1]} or less")
    why = f"the widest has rank {widest}" if ranks else "assumed until an adapter is there"
    if allowed != widest:
        why += f"; {choice.name} takes {', '.join(map(str, known))}"
    decisions.append(Decision(field="serve.adapters", value=", ".join(place.name for place in places), why="each by its name, on the base model"))
    decisions.append(Decision(field="largest rank", value=str(allowed), why=why, source="vllm/config/lora.py"))
    return places, allowed


def _check_names(names: list[str], choice: Choice) -> None:
    """LMDeploy renders requests for an adapter that is named like one of its own templates by that template."""
    taken = next((name for name in names if name in ENGINES["lmdeploy"]["templates"]), None)
    if taken:
        raise UsageError(
            f"serve.adapters: {taken} is the name of a chat template of {choice.name}, which it would use instead of the model's", "give it another name"
        )


def _folder(name: str, facts: Facts) -> str | None:
    found = facts.adapters.get(name)
    return found.folder if found else None


def _rank(place: AdapterPlace, choice: Choice, facts: Facts, base: str) -> int | None:
    """Of an adapter that is at hand; None for one that nobody has looked for. `base`: content digest of the model that is served."""
    if place.name not in facts.adapters:
        return None
    found = facts.adapters[place.name]
    if found is None:
        where = f"run {place.run} has no sealed adapter in this store" if place.run else f"{place.path} has no adapter_config.json that can be read"
        raise MachineError(f"serve.adapters: {place.name}: {where}", "train it first, or take the entry out")
    config = found.config
    if base and found.base and found.base != base:
        raise UsageError(
            f"serve.adapters: {place.name}: run {place.run} was trained on another base model than this one", "serve it with a spec of its own base"
        )
    lacks = next(_lacks(config, choice), None)
    if lacks:
        raise UsageError(f"serve.adapters: {place.name}: {choice.place} {lacks}", "serve it by itself: export merges it into its base")
    rank, patterns = config.get("r"), config.get("rank_pattern")
    ranks = [rank, *(patterns.values() if isinstance(patterns, dict) else ())]
    if any(type(one) is not int or one < 1 for one in ranks):
        raise UsageError(f"serve.adapters: {place.name}: its adapter_config.json has no rank", "it is no LoRA: serve it by itself")
    return int(max(ranks))


def _lacks(config: Mapping[str, Any], choice: Choice) -> Iterator[str]:
    """What in an adapter the engine does not compute. vllm/lora/peft_helper.py refuses its own; lmdeploy/pytorch/adapter reads `r`,
    `lora_alpha` and a list of `target_modules`, and passes over the rest in silence."""
    if config.get("peft_type", "LORA") != "LORA":
        yield f"takes LoRA, and this is {shown(str(config['peft_type']))}"
    if config.get("use_dora"):
        yield "has no DoRA"
    if config.get("modules_to_save") or config.get("trainable_token_indices"):
        yield "does not load modules or tokens that were trained beside an adapter"
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in PLAIN_INITS:
        yield f"has no adapter whose start changed the base ({shown(start)})"
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        yield "has no biases of adapters"
    if choice.engine == "lmdeploy":
        if config.get("use_rslora"):
            yield "scales every adapter by alpha / rank, and rsLoRA by alpha / sqrt(rank)"
        if config.get("rank_pattern") or config.get("alpha_pattern"):
            yield "has one rank and alpha for all layers of an adapter"
        if isinstance(config.get("target_modules"), str):
            yield "takes a list of target_modules, not a pattern"
