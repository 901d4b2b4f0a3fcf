"""Bytes of one rank in training, term by term. Formulas and their check against measurements: docs/plan.md."""

from dataclasses import dataclass
from typing import Literal

from entrypoint.plan.model_shape import ModelShape

GIB = 1024**3

OWN_WEIGHTS = ("full", "freeze")
"""Adapters that are none: weights of the model itself are trained."""

OPTIMIZER_BYTES = {"adamw": 8.0, "paged_adamw": 8.0, "adamw_8bit": 2.03125, "paged_adamw_8bit": 2.03125}
"""Of a trained weight: two moments in fp32, or in 8 bits with an fp32 scale for each 256 of them (bitsandbytes, block-wise)."""

SHARD_WEIGHTS = ("fsdp", "zero3")
"""Strategies under which no process holds all weights."""

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}

CACHE_BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
"""Of an element of a key or a value, without scales."""

NF4_BYTES = 0.516
"""A weight in NF4 with double quantisation: 4 bits, an 8-bit scale for 64 weights, an fp32 scale for 256 of those (QLoRA paper, section 3)."""

LOGITS_CHUNK = 1024
"""Tokens whose logits exist at once: TRL computes the loss over the output head in chunks and never holds all of them."""

WHOLE_LOGITS = {"whole": 14, "compared": 68, "answered": 28}
"""Bytes a logit where a loss holds all of them, with what it keeps for the backward pass: bench/methods measured 10 to 11.4 and 67.5 in fp32;
in bf16 the softmax of each answer is kept in fp32 beside them, which makes 14 of the first, and 28
of the 23.9 over a teacher's answers."""

BUCKET = 200_000_000
"""Elements of one communication bucket: large enough to fill NVLink, 0.4 GiB in bf16."""

PROCESS_GIB = 0.6
"""Python, torch and the trainer's libraries before there is a model, with what a first step adds; measured: bench/processes."""

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
    """Over all nodes."""

    micro_batch: int
    length: int
    gradient_checkpointing: bool
    on_gpu: bool
    offload: str = "none"
    nodes: int = 1
    sequences: int = 1
    """That a row is computed as: a pair is two."""

    copy: bool = False
    """Whether a frozen copy of the base lies beside the weights."""

    logits: Literal["chunks", "whole", "compared", "answered", "none"] = "chunks"
    """How many of a batch's exist at once, and whether with those of a second model."""

    teacher: int = 0
    """Weights of a second model that only answers."""

    layers: int = 0
    """Decoder layers that `freeze` trains."""

    tables: int = 0
    """Tables as large as the vocabulary that are trained whole beside an adapter."""

    optimizer: str = "adamw"
    all_logits: bool = False
    """Label smoothing wants those of all tokens at once."""

    @property
    def tokens(self) -> int:
        """Computed at once."""
        return self.micro_batch * self.sequences * self.length

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.adapter} with {self.strategy}" + (f" and offload: {self.offload}" if self.offload != "none" else "")

    @property
    def ranks_per_node(self) -> int:
        """Nodes are alike."""
        return self.ranks // self.nodes


def training_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """Bytes by term for one rank, where it computes."""
    trained = trained_weights(shape, load)
    shard_weights = load.ranks if load.strategy in SHARD_WEIGHTS else 1
    shard_gradients = load.ranks if load.strategy in ("zero2", *SHARD_WEIGHTS) else 1
    shard_optimizer = load.ranks if load.strategy == "fsdp" or load.strategy.startswith("zero") else 1
    terms = {
        "weights": _base_bytes(shape, load) / shard_weights,
        "gradients": 4 * trained / shard_gradients,
        "optimizer": optimizer_bytes(shape, load) / shard_optimizer,
        "activations": _activation_bytes(shape, load),
        "logits": _logits_bytes(shape, load),
    }
    if load.adapter not in OWN_WEIGHTS:
        terms["adapter"] = 4.0 * trained
    if load.copy:
        terms["frozen copy"] = _base_bytes(shape, load) / shard_weights
    if load.teacher:
        terms["teacher"] = float(BYTES[load.precision] * load.teacher) / (load.ranks if load.strategy == "zero3" else 1)
    if load.adapter == "dora":  # each forward pass forms one layer's whole weight with its update, and its norm
        terms["norms of weights"] = 2.0 * BYTES["fp32"] * shape.hidden * shape.intermediate
    if load.adapter == "qlora":
        terms["dequantised layer"] = 2.0 * max(shape.hidden * shape.intermediate, 1) * 2
    if load.strategy in SHARD_WEIGHTS:
        terms["gathered layers"] = float(live_weights(shape) * BYTES[load.precision])
    if load.offload != "none":
        _move_to_host(terms, shape, load)
    if load.on_gpu:
        terms["context"] = CONTEXT_GIB * GIB
    else:  # one memory for both, and for the program
        terms["program"] = PROCESS_GIB * GIB
        for name, size in host_bytes(shape, load).items():
            terms[name] = terms.get(name, 0.0) + size / load.ranks
    return terms


def host_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """Bytes by term in the host's memory, over all ranks, beside what lies where a rank computes."""
    trained, width = trained_weights(shape, load), BYTES[load.precision]
    if load.offload == "nvme":
        # DeepSpeed makes them in memory; then they move into files. The sum over micro-batches stays.
        terms = {"fp32 weights, at the start": 4.0 * trained, "gradients": (4.0 + width) * trained}
        return terms | ({"weights, at the start": float(width * shape.parameters)} if load.strategy == "zero3" else {})
    # Weights and optimizer of a checkpoint, copied while the training goes on; each rank writes its share.
    terms = {"checkpoint copy": 4.0 * trained + optimizer_bytes(shape, load)}
    if load.strategy == "fsdp":  # each rank reads the whole model before it keeps its share; long before the first checkpoint
        terms["whole weights, at the start"] = max(0.0, load.ranks * _base_bytes(shape, load) - terms["checkpoint copy"])
    if load.offload == "none":
        return terms
    # DeepSpeed's optimizer: fp32 weights and two moments, the gradient of a step in fp32 and the sum over micro-batches before it.
    terms |= {"fp32 weights": 4.0 * trained, "optimizer": 8.0 * trained, "gradients": (4.0 + width) * trained}
    if load.strategy == "zero3":
        terms["weights"] = float(width * shape.parameters)
    return terms


def disk_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """Bytes by term in files, over all ranks."""
    if load.offload != "nvme":
        return {}
    trained = trained_weights(shape, load)
    terms = {"optimizer": 8.0 * trained, "fp32 weights": 4.0 * trained, "gradients": 4.0 * trained, "checkpoint copy": 12.0 * trained}
    return terms | ({"weights": float(BYTES[load.precision] * shape.parameters)} if load.strategy == "zero3" else {})


def trained_weights(shape: ModelShape, load: Load) -> int:
    """Weights that move; of freeze those of whole layers alone, since patterns are looked up in the model."""
    if load.adapter == "full":
        return shape.parameters
    if load.adapter == "freeze":
        return min(load.layers, shape.layers) * (shape.linear_per_layer + 2 * shape.hidden)
    magnitudes = shape.outputs if load.adapter == "dora" else 0
    return shape.lora(load.rank) + magnitudes + load.tables * shape.vocabulary * shape.hidden


def optimizer_bytes(shape: ModelShape, load: Load) -> float:
    """What an optimizer keeps of the weights that move, over all ranks."""
    trained = trained_weights(shape, load)
    if load.optimizer == "adafactor":  # of each matrix a number for each row and for each column
        narrow = shape.hidden if load.adapter in OWN_WEIGHTS else load.rank
        return 4.0 * trained * (1 / narrow + 1 / shape.hidden)
    if load.optimizer == "muon":  # one moment of each matrix in the layers, two of tables and vectors
        tables = shape.embedding if load.adapter == "full" else load.tables * shape.vocabulary * shape.hidden
        return 4.0 * trained + 4.0 * tables
    return OPTIMIZER_BYTES[load.optimizer] * trained


def live_weights(shape: ModelShape) -> int:
    """Weights that ZeRO-3 may hold whole on a rank: a layer that computes, the next one, and the input table or the head, which lie in none."""
    return 2 * shape.linear_per_layer + shape.vocabulary * shape.hidden


def _move_to_host(terms: dict[str, float], shape: ModelShape, load: Load) -> None:
    """What offload leaves: weights in the precision that computes, and gradients only while they are reduced."""
    trained, width = trained_weights(shape, load), BYTES[load.precision]
    del terms["optimizer"]
    if load.adapter in OWN_WEIGHTS:
        terms["weights"] = float(width * shape.parameters)
    else:
        terms["adapter"] = float(width * trained)
    if load.strategy == "zero3":
        del terms["weights"]
        terms.pop("adapter", None)
    if load.strategy != "zero1":  # zero1 keeps them whole until the step
        terms["gradients"] = float(2 * width * min(trained, BUCKET))  # one bucket fills while the other is sent


def _base_bytes(shape: ModelShape, load: Load) -> float:
    if load.adapter == "full":
        return 4.0 * shape.parameters  # fp32 masters under autocast: bf16 updates get lost
    if load.adapter == "freeze":
        trained = trained_weights(shape, load)
        return 4.0 * trained + float(BYTES[load.precision]) * (shape.parameters - trained)
    if load.adapter == "qlora":
        return NF4_BYTES * shape.layers * shape.linear_per_layer + 2.0 * shape.embedding
    return float(BYTES[load.precision]) * shape.parameters


def _logits_bytes(shape: ModelShape, load: Load) -> float:
    """In chunks: one of them, its softmax and gradient in fp32. Whole, compared with a teacher's, or with its answers: of every token."""
    if load.logits == "none":
        return 0.0
    if load.logits in WHOLE_LOGITS:
        return float(load.tokens * shape.vocabulary * WHOLE_LOGITS[load.logits])
    at_once = min(load.tokens, LOGITS_CHUNK) + (load.tokens if load.all_logits else 0)  # where all exist, the pass beside them keeps a chunk too
    return float(at_once * shape.vocabulary * (BYTES[load.precision] + 8))


def _activation_bytes(shape: ModelShape, load: Load) -> float:
    """Kept for the backward pass: per token and layer 8 vectors of the hidden size, keys and values, 4 of the MLP's, and two fp32 norms."""
    kv = shape.kv_heads * shape.head_dim
    layer = (8 * shape.hidden + 2 * kv + 4 * shape.intermediate) * BYTES[load.precision] + 8 * shape.hidden
    tokens = load.tokens
    if load.gradient_checkpointing:
        return tokens * (shape.layers * shape.hidden * BYTES[load.precision] + layer)
    return float(tokens * shape.layers * layer)


def serving_bytes_per_token(shape: ModelShape, kept: str | None = None) -> float:
    """Keys and values of one token, all layers; in 16 bits where nothing is said."""
    return 2 * CACHE_BYTES[kept or "bf16"] * shape.layers * shape.kv_heads * shape.head_dim
