"""Ways to train that a spec leaves open: adapters, strategies, recomputation, the preferred first."""

from dataclasses import replace

from entrypoint.plan.adapter import adapter_kinds, experts_of, goes_with, layers_of, rank_of, tables_of
from entrypoint.plan.batch import Rows
from entrypoint.plan.counted_shape import CountedShape, shape_of
from entrypoint.plan.kernels import kernel_kinds
from entrypoint.plan.load import Load
from entrypoint.plan.method import needs_of, teacher_weights
from entrypoint.plan.offload import AUTOMATIC
from entrypoint.plan.optimisation import strategies
from schemas.base import Recompute
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.spec import Spec

CPU_RANKS = 2
"""Processes of a multi-process strategy on CPUs: enough to exercise it; a CPU gains nothing from more. Several nodes have one each."""


FLASH_SINCE = 8.0
"""Compute capability of flash attention in torch (Ampere)."""


def candidates(spec: Spec, facts: Facts, rows: Rows, precision: str) -> list[Load]:
    """Whole copies before shards, kept activations before recomputed ones, 16-bit weights before 4-bit ones; each with as few rows at once as goes."""
    gpus = len(facts.accelerators)
    offload, nodes = spec.hardware.offload, spec.hardware.nodes
    automatic = AUTOMATIC if offload != "none" else ["single"] if gpus < 2 and nodes == 1 else ["ddp", "zero2", "zero3"]
    wanted = spec.hardware.strategy
    engines = [wanted] if wanted else strategies(spec, automatic)
    if wanted == "fsdp" and precision == "fp16":
        raise UsageError("hardware.strategy: fsdp does not scale losses, which fp16 needs", "use strategy: zero3, or ddp, with fp16")
    kinds = kernel_kinds(spec, facts)
    found = []
    for kind in adapter_kinds(spec):
        needs = needs_of(spec.method, kind)
        for strategy in engines:
            if not goes_with(kind, strategy):
                continue
            ranks = 1 if strategy == "single" else nodes * gpus or max(nodes, CPU_RANKS)
            made = Load(
                kind, rank_of(spec), precision, strategy, ranks, needs.rows, rows.longest, False, bool(gpus), offload, nodes,
                sequences=needs.sequences, copy=needs.copy, logits=needs.logits, teacher=teacher_weights(spec, facts),
                layers=layers_of(spec), tables=tables_of(spec), experts=experts_of(spec), optimizer=spec.train.optimizer,
                all_logits=bool(spec.train.label_smoothing or spec.plugins.loss or spec.plugins.metric),
                dropout=bool(getattr(spec.adapter, "dropout", 0.0)), validation_rows=spec.train.validation.batch_rows or 0,
                flash=has_flash(facts), row=rows.inside,
            )  # fmt: skip
            found += [replace(made, gradient_checkpointing=again, kernels=kernels) for again in recompute(spec, facts, kind) for kernels in kinds]
    return found


def recompute(spec: Spec, facts: Facts, adapter: str) -> list[Recompute]:
    """Those that a plan chooses from, the least work first. Every second layer only where all are alike, or what is kept would be the mean of nothing; nor where
    only the last ones are trained."""
    if spec.train.gradient_checkpointing is not None:
        return [spec.train.gradient_checkpointing]
    shape = shape_of(facts.models.get(spec.model.source))
    alike = shape is not None and (not isinstance(shape, CountedShape) or shape.plain) and shape.layers > 1
    return [False, "selective", True] if alike and adapter != "freeze" else [False, True]


def has_flash(facts: Facts) -> bool:
    """Whether attention keeps no scores: on CPUs, and on all GPUs but NVIDIA's before Ampere."""
    return not any(one.compute_capability and float(one.compute_capability) < FLASH_SINCE for one in facts.accelerators)
