"""Whether rows are packed, and into packs of how many tokens."""

import math
from collections.abc import Mapping
from typing import Any

from entrypoint.plan.batch import Rows, step_tokens
from schemas.errors import UsageError, shown
from schemas.facts import Facts
from schemas.packs import place
from schemas.plan import Decision
from schemas.spec import Spec

PACK = 4096
"""Tokens of an automatic pack at most, where no row is longer: enough to fill a GPU, few enough that a step holds several."""

PACKS_PER_STEP = 4
"""At least, in an automatic pack's measure: a step over several processes needs one for each."""

SEEN_BY_ATTENTION = ("full_attention", "sliding_attention")
"""Kinds of layers that look at other tokens through attention alone."""


def pack_rows(spec: Spec, facts: Facts, rows: Rows, decisions: list[Decision]) -> Rows:
    """The rows as packs, or as they are where they are not packed."""
    known = facts.models.get(spec.model.source)
    against = _against(spec, known.config if known else {})
    if spec.data.packing and against:
        raise UsageError(f"data.packing: {against}", "write packing: false")
    wanted = spec.data.packing if spec.data.packing is not None else spec.data.pack_length is not None or None
    if wanted is None:
        wanted, why = not against, against or "no time is spent on padding"
    else:
        why = "set in the spec"
    if not wanted:
        decisions.append(Decision(field="data.packing", value="false", why=why))
        return rows
    size, how = _size(spec, rows)
    decisions.append(Decision(field="data.packing", value=f"packs of {size:,} tokens", why=f"{why}; {how}"))
    if rows.count is None:
        return Rows(None, float(size), size, assumed=True, pack=size, streamed=rows.streamed, inside=min(size, rows.longest))
    lengths, counts = zip(*rows.sizes, strict=True) if rows.sizes else ((), ())
    packs = place(lengths, counts, size).count if rows.sizes else math.ceil(rows.count * rows.mean / size)
    return Rows(packs, rows.count * rows.mean / packs, size, assumed=False, pack=size, inside=min(size, rows.longest))


def _size(spec: Spec, rows: Rows) -> tuple[int, str]:
    """Tokens of a pack, and why."""
    wanted = spec.data.pack_length
    if wanted is not None:
        if not rows.assumed and rows.longest > wanted:
            raise UsageError(
                f"data.pack_length: a row has {rows.longest} tokens, a pack only {wanted}",
                f"write pack_length: {rows.longest} or more, or max_length: {wanted} with too_long: drop",
            )
        return wanted, "set in the spec"
    room = min(PACK, step_tokens(spec, rows)[0] // PACKS_PER_STEP)
    if rows.longest >= room:
        return rows.longest, "the longest row" + (", assumed until prepare has counted them" if rows.assumed else "")
    return room, f"{PACK:,}, or a step's tokens over {PACKS_PER_STEP}; the longest row has {rows.longest:,}"


def _against(spec: Spec, config: Mapping[str, Any]) -> str:
    """Why rows cannot be packed; empty where they can."""
    if spec.method.rows != "text":
        return f"{spec.method.kind} compares whole answers, whose rows are not packed"
    if spec.method.kind == "distil":
        return "distil's trainer hands the models no places, by which packed rows are told apart"
    if spec.train.group_by_length:
        return "train.group_by_length deals out rows of like length, packs are of one length anyway"
    inner = config.get("text_config")
    config = inner if inner and isinstance(inner, dict) else config
    layers = config.get("layer_types")
    other = [kind for kind in layers if kind not in SEEN_BY_ATTENTION] if isinstance(layers, list) else []
    if other:
        return f"the model has layers of {shown(str(other[0]))}, which carry a state from row to row"
    if config.get("attn_logit_softcapping") or config.get("model_type") == "gpt_oss":
        return "the model caps or biases its attention, which packed rows have no kernel for"
    return ""
