"""What an export needs of memory and disk: for merging, for answering, and for compressing."""

import math

from entrypoint.plan.counted_shape import shape_of
from entrypoint.plan.load import GIB
from entrypoint.plan.memory import PROCESS_GIB
from entrypoint.plan.model_shape import ModelShape
from schemas.errors import MachineError
from schemas.export_job import ExportJob
from schemas.facts import Facts, ModelFacts
from schemas.plan import Decision
from schemas.spec import Spec

BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "awq": 0.56, "gptq": 0.53, "adapter": 0.0}
"""A weight of a linear map on disk, scales included; embeddings stay in bf16."""

STORED = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of a weight in the files, by the config's word."""

SHARD_GIB = 2
"""A file that the merge writes lies in memory while it is collected: entrypoint.run.tensor_files."""


def disk_of(shape: ModelShape | None, kind: str, copies: int = 1) -> int:
    """Bytes that an export takes while it is written; 0 while the model's config is not at hand."""
    if shape is None:
        return 0
    linear = shape.layers * shape.packed_per_layer
    return int(copies * (linear * BYTES[kind] + (shape.parameters - linear) * BYTES["bf16"]))


def merge_gib(shape: ModelShape) -> float:
    """Of the merge itself: a shard and a table of embeddings in bf16, and the largest linear map three times in fp32 (as it was, the change, the sum)."""
    table = 2 * shape.vocabulary * shape.hidden / GIB
    return PROCESS_GIB + max(SHARD_GIB, table) + table + 3 * 4 * shape.hidden * shape.intermediate / GIB


def answer_gib(weights: float, nbytes: float) -> float:
    """Of a model that answers golden prompts."""
    return PROCESS_GIB + weights * nbytes / GIB


def count_weights(known: ModelFacts) -> float | None:
    """By the shape, or where that cannot be read by the size of the files; None where neither is at hand."""
    shape = shape_of(known)
    if shape:
        return shape.parameters
    said = known.config.get("dtype") or known.config.get("torch_dtype")
    return known.stored_bytes / STORED.get(str(said), 2) if known.stored_bytes else None


def memory_decisions(spec: Spec, facts: Facts, jobs: list[ExportJob]) -> list[Decision]:
    """How much memory each part takes; raises MachineError where the answers cannot be computed here."""
    known = facts.models.get(spec.model.source)
    weights = count_weights(known) if known else None
    if known is None or weights is None:
        return []
    found = []
    if any(job.kind == "safetensors" for job in jobs):
        found.append(_merging(known, weights))
    exact, rounded = answer_gib(weights, 4), answer_gib(weights, 2)
    room = facts.ram_gib
    if rounded > room and not facts.accelerators:
        raise MachineError(
            f"export: answering the golden prompts takes {math.ceil(10 * rounded) / 10:.1f} GiB, this machine has {room:.1f} GiB",
            "export on a machine with more memory: the same command over the same store goes on there",
        )
    precision = "fp32" if exact <= room or facts.accelerators else "bf16"
    value = f"{exact if precision == 'fp32' else rounded:.1f} GiB"
    found.append(Decision(field="export memory, answering", value=value, why=f"the whole model in {precision}, before and after: its answers are compared"))
    return found


def _merging(known: ModelFacts, weights: float) -> Decision:
    shape = shape_of(known)
    if shape:
        why = "tensor by tensor, however large the model; peft's own merge where names differ"
        return Decision(field="export memory, merging", value=f"{merge_gib(shape):.1f} GiB", why=why)
    value, why = (
        f"up to {answer_gib(weights, 4):.1f} GiB",
        "the whole model in fp32, by peft, if the adapter is one of experts; else 2 GiB and the largest tensor",
    )
    return Decision(field="export memory, merging", value=value, why=why)
