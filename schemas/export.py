"""The section `export` of a spec."""

from typing import Literal

from schemas.base import Section


class Export(Section):
    """One form in which the tuned model is written."""

    kind: Literal["safetensors"]
    """safetensors: merged bf16 weights, tokenizer and training template in one folder that any engine loads."""
