"""What a model is made of: a build of it on no device, counted. Equal layers are one entry with a count, so that 80 layers take a few kilobytes."""

import hashlib
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from schemas.base import Record

FOLDER = ".anatomies"
"""In a store: what `caisson anatomy` has counted, one file a config, named by the sha256 of config.json."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
Word = Annotated[str, Field(max_length=200)]
Part = Literal["plain", "expert", "router", "bare"]


class LinearMap(Record):
    """A matrix that inputs are multiplied with, or several alike in one layer."""

    name: Word
    """Inside its layer, with N for numbers: `self_attn.q_proj`."""

    inputs: Size
    outputs: Size
    copies: Size = 1
    """Alike: one for each expert, as a rule."""

    bias: bool = False
    """A vector as wide as the outputs beside each."""

    part: Part = "plain"
    """expert: only some of the copies compute a token; router: chooses them; bare: gets no adapter for another reason."""

    stacked: bool = False
    """All copies are one tensor, which adapters of linear layers and 4-bit quantisation pass over."""

    @property
    def weights(self) -> int:
        """Of the matrices."""
        return self.copies * self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """With the biases."""
        return self.weights + (self.copies * self.outputs if self.bias else 0)


class Kept(Record):
    """What one layer keeps of each token until the backward pass, where nothing is recomputed."""

    trains: Literal["full", "adapter"]
    """The weights themselves, in fp32, or adapters in fp32 on every linear layer beside them."""

    precision: Literal["bf16", "fp32"]
    """That the forward pass computes in; fp16 keeps what bf16 does."""

    bytes: Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
    """A token; of adapters with rank 1, and each rank more adds a number for each of their layers."""

    squared: Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)] = 0.0
    """For each pair of tokens of a sequence: attention that holds all scores at once."""

    fixed: Annotated[float, Field(ge=0, lt=1e15, allow_inf_nan=False)] = 0.0
    """Whatever the length: copies of fp32 weights in the precision that computes."""


class LayerKind(Record):
    """Layers that are alike."""

    count: Size
    kind: Word = ""
    """As the config calls it: full_attention, sliding_attention, linear_attention, mamba; empty where it does not."""

    maps: tuple[LinearMap, ...]
    others: Count
    """Parameters of one layer that are in no linear map: norms, convolutions, states, routers that are no linear layer."""

    kept: tuple[Kept, ...] = ()
    """As the model's own code keeps it when it is run on no device; empty where that code cannot be run so."""

    @property
    def parameters(self) -> int:
        """Of one layer."""
        return sum(one.parameters for one in self.maps) + self.others


class Table(Record):
    """A row for each token, or for each position."""

    name: Word
    rows: Size
    width: Size


class Tower(Record):
    """A part beside the language model: an encoder of images or sound, or what maps its outputs to tokens."""

    name: Word
    """As the model calls it: visual, vision_tower, multi_modal_projector."""

    parameters: Count
    layers: Count = 0
    linear: Count = 0
    """Weights of its linear layers."""


class Experts(Record):
    """Of a layer that has some."""

    count: Size
    active: Size
    """That compute one token; those that compute every token are not among them."""


class Anatomy(Record):
    """A whole model. Every parameter is counted once, in one place."""

    version: Literal[1] = 1
    class_name: Word
    """That transformers builds."""

    model_type: Word
    transformers: Word
    """Version that built it."""

    dtype: Word = ""
    """As the config says: bfloat16, float32; empty where it does not."""

    parameters: Count
    """All of them, shared ones once."""

    layers: tuple[LayerKind, ...]
    """Decoder layers by kind, in the order of their first."""

    tables: tuple[Table, ...]
    """The input table first; tables of positions and others of the language model."""

    head: LinearMap | None = None
    """The output head; None where it is the input table."""

    outside: tuple[LinearMap, ...] = ()
    """Linear maps of the language model that lie in none of its layers."""

    others: Count = 0
    """Parameters of the language model outside its layers that are in no map and no table, such as the last norm."""

    towers: tuple[Tower, ...] = ()

    hidden: Size
    vocabulary: Size
    """Tokens that the head tells apart."""

    heads: Count = 0
    """0: no attention."""

    kv_heads: Count = 0
    head_dim: Count = 0
    window: Count = 0
    """Tokens that layers with a sliding window look back; 0: none has one."""

    experts: Experts | None = None
    positions: Count = 0
    """Longest sequence; 0: the config names none."""

    @property
    def counted(self) -> int:
        """The sum of the parts, which `parameters` has to equal."""
        text = sum(kind.count * kind.parameters for kind in self.layers) + sum(table.rows * table.width for table in self.tables)
        text += (self.head.parameters if self.head else 0) + sum(one.parameters for one in self.outside) + self.others
        return text + sum(tower.parameters for tower in self.towers)


class _Summary(Record):
    model_config = {**Record.model_config, "extra": "ignore"}

    anatomy: Anatomy | None = None


class _Recorded(Record):
    model_config = {**Record.model_config, "extra": "ignore"}

    summary: _Summary


def anatomy_in(manifest: bytes) -> Anatomy | None:
    """What the manifest of a fetched model says of it; None where it says nothing, or in a form of another version."""
    try:
        return _Recorded.model_validate_json(manifest).summary.anatomy
    except ValidationError:
        return None


def file_of(config: bytes) -> str:
    """Where a store keeps what was counted of a config.json with this content."""
    return f"{FOLDER}/{hashlib.sha256(config).hexdigest()}.json"


def read_anatomy(content: bytes) -> Anatomy | None:
    """A file that `caisson anatomy` wrote; None where it was cut, changed or written by another version."""
    try:
        return Anatomy.model_validate_json(content)
    except ValidationError:
        return None
