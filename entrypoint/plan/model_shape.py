"""config.json -> the sizes that memory and time are counted from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_SIZE = 2**31 - 1
"""Beyond this a number in a config is no size of a layer."""


HEAD_NORMS = ("qwen3", "gemma3", "olmo2", "olmo3")
"""Model types that norm each head of q and k."""


TIED = ("gemma", "cohere")
"""Model types whose head is the input table where config.json does not say: their default is left out of the file."""

UNGATED = ("bert", "gpt_neox", "nemotron", "persimmon", "phi", "roberta", "starcoder2", "xlm-roberta")
"""Model types that have the same names of sizes, and an MLP of two maps."""

MORE = (
    "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "vision_config", "audio_config", "kv_lora_rank",
    "mamba_d_ssm", "mamba_d_state", "linear_num_key_heads",
)  # fmt: skip
"""Keys of what is more than layers of attention and a gated MLP: experts, towers, compressed keys, states."""


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
    head_norms: bool = False
    """Whether each head of q and k is normed, as in Qwen3."""

    @property
    def plain(self) -> bool:
        """Every layer is attention and a gated MLP between two norms, and no more: formulas for such a layer hold."""
        return True

    @property
    def towers(self) -> int:
        """Weights beside the language model, of encoders of images and sound."""
        return 0

    @property
    def linear_per_layer(self) -> int:
        """Weights of one layer's linear maps: q, k, v, o and gate, up, down."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def largest_layer(self) -> int:
        """Weights of the linear maps of the layer that has most."""
        return self.linear_per_layer

    @property
    def active_per_layer(self) -> int:
        """Weights of a layer's linear maps that compute one token: not those of experts that are not chosen."""
        return self.linear_per_layer

    @property
    def packed_per_layer(self) -> int:
        """Weights of a layer that lie in linear layers of torch: 4-bit quantisation and autocast see those alone."""
        return self.linear_per_layer

    @property
    def packed(self) -> int:
        """Those of the whole model but its head."""
        return self.layers * self.packed_per_layer

    @property
    def unpacked(self) -> int:
        """Weights that stay in 16 bits where those are packed into 4."""
        return self.embedding

    @property
    def layer_weights(self) -> int:
        """Everything in one layer, norms too."""
        return self.linear_per_layer + 2 * self.hidden

    @property
    def attention_layers(self) -> int:
        """Layers that keep keys and values of tokens."""
        return self.layers

    def looked_at(self, length: int) -> int:
        """Tokens that a token can look at in a sequence of this length, over all layers; half of them lie before it on average."""
        return self.layers * length

    @property
    def embedding(self) -> int:
        """Weights of the input table, and of the output head where it is not tied."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All weights; norms are two vectors a layer, those of heads, and one at the end."""
        norms = 2 * self.hidden + (2 * self.head_dim if self.head_norms else 0)
        return self.embedding + self.layers * (self.linear_per_layer + norms) + self.hidden

    @property
    def outputs(self) -> int:
        """Outputs of all linear maps of all layers: DoRA trains a length for each."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return self.layers * (q + 2 * kv + 2 * self.hidden + 2 * self.intermediate)

    def lora(self, rank: int) -> int:
        """Weights of adapters on every linear map of every layer: rank x (inputs + outputs) each."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = (self.hidden + q) * 2 + (self.hidden + kv) * 2
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))

    def expert_lora(self, rank: int) -> int:
        """Weights of adapters on experts that are held as one tensor a layer; a gated decoder has none."""
        return 0 * rank


def read_shape(config: Mapping[str, Any]) -> ModelShape | None:
    """The shape, or None for a config that does not describe a plain gated decoder (experts, towers, other key names)."""
    kind = str(config.get("model_type", ""))
    if any(config.get(key) for key in MORE) or kind in UNGATED:
        return None
    try:
        hidden, heads = _size(config["hidden_size"]), _size(config["num_attention_heads"])
        return ModelShape(
            layers=_size(config["num_hidden_layers"]),
            hidden=hidden,
            intermediate=_size(config["intermediate_size"]),
            heads=heads,
            kv_heads=_size(config.get("num_key_value_heads") or heads),
            head_dim=_size(config.get("head_dim") or hidden // heads),
            vocabulary=_size(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", kind.startswith(TIED))),
            head_norms=kind.startswith(HEAD_NORMS),
        )
    except (KeyError, TypeError):
        return None


def _size(value: Any) -> int:
    """A whole number that a size can be; raises TypeError for what else JSON holds: text, 1e999, true, a thousand digits."""
    if type(value) is not int or not 0 < value <= LARGEST_SIZE:
        raise TypeError(f"{value!r} is no size")
    return value


def max_positions(config: Mapping[str, Any]) -> int | None:
    """Longest sequence that the model's positions cover, in tokens."""
    try:
        return _size(config.get("max_position_embeddings"))
    except TypeError:
        return None
