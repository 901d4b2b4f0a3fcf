"""4-bit weights as QLoRA trains on them, put back into bf16."""

from typing import Any

NF4 = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
"""transformers' settings of it, as train sets them."""


def through_nf4(tensor: Any, compute: Any, transposed: bool = False) -> Any:
    """What training saw of a weight: rounded to `compute`, held in NF4 with double quantisation, and put back; fp32."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Params4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    given = tensor.to(compute)
    given = given.T.contiguous() if transposed else given
    held = Params4bit(given, requires_grad=False, compress_statistics=True, quant_type="nf4").to(device)
    back = dequantize_4bit(held.data, held.quant_state).float().cpu()
    return back.T.contiguous() if transposed else back
