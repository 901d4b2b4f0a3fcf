"""What is to be held and computed by one rank, and how many of its weights move."""

from dataclasses import dataclass
from typing import Literal

from entrypoint.plan.model_shape import ModelShape
from schemas.base import Recompute

GIB = 1024**3

OWN_WEIGHTS = ("full", "freeze")
"""Adapters that are none: weights of the model itself are trained."""

OPTIMIZER_BYTES = {"adamw": 8.0, "paged_adamw": 8.0, "adamw_8bit": 2.03125, "paged_adamw_8bit": 2.03125}
"""Of a trained weight: two moments in fp32, or in 8 bits with an fp32 scale for each 256 of them (bitsandbytes, block-wise)."""

SHARD_WEIGHTS = ("fsdp", "zero3")
"""Strategies under which no process holds all weights."""

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}

NF4_BYTES = 0.516
"""A weight in NF4 with double quantisation: 4 bits, an 8-bit scale for 64 weights, an fp32 scale for 256 of those (QLoRA paper, section 3)."""


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
    gradient_checkpointing: Recompute
    on_gpu: bool
    offload: str = "none"
    nodes: int = 1
    sequences: int = 1
    """That a row is computed as: a pair is two."""

    copy: bool = False
    """Whether a frozen copy of the base lies beside the weights."""

    logits: Literal["chunks", "plain", "whole", "compared", "answered", "none"] = "chunks"
    """How many of a batch's exist at once, and whether with those of a second model."""

    teacher: int = 0
    """Weights of a second model that only answers."""

    layers: int = 0
    """Decoder layers that `freeze` trains."""

    tables: int = 0
    """Tables as large as the vocabulary that are trained whole beside an adapter."""

    experts: bool = False
    """Whether experts that are one tensor a layer get adapters too."""

    optimizer: str = "adamw"
    all_logits: bool = False
    """Label smoothing wants those of all tokens at once."""

    accumulates: bool = True
    """Whether a step has several micro-batches: the sum of their gradients then lies beside all activations."""

    padded: bool = False
    """Whether rows of unequal length are computed side by side: attention then takes a mask."""

    dropout: bool = False
    """Of the adapter's inputs."""

    kernels: Literal["torch", "liger"] = "torch"
    """Of norms, rotary embeddings and the MLP's gate."""

    row: int = 0
    """Tokens of the longest row of a pack, which attention does not look beyond; 0: as long as `length`."""

    flash: bool = True
    """Whether the device has flash attention, which keeps no scores: CPUs, and GPUs since Ampere."""

    validation_rows: int = 0
    """Computed at once in a validation; 0: as many as in training, or none."""

    @property
    def tokens(self) -> int:
        """Computed at once."""
        return self.micro_batch * self.sequences * self.length

    @property
    def seen(self) -> int:
        """Tokens that attention compares one with, at most."""
        return self.row or self.length

    @property
    def width(self) -> int:
        """Bytes of a number of the run's precision."""
        return BYTES[self.precision]

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.adapter} with {self.strategy}" + (f" and offload: {self.offload}" if self.offload != "none" else "")

    @property
    def ranks_per_node(self) -> int:
        """Nodes are alike."""
        return self.ranks // self.nodes

    @property
    def by_deepspeed(self) -> bool:
        """Whether DeepSpeed holds weights, gradients and optimizer: it casts the whole model and keeps masters by itself."""
        return self.strategy.startswith("zero")

    @property
    def casts(self) -> bool:
        """Whether autocast makes 16-bit copies of trained weights that are kept in fp32, and of what goes into them."""
        return self.width == 2 and not self.by_deepspeed and self.adapter != "qlora"

    def shards(self, what: Literal["weights", "gradients", "optimizer"]) -> int:
        """Processes that something is divided by."""
        divided = {"weights": SHARD_WEIGHTS, "gradients": ("zero2", *SHARD_WEIGHTS), "optimizer": ("zero1", "zero2", *SHARD_WEIGHTS)}
        return self.ranks if self.strategy in divided[what] else 1


def trained_weights(shape: ModelShape, load: Load) -> int:
    """Weights that move; of freeze those of whole layers alone, since patterns are looked up in the model."""
    if load.adapter == "full":
        return shape.parameters
    if load.adapter == "freeze":
        return trained_layers(shape, load) * shape.layer_weights
    magnitudes = shape.outputs if load.adapter == "dora" else 0
    experts = shape.expert_lora(load.rank) if load.experts else 0
    return shape.lora(load.rank) + experts + magnitudes + load.tables * shape.vocabulary * shape.hidden


def trained_layers(shape: ModelShape, load: Load) -> int:
    """Decoder layers that something is kept of for the backward pass: freeze's last ones, else all."""
    return min(load.layers, shape.layers) if load.adapter == "freeze" and load.layers else shape.layers


def recomputed_layers(shape: ModelShape, load: Load) -> int:
    """Decoder layers that are computed once more in the backward pass; selective: the first, the third and so on."""
    if load.gradient_checkpointing == "selective":
        return -(-shape.layers // 2)
    return shape.layers if load.gradient_checkpointing else 0


def trained_width(load: Load) -> int:
    """Bytes of a trained weight as it computes: adapters of a 4-bit base are kept in 16 bits by TRL, DeepSpeed casts all; else fp32 masters."""
    return load.width if load.by_deepspeed or load.adapter == "qlora" else 4


def optimizer_bytes(shape: ModelShape, load: Load) -> float:
    """What an optimizer keeps of the weights that move, over all ranks."""
    trained = trained_weights(shape, load)
    if load.optimizer == "adafactor":  # of each matrix a number for each row and for each column
        narrow = shape.hidden if load.adapter in OWN_WEIGHTS else load.rank
        return 4.0 * trained * (1 / narrow + 1 / shape.hidden)
    if load.optimizer == "muon":  # one moment of each matrix in the layers, two of tables and vectors
        tables = shape.embedding if load.adapter == "full" else load.tables * shape.vocabulary * shape.hidden
        return 4.0 * trained + 4.0 * tables
    if load.optimizer in ("adamw", "paged_adamw") and load.adapter == "qlora" and not load.by_deepspeed:
        return 2.0 * trained_width(load) * trained  # torch makes moments in the weights' type
    return OPTIMIZER_BYTES[load.optimizer] * trained


def base_bytes(shape: ModelShape, load: Load) -> float:
    """Of the model's own weights, as they are loaded, on one rank that holds them all."""
    if load.adapter == "qlora":
        return NF4_BYTES * shape.packed + 2.0 * shape.unpacked
    if load.by_deepspeed:
        return float(load.width) * shape.parameters
    if load.adapter == "full":
        return 4.0 * shape.parameters  # fp32 masters under autocast: bf16 updates get lost
    if load.adapter == "freeze":
        trained = trained_weights(shape, load)
        return 4.0 * trained + float(load.width) * (shape.parameters - trained)
    return float(load.width) * shape.parameters
