"""The section `export` of a spec."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Section

EntryName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Rows = Annotated[int, Field(ge=8, le=100_000)]
GroupSize = Literal[32, 64, 128]


class Entry(Section):
    """One form in which the tuned model is written."""

    name: Auto[EntryName] = None
    """What `serve.export` calls this entry: lower-case letters, digits, dots and dashes. auto: its kind."""

    @property
    def called(self) -> str:
        """Its name, or its kind."""
        return self.name or str(getattr(self, "kind", ""))


class Safetensors(Entry):
    """The merged model in bf16."""

    kind: Literal["safetensors"]
    """safetensors: merged bf16 weights, tokenizer and training template in one folder that any engine loads."""

    merge_into: Auto[Literal["full", "nf4"]] = None
    """What a QLoRA adapter is merged into: the full-precision base, or the 4-bit weights that it was trained on, put back into bf16. auto: both
    are tried on the golden prompts, and the one that is closer to what was trained is kept."""


class AdapterOnly(Entry):
    """The adapter by itself."""

    kind: Literal["adapter"]
    """adapter: the trained adapter with tokenizer, template and golden answers, to be served on its base beside others; nothing is merged."""


class Fp8(Entry):
    """8-bit floating point weights and activations."""

    kind: Literal["fp8"]
    """fp8: weights and activations in 8-bit floating point, half the memory of bf16; needs no calibration. Fast from compute capability 8.9 on."""

    scheme: Literal["dynamic", "block"] = "dynamic"
    """dynamic: a scale for each output of a weight and each token. block: one for each 128 x 128 weights and each 128 inputs of a token."""


class Calibrated(Entry):
    """What a format with calibration has in common."""

    calibration_rows: Rows = 512
    """Training rows that the weights are fitted on. 512 is llm-compressor's own default; fewer where there are fewer."""

    calibration_length: Auto[Annotated[int, Field(ge=16, le=131_072)]] = None
    """Tokens of each of them at most. auto: 2,048, or the model's positions where those are fewer."""


class Int8(Calibrated):
    """8-bit integer weights and activations."""

    kind: Literal["int8"]
    """int8: weights and activations in 8-bit integers (W8A8), weights fitted on calibration rows. Half the memory of bf16, fast from capability 7.5 on."""


class Awq(Calibrated):
    """4-bit weights, scaled by what the activations use."""

    kind: Literal["awq"]
    """awq: 4-bit weights (W4A16), scaled so that what the activations use most is rounded least. A quarter of the memory of bf16."""

    group_size: Auto[GroupSize] = None
    """Weights that share a scale. auto: 128, or 64 or 32 where the model's widths are no multiples of it."""


class Gptq(Calibrated):
    """4-bit weights, each column corrected for the rounding of those before."""

    kind: Literal["gptq"]
    """gptq: 4-bit weights (W4A16), each rounded so that the layer's outputs on the calibration rows move least. A quarter of the memory of bf16."""

    group_size: Auto[GroupSize] = None
    """Weights that share a scale. auto: 128, or 64 or 32 where the model's widths are no multiples of it."""


Export = Annotated[Safetensors | AdapterOnly | Fp8 | Int8 | Awq | Gptq, Discriminator("kind")]


def _names_differ(entries: tuple[Export, ...]) -> tuple[Export, ...]:
    called = [entry.called for entry in entries]
    twice = next((name for at, name in enumerate(called) if name in called[:at]), None)
    if twice:
        raise PydanticCustomError("twice", "has two entries called {name}: give one of them a `name`", {"name": twice})
    return entries


Exports = Annotated[Many[Export], Field(min_length=1, max_length=16, json_schema_extra={"uniqueItems": True}), AfterValidator(_names_differ)]
