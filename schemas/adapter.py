"""Section `adapter`: which weights move."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Section


class AutoAdapter(Section):
    """The plan chooses between LoRA and QLoRA by memory."""

    kind: Literal["auto"] = "auto"
    """auto: LoRA where the weights fit in 16 bits, QLoRA where only 4-bit weights fit."""


class Full(Section):
    """Every weight is trained."""

    kind: Literal["full"]
    """full: every weight is trained and saved."""


class Freeze(Section):
    """Some of the model's own weights are trained, the others stay as they are."""

    kind: Literal["freeze"]
    """freeze: the last decoder layers, or weights by their names, are trained; the whole model is saved."""

    layers: Auto[Annotated[int, Field(ge=1, le=1000)]] = None
    """Decoder layers that are trained, counted from the last one. auto: 2, or none where patterns are given."""

    patterns: Many[str] = ()
    """Weights that are trained, by name, with `*` for any characters: `*.self_attn.*`, `lm_head.*`."""


class LowRank(Section):
    """What every adapter of two thin matrices has."""

    kind: Literal["lora", "qlora", "dora", "rslora", "lora+", "pissa", "olora"]
    """Which of them."""

    rank: Auto[Annotated[int, Field(ge=1, le=512)]] = None
    """Width of the added matrices; memory and capacity grow with it. auto: 16."""

    alpha: Auto[Annotated[float, Field(gt=0, le=4096)]] = None
    """Scale of the update. auto: twice the rank; the rank for pissa and olora; 16 for rslora."""

    targets: Auto[Annotated[Many[str], Field(min_length=1)]] = None
    """Names of the linear layers that get an adapter. auto: every linear layer but the output head and the routers of experts."""

    modules_to_save: Many[str] = ()
    """Modules that are trained and saved whole beside the adapter, such as embed_tokens or lm_head."""

    trainable_tokens: Many[str] = ()
    """Tokens, as text, whose rows of the input table are trained and saved: what was added to the vocabulary and means nothing yet."""

    @model_validator(mode="after")
    def _one_way_for_the_table(self) -> "LowRank":
        whole = [name for name in self.modules_to_save if name.rpartition(".")[2] in ("embed_tokens", "wte", "word_embeddings", "embed_in")]
        if self.trainable_tokens and whole:
            fix = "take trainable_tokens out, or take the input table out of modules_to_save"
            raise PydanticCustomError("together", "trains single rows of a table that {name} trains whole", {"name": whole[0], "fix": fix})
        return self


class Lora(LowRank):
    """Low-rank matrices beside frozen weights."""

    kind: Literal["lora"]
    """lora: two thin matrices beside each target layer are trained, the base stays as it is."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped in training."""

    experts: bool = False
    """Also adapters beside the experts of a mixture that holds them as one tensor a layer; each step then builds the sum of both in full."""

    @model_validator(mode="after")
    def _experts_without_dropout(self) -> "Lora":
        if self.experts and self.dropout:
            fix = "write dropout: 0, or experts: false"
            raise PydanticCustomError("together", "an adapter beside experts changes their weights, so there is no input to drop", {"fix": fix})
        return self


class Qlora(LowRank):
    """LoRA over a base held in 4-bit NF4 with double quantisation."""

    kind: Literal["qlora"]
    """qlora: as lora, with the frozen base in 4 bits: a quarter of the memory, somewhat slower."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped in training."""


class Dora(LowRank):
    """LoRA for the direction of each weight row, and its length as a parameter of its own."""

    kind: Literal["dora"]
    """dora: as lora, and the length of each output's weights is trained too; nearer to full training at low ranks, slower."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped in training."""


class Rslora(LowRank):
    """LoRA scaled by the root of the rank."""

    kind: Literal["rslora"]
    """rslora: as lora, scaled by alpha / sqrt(rank) instead of alpha / rank: high ranks learn as fast as low ones."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped in training."""


class LoraPlus(LowRank):
    """LoRA whose second matrix learns faster."""

    kind: Literal["lora+"]
    """lora+: as lora, with a higher learning rate for the matrix that starts at zero."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped in training."""

    ratio: Annotated[float, Field(ge=1, le=1000)] = 16.0
    """How many times train.learning_rate the second matrix gets. 16 is the paper's (arXiv 2402.12354)."""


class Pissa(LowRank):
    """LoRA that starts from the principal part of each weight."""

    kind: Literal["pissa"]
    """pissa: starts from each weight's largest singular vectors; saved as a lora of twice the rank over the untouched base."""


class Olora(LowRank):
    """LoRA that starts from an orthonormal part of each weight."""

    kind: Literal["olora"]
    """olora: starts from a QR decomposition of each weight; saved as a lora of twice the rank over the untouched base."""


Adapter = Annotated[AutoAdapter | Full | Freeze | Lora | Qlora | Dora | Rslora | LoraPlus | Pissa | Olora, Discriminator("kind")]
