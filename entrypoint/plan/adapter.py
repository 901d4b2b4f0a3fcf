"""Which weights move: the adapter's numbers, what it goes with, and what a server will make of its rank."""

from entrypoint.plan.load import SHARD_WEIGHTS, Load
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.tables import DEFAULTS, ENGINES
from schemas.adapter import Freeze, Lora, LoraPlus, LowRank
from schemas.errors import UsageError
from schemas.job import AdapterJob
from schemas.plan import Decision
from schemas.spec import Spec

FREEZE_LAYERS = 2
"""LLaMA-Factory's default of freeze_trainable_layers."""

PRINCIPAL = ("pissa", "olora")
"""Kinds that take a part out of the base at the start; saved as a plain adapter of twice the rank."""

SERVED_RANKS: list[int] = ENGINES["vllm"]["lora_ranks"]
"""What vLLM takes as the largest rank of adapters, beside 1."""

TABLES = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")
"""Last names of modules that are as large as the vocabulary."""


def adapter_kinds(spec: Spec) -> list[str]:
    """Candidates, the preferred first."""
    return ["lora", "qlora"] if spec.adapter.kind == "auto" else [spec.adapter.kind]


def rank_of(spec: Spec) -> int:
    """Width of the matrices while they are trained."""
    return (spec.adapter.rank if isinstance(spec.adapter, LowRank) else None) or int(DEFAULTS["rank"]["value"])


def layers_of(spec: Spec) -> int:
    """Decoder layers that freeze leaves to train."""
    if not isinstance(spec.adapter, Freeze):
        return 0
    return spec.adapter.layers or (0 if spec.adapter.patterns else FREEZE_LAYERS)


def tables_of(spec: Spec) -> int:
    """Tables as large as the vocabulary that are trained whole beside an adapter."""
    if not isinstance(spec.adapter, LowRank):
        return 0
    return sum(name.rpartition(".")[2] in TABLES for name in spec.adapter.modules_to_save)


def experts_of(spec: Spec) -> bool:
    """Whether experts that are held as one tensor get adapters too."""
    return isinstance(spec.adapter, Lora) and spec.adapter.experts


def goes_with(kind: str, strategy: str) -> bool:
    """Whether the engine can train the adapter; each pair that is allowed is trained in tests/entrypoint/run/test_adapters.py."""
    if kind == "qlora":
        return strategy not in SHARD_WEIGHTS
    return not (kind in PRINCIPAL and strategy == "zero3")


def check_adapter(spec: Spec, shape: ModelShape | None) -> None:
    """Raises UsageError for an adapter that the named engine cannot train, or that the model has no place for, with the neighbours that can."""
    adapter, wanted = spec.adapter, spec.hardware.strategy
    if isinstance(adapter, LowRank) and adapter.trainable_tokens and shape and shape.tied:
        raise UsageError(
            "adapter.trainable_tokens: the model's input table is its output head too, whose loss reads it as a whole",
            "write modules_to_save: [embed_tokens] instead: the table is then trained and saved whole",
        )
    if wanted is None:
        return
    if not goes_with(adapter.kind, wanted):
        if adapter.kind == "qlora":
            raise UsageError(
                f"hardware.strategy: {wanted} cannot shard 4-bit weights, so qlora does not go with it",
                f"use strategy: ddp with qlora, or adapter.kind: lora with {wanted}",
            )
        raise UsageError(
            f"adapter.kind: {adapter.kind} takes a part out of whole weights at the start, and {wanted} holds them in shares from the start",
            f"use strategy: fsdp, zero2 or ddp with {adapter.kind}, or adapter.kind: lora with {wanted}",
        )
    if isinstance(adapter, LowRank) and adapter.trainable_tokens and wanted in SHARD_WEIGHTS:
        raise UsageError(
            f"adapter.trainable_tokens: rows of a table that {wanted} cuts into shares cannot be trained singly",
            "use strategy: ddp or zero2, or modules_to_save: [embed_tokens, lm_head]",
        )
    if experts_of(spec) and wanted in SHARD_WEIGHTS:
        raise UsageError(
            f"adapter.experts: the tensors of experts that {wanted} cuts into shares cannot get an adapter", "use strategy: ddp or zero2, or experts: false"
        )


def adapter_job(spec: Spec, load: Load, decisions: list[Decision]) -> AdapterJob:
    """Everything decided that the trainer builds the adapter from."""
    adapter = spec.adapter
    if isinstance(adapter, Freeze):
        return AdapterJob(kind="freeze", layers=_freeze_layers(adapter, decisions), patterns=adapter.patterns)
    if load.adapter == "full":
        return AdapterJob(kind="full")
    given = adapter if isinstance(adapter, LowRank) else Lora(kind="lora")
    alpha = given.alpha if given.alpha is not None else _alpha(load, decisions)
    if given.rank is None:
        decisions.append(Decision(field="adapter.rank", value=str(load.rank), why="default", source=DEFAULTS["rank"]["source"]))
    if given.targets is None:
        why = "every linear layer but the output head and the routers of experts"
        decisions.append(Decision(field="adapter.targets", value="all-linear", why=why, source="QLoRA paper, section 4"))
    decisions += _served(load)
    return AdapterJob(
        kind=load.adapter, rank=load.rank, alpha=alpha, dropout=getattr(given, "dropout", 0.0), targets=given.targets or "all-linear",
        modules_to_save=given.modules_to_save, trainable_tokens=given.trainable_tokens, ratio=given.ratio if isinstance(given, LoraPlus) else None,
        experts=experts_of(spec),
    )  # fmt: skip


def _alpha(load: Load, decisions: list[Decision]) -> float:
    row = DEFAULTS["alpha"].get(load.adapter)
    if row is None:
        value, why, source = float(DEFAULTS["alpha_per_rank"]["value"] * load.rank), "twice the rank", DEFAULTS["alpha_per_rank"]["source"]
    else:
        value, why, source = float(row["value"] or load.rank), row["why"], row["source"]
    decisions.append(Decision(field="adapter.alpha", value=f"{value:g}", why=why, source=source))
    return value


def _freeze_layers(adapter: Freeze, decisions: list[Decision]) -> int:
    if adapter.layers is not None or adapter.patterns:
        return adapter.layers or 0
    decisions.append(Decision(field="adapter.layers", value=str(FREEZE_LAYERS), why="default", source="LLaMA-Factory's freeze_trainable_layers"))
    return FREEZE_LAYERS


def _served(load: Load) -> list[Decision]:
    """A warning where vLLM would have to round the saved rank up; an export that merges serves any rank."""
    saved = 2 * load.rank if load.adapter in PRINCIPAL else load.rank
    if saved in SERVED_RANKS:
        return []
    room = next((rank for rank in SERVED_RANKS if rank >= saved), None)
    how = f"the next is {room}" if room else f"{SERVED_RANKS[-1]} is the largest"
    why = f"none of vLLM's ranks ({', '.join(map(str, SERVED_RANKS))}), {how}; of no weight here, since export merges the adapter into the base"
    return [Decision(field="adapter as served", value=f"rank {saved}", why=why, source="vLLM 0.32, MaxLoRARanks")]
