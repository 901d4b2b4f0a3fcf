"""Exactly how many elements of a model one process holds, with what engines add so that shares are equal."""

from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape

ALIGNED = 2
"""Elements a process that DeepSpeed's flat buffers are a multiple of (zero_optimization of stage 1 and 2: nccl_start_alignment_factor)."""


def tensor_sizes(shape: ModelShape) -> list[tuple[int, int, int]]:
    """Rows, columns and number of each kind of parameter of a plain decoder."""
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = [
        (q, shape.hidden, 1), (kv, shape.hidden, 2), (shape.hidden, q, 1), (shape.intermediate, shape.hidden, 2), (shape.hidden, shape.intermediate, 1),
        (shape.hidden, 1, 2), *([(shape.head_dim, 1, 2)] if shape.head_norms else []),
    ]  # fmt: skip
    tables = [(shape.vocabulary, shape.hidden, 1 if shape.tied else 2), (shape.hidden, 1, 1)]
    return [*((rows, columns, shape.layers * count) for rows, columns, count in layer), *tables]


def held_elements(shape: ModelShape, strategy: str, ranks: int) -> int:
    """Of one process, the first, which holds most. zero3 cuts each parameter as a line, fsdp by rows; zero1 and zero2 all of them as one line."""
    sizes = tensor_sizes(shape)
    if strategy == "zero3":
        return sum(-(-rows * columns // ranks) * count for rows, columns, count in sizes)
    if strategy == "fsdp":
        return sum(-(-rows // ranks) * columns * count for rows, columns, count in sizes)
    if strategy in ("zero1", "zero2"):
        return flat_elements(shape, ranks) // ranks
    return sum(rows * columns * count for rows, columns, count in sizes)


def flat_elements(shape: ModelShape, ranks: int) -> int:
    """Of DeepSpeed's flat buffer of all weights, which each process has with zero1 and zero2."""
    whole = sum(rows * columns * count for rows, columns, count in tensor_sizes(shape))
    return -(-whole // (ALIGNED * ranks)) * ALIGNED * ranks


def share(shape: ModelShape, load: Load) -> float:
    """Part of what is sharded that one process holds: of full weights with its padding, of adapters an equal part."""
    if load.adapter != "full" or load.ranks == 1:
        return 1 / load.ranks
    return held_elements(shape, load.strategy, load.ranks) / held_elements(shape, "single", 1)
