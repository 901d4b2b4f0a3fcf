"""The anatomy of a model -> the sizes that memory and time are counted from, exact for any architecture."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from entrypoint.plan.model_shape import ModelShape, max_positions, read_shape
from schemas.anatomy import Anatomy, Kept, LayerKind, LinearMap
from schemas.facts import ModelFacts
from schemas.plan import Decision

NO_ATTENTION = ("linear_attention", "mamba", "mamba2", "conv", "moe", "mlp", "recurrent")
"""Kinds of layers, as configs call them, that keep no keys and values."""

ATTENTION = ("attn", "attention", "mixer", "mamba", "conv")
"""In names of a layer's parts that are no MLP."""

PLAIN_MAPS = 7
"""q, k, v, o, gate, up and down."""


@dataclass(frozen=True)
class CountedShape(ModelShape):
    """Sizes of any model of which transformers can build the layers; averages over layers are rounded up."""

    anatomy: Anatomy | None = None
    """Always there; a default only because its neighbours have some."""

    @property
    def body(self) -> Anatomy:
        """What was counted."""
        assert self.anatomy is not None
        return self.anatomy

    @property
    def plain(self) -> bool:
        """Whether every layer has the sizes, and no more, that a gated decoder's have; biases apart."""
        norms = 2 * self.hidden + (2 * self.head_dim if self.head_norms else 0)
        weights = self.hidden * (self.head_dim * (2 * self.heads + 2 * self.kv_heads) + 3 * self.intermediate)
        sizes = [(len(kind.maps), kind.others, sum(one.weights for one in kind.maps)) for kind in self.body.layers]
        return all(size == (PLAIN_MAPS, norms, weights) for size in sizes)

    @property
    def towers(self) -> int:
        """Weights beside the language model."""
        return sum(tower.parameters for tower in self.body.towers)

    @property
    def parameters(self) -> int:
        """All weights, towers too."""
        return self.body.parameters

    @property
    def linear_per_layer(self) -> int:
        """Weights of the linear maps of a layer, on average, all experts too."""
        return self._average(lambda kind: sum(one.weights for one in kind.maps))

    @property
    def largest_layer(self) -> int:
        """Weights of the layer that has most."""
        return max(kind.parameters for kind in self.body.layers)

    @property
    def active_per_layer(self) -> int:
        """Weights of the linear maps that compute one token."""
        return self._average(lambda kind: sum(self._active(one) * one.inputs * one.outputs for one in kind.maps))

    @property
    def active(self) -> int:
        """Weights that compute one token, outside of layers too; of the input table it is a row."""
        idle = sum(kind.count * (one.copies - self._active(one)) * one.inputs * one.outputs for kind in self.body.layers for one in kind.maps)
        return self.parameters - self.towers - idle - sum(table.rows * table.width for table in self.body.tables[: 1 if self.body.head else 0])

    @property
    def packed_per_layer(self) -> int:
        """Weights in linear layers of torch; experts that are one tensor lie in none."""
        return self._average(lambda kind: sum(one.weights for one in kind.maps if not one.stacked))

    @property
    def packed(self) -> int:
        """Those of the whole model but its head, towers too."""
        layers = sum(kind.count * one.weights for kind in self.body.layers for one in kind.maps if not one.stacked)
        return layers + sum(one.weights for one in self.body.outside) + sum(tower.linear for tower in self.body.towers)

    @property
    def unpacked(self) -> int:
        """The rest: tables, head, norms, experts that are one tensor."""
        return self.parameters - self.packed

    @property
    def layer_weights(self) -> int:
        """Everything in one layer, on average."""
        return self._average(lambda kind: kind.parameters)

    @property
    def attention_layers(self) -> int:
        """Layers that keep keys and values of tokens."""
        return sum(kind.count for kind in self.body.layers if self._attends(kind))

    def looked_at(self, length: int) -> int:
        """Tokens that a token can look at, over all layers; those with a window see no further."""
        near = min(length, self.body.window or length)
        return sum(kind.count * (near if "sliding" in kind.kind else length) for kind in self.body.layers if self._attends(kind))

    @property
    def embedding(self) -> int:
        """Weights of tables, and of the output head where it is not one of them."""
        return sum(table.rows * table.width for table in self.body.tables) + (self.body.head.weights if self.body.head else 0)

    @property
    def adapted(self) -> int:
        """Linear layers that get an adapter."""
        return sum(count * one.copies for count, one in self._targets())

    @property
    def adapted_inputs(self) -> int:
        """Inputs of those for one token."""
        return sum(count * self._active(one) * one.inputs for count, one in self._targets())

    @property
    def outputs(self) -> int:
        """Outputs of all maps that get an adapter: DoRA trains a length for each."""
        return sum(count * one.copies * one.outputs for count, one in self._targets())

    def lora(self, rank: int) -> int:
        """Weights of adapters on every linear layer of the language model but its head and routers."""
        return rank * sum(count * one.copies * (one.inputs + one.outputs) for count, one in self._targets())

    def expert_lora(self, rank: int) -> int:
        """The same on experts that are one tensor: an adapter for each of them."""
        stacked = [(kind.count, one) for kind in self.body.layers for one in kind.maps if one.stacked]
        return rank * sum(count * one.copies * (one.inputs + one.outputs) for count, one in stacked)

    def kept(self, trains: Literal["full", "adapter"], precision: Literal["bf16", "fp32"]) -> Kept:
        """Of one token in one layer until the backward pass, on average over the layers: what was seen, else counted by the linear maps."""
        found = [(kind.count, next((one for one in kind.kept if (one.trains, one.precision) == (trains, precision)), None)) for kind in self.body.layers]
        each = [(count, one or self._guess(kind, trains, precision)) for (count, one), kind in zip(found, self.body.layers, strict=True)]
        sizes = (sum(count * one.bytes for count, one in each), sum(count * one.squared for count, one in each), sum(count * one.fixed for count, one in each))
        return Kept(trains=trains, precision=precision, bytes=sizes[0] / self.layers, squared=sizes[1] / self.layers, fixed=sizes[2] / self.layers)

    def _guess(self, kind: LayerKind, trains: Literal["full", "adapter"], precision: Literal["bf16", "fp32"]) -> Kept:
        """Inputs and outputs of the maps that compute a token, and two norms with what they start from in fp32."""
        width = 2 if precision == "bf16" else 4
        through = sum(self._active(one) * (one.inputs + one.outputs) for one in kind.maps)
        return Kept(trains=trains, precision=precision, bytes=width * (through + 2 * self.hidden) + 8 * self.hidden)

    def _targets(self) -> Iterator[tuple[int, LinearMap]]:
        """Layers that are alike, and a map of theirs that adapters go to."""
        every = [(kind.count, one) for kind in self.body.layers for one in kind.maps] + [(1, one) for one in self.body.outside]
        return ((count, one) for count, one in every if not one.stacked and one.part not in ("router", "bare"))

    def _active(self, one: LinearMap) -> int:
        """Copies of a map that compute one token."""
        return self.body.experts.active * one.copies // self.body.experts.count if one.part == "expert" and self.body.experts else one.copies

    def _attends(self, kind: LayerKind) -> bool:
        return self.heads > 0 and kind.kind not in NO_ATTENTION

    def _average(self, size: Callable[[LayerKind], int]) -> int:
        return -(-sum(kind.count * size(kind) for kind in self.body.layers) // self.layers)


def shape_of(known: ModelFacts | None) -> ModelShape | None:
    """By the anatomy; else by the config, where it describes a plain gated decoder."""
    if known is None:
        return None
    if known.anatomy is None or not known.anatomy.layers:
        return read_shape(known.config)
    body = known.anatomy
    layers = sum(kind.count for kind in body.layers)
    rough = read_shape(known.config)
    return CountedShape(
        layers=layers, hidden=body.hidden, intermediate=_width(body), heads=body.heads, kv_heads=body.kv_heads, head_dim=body.head_dim,
        vocabulary=body.vocabulary, tied=body.head is None, head_norms=bool(rough and rough.head_norms), anatomy=body,
    )  # fmt: skip


def positions_of(known: ModelFacts | None) -> int | None:
    """Longest sequence that the model's positions cover, in tokens: configs have several names for it."""
    if known is None:
        return None
    return max_positions(known.config) or (known.anatomy.positions if known.anatomy else 0) or None


def show_shape(known: ModelFacts | None, shape: ModelShape | None) -> list[Decision]:
    """Where the sizes are from; nothing where there are none, which the line on memory says."""
    if shape is None or known is None:
        return []
    value = f"{shape.parameters / 1e9:.2f} billion weights"
    if not isinstance(shape, CountedShape):
        return [Decision(field="model", value=value, why="by the sizes in config.json, as of a gated decoder; fetch counts exactly")]
    body = shape.body
    parts = [f"{shape.active / 1e9:.2f} billion compute a token"] if body.experts else []
    parts += [f"{tower.name} {tower.parameters / 1e9:.2f}" for tower in body.towers]
    why = f"counted in {body.class_name}" + (f": {', '.join(parts)}" if parts else "")
    return [Decision(field="model", value=value, why=why, source=f"transformers {body.transformers}")]


def _width(body: Anatomy) -> int:
    """Of the widest MLP as one token sees it, over the experts that it goes through: the most that maps of one layer lead back to the stream."""
    active = body.experts.active if body.experts else 0
    back = [[one for one in kind.maps if one.outputs == body.hidden and not any(word in one.name for word in ATTENTION)] for kind in body.layers]
    widths = [sum((active if one.part == "expert" else 1) * one.inputs for one in maps) for maps in back]
    return max(widths) or max((one.inputs for kind in body.layers for one in kind.maps), default=body.hidden)
