"""Attention over packed rows: each row sees itself alone, whatever lies beside it.

Packed rows are one sequence of all their tokens; `cu_seq_lens_q` says where each begins, the name that transformers gives it. Where a GPU has
flash attention, torch's own `torch.nn.attention.varlen` computes all rows at once; elsewhere each row goes through the same function
as an unpacked one.
"""

import inspect
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from schemas.errors import GateRefused

NAME = "packed"
"""Under which transformers knows it: `attn_implementation="packed"`."""

FLASH_SINCE = (8, 0)
"""Compute capability of flash attention in torch (Ampere)."""

FLASH_HEAD = 256
"""Its largest head."""

DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Relative norm by which a token's logits may differ from those of its row alone: some ten times what sums in another order make."""


def register() -> None:
    """Make the name known to transformers; harmless when repeated."""
    AttentionInterface.register(NAME, packed_attention)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention as transformers calls it: query (1, heads, tokens, head size), the result (1, tokens, heads, head size).

    `cu_seq_lens_q` is int32 of shape (rows + 1,): where each row begins, and the number of tokens; without it all tokens are one row.
    """
    if softcap is not None or s_aux is not None or position_bias is not None:
        raise GateRefused(f"{type(module).__name__} caps or biases its attention, which packed rows have no kernel for", "write data.packing: false")
    if cu_seq_lens_q is None:
        cu_seq_lens_q = torch.tensor([0, query.shape[2]], dtype=torch.int32, device=query.device)
        max_length_q = query.shape[2]
    window = sliding_window if sliding_window and sliding_window < (max_length_q or query.shape[2]) else None
    if query.dtype == torch.float32 and torch.is_autocast_enabled(query.device.type):  # rotary embeddings of full weights leave fp32 behind
        query, key, value = (x.to(torch.get_autocast_dtype(x.device.type)) for x in (query, key, value))
    if _has_flash(query) and not dropout:
        return _all_at_once(query, key, value, cu_seq_lens_q, max_length_q or query.shape[2], scaling, window), None
    parts = []
    ends = cu_seq_lens_q.tolist()
    for start, end in pairwise(ends):
        q, k, v = (x[:, :, start:end] for x in (query, key, value))
        if window and end - start > window:
            parts.append(_banded(q, k, v, window, scaling, dropout))
        else:
            parts.append(sdpa_attention_forward(module, q, k, v, None, dropout=dropout, scaling=scaling, is_causal=True)[0])
    return torch.cat(parts, dim=1), None


def _has_flash(query: torch.Tensor) -> bool:
    size = query.shape[-1]
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and size <= FLASH_HEAD
        and size % 8 == 0
        and torch.cuda.get_device_capability(query.device) >= FLASH_SINCE
    )


def _all_at_once(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, starts: torch.Tensor, longest: int, scaling: float | None, window: int | None
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    options: dict[str, Any] = {"scale": scaling, "window_size": (window - 1 if window else -1, 0)}
    known = inspect.signature(varlen_attn).parameters
    if "window_size" not in known:  # torch 2.10
        if window:
            raise GateRefused("this torch has no sliding window in its packed attention", "write data.packing: false")
        options = {"scale": scaling, "is_causal": True}
    if key.shape[1] != query.shape[1]:
        if "enable_gqa" in known:
            options["enable_gqa"] = True
        else:
            key, value = (repeat_kv(x, query.shape[1] // x.shape[1]) for x in (key, value))
    found: torch.Tensor = varlen_attn(*(x[0].transpose(0, 1).contiguous() for x in (query, key, value)), starts, starts, longest, longest, **options)
    return found.unsqueeze(0)


def _banded(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int, scaling: float | None, dropout: float) -> torch.Tensor:
    """One row that is longer than the window: each token sees itself and `window - 1` before it."""
    places = torch.arange(query.shape[2], device=query.device)
    behind = places[:, None] - places[None, :]
    seen = (behind >= 0) & (behind < window)
    key, value = (repeat_kv(x, query.shape[1] // x.shape[1]) for x in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout, scale=scaling).transpose(1, 2)


def prove(model: Any) -> None:
    """Raise GateRefused unless two rows in one pack give the logits of each alone: a layer that carries a state from token to token does not."""
    if not getattr(model, "_supports_attention_backend", True):
        raise GateRefused(f"{type(model).__name__} takes no attention but its own, so its rows cannot be packed", "write data.packing: false")
    rows = [torch.arange(1, 1 + size, device=model.device).unsqueeze(0) * 7 % model.config.get_text_config().vocab_size for size in (11, 6)]
    training = model.training
    model.eval()
    with torch.no_grad():
        alone = torch.cat([model(input_ids=row, use_cache=False).logits for row in rows], dim=1).float()
        packed = model(input_ids=torch.cat(rows, dim=1), use_cache=False, **places([row.shape[1] for row in rows], model.device)).logits.float()
    model.train(training)
    difference = float(((packed - alone).norm(dim=-1) / alone.norm(dim=-1)).max())
    if not difference <= DIFFERENCE.get(model.dtype, max(DIFFERENCE.values())):
        raise GateRefused(
            f"{type(model).__name__} answers otherwise when rows are packed (by {difference:.1%}): they are not kept apart",
            "write data.packing: false",
        )


def places(lengths: list[int], device: Any = None) -> dict[str, Any]:
    """What tells packed rows of these lengths apart: position_ids int64 (1, tokens), starting anew in each row, and where rows begin."""
    ends = torch.cumsum(torch.tensor([0, *lengths]), dim=0, dtype=torch.int32).to(device)
    longest = max(lengths)
    return {
        "position_ids": torch.cat([torch.arange(size) for size in lengths]).unsqueeze(0).to(device),
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends,
        "max_length_q": longest,
        "max_length_k": longest,
    }
