"""config.json -> the sizes that memory and time are counted from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder with attention and a gated MLP; counts are of weights, not bytes."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @property
    def linear_per_layer(self) -> int:
        """Weights of one layer's linear maps: q, k, v, o and gate, up, down."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def embedding(self) -> int:
        """Weights of the input table, and of the output head where it is not tied."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All weights; norms are two vectors a layer and one at the end."""
        return self.embedding + self.layers * (self.linear_per_layer + 2 * self.hidden) + self.hidden

    def lora(self, rank: int) -> int:
        """Weights of adapters on every linear map of every layer: rank x (inputs + outputs) each."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = (self.hidden + q) * 2 + (self.hidden + kv) * 2
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))


def read_shape(config: Mapping[str, Any]) -> ModelShape | None:
    """The shape, or None for a config that does not describe a plain gated decoder (experts, other key names)."""
    try:
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        if any(key in config for key in ("num_experts", "num_local_experts", "n_routed_experts")):
            return None
        shape = ModelShape(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            intermediate=int(config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sizes = (shape.layers, shape.hidden, shape.intermediate, shape.heads, shape.kv_heads, shape.head_dim, shape.vocabulary)
    return shape if min(sizes) > 0 else None


def max_positions(config: Mapping[str, Any]) -> int | None:
    """Longest sequence that the model's positions cover, in tokens."""
    value = config.get("max_position_embeddings")
    return int(value) if isinstance(value, int) and value > 0 else None
