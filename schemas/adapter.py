"""Section `adapter`: which weights move."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from schemas.base import Auto, Many, Section


class AutoAdapter(Section):
    """The plan chooses between LoRA and QLoRA by memory."""

    kind: Literal["auto"] = "auto"
    """auto: LoRA where the weights fit in 16 bits, QLoRA where only 4-bit weights fit."""


class Full(Section):
    """Every weight is trained."""

    kind: Literal["full"]
    """full: every weight is trained and saved."""


class Lora(Section):
    """Low-rank matrices beside frozen weights."""

    kind: Literal["lora"]
    """lora: two thin matrices beside each target layer are trained, the base stays as it is."""

    rank: Auto[Annotated[int, Field(ge=1, le=512)]] = None
    """Width of the added matrices; memory and capacity grow with it. auto: 16."""

    alpha: Auto[Annotated[float, Field(gt=0, le=4096)]] = None
    """Scale of the update. auto: twice the rank."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped in training."""

    targets: Auto[Annotated[Many[str], Field(min_length=1)]] = None
    """Names of the linear layers that get an adapter. auto: every linear layer but the output head."""


class Qlora(Lora):
    """LoRA over a base held in 4-bit NF4 with double quantisation."""

    kind: Literal["qlora"]  # type: ignore[assignment]
    """qlora: as lora, with the frozen base in 4 bits: a quarter of the memory, somewhat slower."""


Adapter = Annotated[AutoAdapter | Full | Lora | Qlora, Discriminator("kind")]
