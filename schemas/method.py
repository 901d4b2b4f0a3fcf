"""Section `method`: what is optimised."""

from typing import ClassVar, Literal

from schemas.base import Section

RowKind = Literal["text", "pair", "labelled"]
"""What a prepared row is: docs/decisions/007."""

LossOn = Literal["assistant", "last", "all", "weight"]


class Sft(Section):
    """Supervised fine-tuning on conversations."""

    rows: ClassVar[RowKind] = "text"

    kind: Literal["sft"]
    """Supervised fine-tuning."""

    loss_on: LossOn = "assistant"
    """Which tokens are learned: the assistant's turns with their end-of-turn token, the last of them, every token, or the assistant's turns but those whose
    message has `weight: 0`."""


Method = Sft
"""The one method of this version; a union tagged by `kind` as soon as there are two."""
