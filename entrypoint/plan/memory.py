"""Bytes of one rank in training, term by term. Formulas and their check against measurements: docs/plan.md."""

from dataclasses import dataclass

from entrypoint.plan.model_shape import ModelShape

GIB = 1024**3
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}

NF4_BYTES = 0.516
"""A weight in NF4 with double quantisation: 4 bits, an 8-bit scale for 64 weights, an fp32 scale for 256 of those (QLoRA paper, section 3)."""

LOGITS_CHUNK = 1024
"""Tokens whose logits exist at once: TRL computes the loss over the output head in chunks and never holds all of them."""

CONTEXT_GIB = 1.4
"""CUDA context, cuBLAS workspace and what the allocator cannot use."""


@dataclass(frozen=True)
class Load:
    """What is to be held and computed."""

    adapter: str
    rank: int
    precision: str
    strategy: str
    ranks: int
    micro_batch: int
    length: int
    gradient_checkpointing: bool
    on_gpu: bool


def training_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """Bytes by term for one rank."""
    trained = shape.parameters if load.adapter == "full" else shape.lora(load.rank)
    shard_weights = load.ranks if load.strategy == "zero3" else 1
    shard_gradients = load.ranks if load.strategy in ("zero2", "zero3") else 1
    shard_optimizer = load.ranks if load.strategy.startswith("zero") else 1
    terms = {
        "weights": _base_bytes(shape, load) / shard_weights,
        "gradients": 4 * trained / shard_gradients,
        # AdamW keeps two moments in fp32.
        "optimizer": 8 * trained / shard_optimizer,
        "activations": _activation_bytes(shape, load),
        "logits": min(load.micro_batch * load.length, LOGITS_CHUNK) * shape.vocabulary * (BYTES[load.precision] + 8),
    }
    if load.adapter != "full":
        terms["adapter"] = 4.0 * trained
    if load.adapter == "qlora":
        terms["dequantised layer"] = 2.0 * max(shape.hidden * shape.intermediate, 1) * 2
    if load.strategy == "zero3":
        terms["gathered layer"] = 2.0 * shape.linear_per_layer * BYTES["bf16"]
    if not load.on_gpu:
        # Weights and moments of a checkpoint, copied while the training goes on; each rank writes its share. On a GPU machine this is RAM.
        terms["checkpoint copy"] = 12.0 * trained / load.ranks
    if load.on_gpu:
        terms["context"] = CONTEXT_GIB * GIB
    return terms


def _base_bytes(shape: ModelShape, load: Load) -> float:
    if load.adapter == "full":
        return 4.0 * shape.parameters  # fp32 masters under autocast: bf16 updates get lost
    if load.adapter == "qlora":
        return NF4_BYTES * shape.layers * shape.linear_per_layer + 2.0 * shape.embedding
    return float(BYTES[load.precision]) * shape.parameters


def _activation_bytes(shape: ModelShape, load: Load) -> float:
    """Kept for the backward pass: per token and layer 8 vectors of the hidden size, keys and values, 4 of the MLP's, and two fp32 norms."""
    kv = shape.kv_heads * shape.head_dim
    layer = (8 * shape.hidden + 2 * kv + 4 * shape.intermediate) * BYTES[load.precision] + 8 * shape.hidden
    tokens = load.micro_batch * load.length
    if load.gradient_checkpointing:
        return tokens * (shape.layers * shape.hidden * BYTES[load.precision] + layer)
    return float(tokens * shape.layers * layer)


def serving_bytes_per_token(shape: ModelShape) -> int:
    """Keys and values of one token in bf16, all layers."""
    return 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim
