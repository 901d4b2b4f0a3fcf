"""Bytes a token that a decoder layer keeps for its backward pass, and that the pass takes while it runs.

Counted in the operations that transformers, peft and torch really make of a layer (RMSNorm, rotary embedding, flash attention, gated MLP): every
tensor that autograd keeps, checked against all live tensors of the program's own step in bench/memory.
"""

from entrypoint.plan.counted_shape import CountedShape
from entrypoint.plan.load import OWN_WEIGHTS, Load
from entrypoint.plan.model_shape import ModelShape


def stream_bytes(shape: ModelShape, load: Load) -> int:
    """A token's residual stream between two layers, all that recomputation keeps of a layer: fp32 where fp32 embeddings begin it."""
    return shape.hidden * (4 if load.adapter == "full" and not load.by_deepspeed else load.width)


def layer_bytes(shape: ModelShape, load: Load) -> int:
    """Kept of one layer, a token; without what depends on a row's length."""
    if isinstance(shape, CountedShape) and not shape.plain:
        return seen_bytes(shape, load)
    gate = (2 if load.kernels == "liger" else 3) * load.width * shape.intermediate  # gate and up; torch also keeps what the activation made of the gate
    return _norms(shape, load) + _inputs(shape, load) + _attention(shape, load) + gate + _heads_norms(shape, load)


def seen_bytes(shape: CountedShape, load: Load) -> int:
    """The same of a layer of any other kind, on average over all: what autograd kept when its own code ran without values."""
    kept = shape.kept("full" if load.adapter in OWN_WEIGHTS else "adapter", "bf16" if load.width == 2 else "fp32")
    each = kept.bytes + kept.squared * load.length
    if load.padded:  # a mask wants keys and values of every head
        each += 2 * load.width * (shape.heads - shape.kv_heads) * shape.head_dim * shape.attention_layers / shape.layers
    if load.adapter not in OWN_WEIGHTS:
        each += load.width * (load.rank - 1) * shape.adapted / shape.layers
        if load.dropout:  # a mask of bytes, and its output
            each += (1 + load.width) * shape.adapted_inputs / shape.layers
    return round(each)


def _norms(shape: ModelShape, load: Load) -> int:
    """Two RMSNorms: the input in fp32 and a root; and what a trained scale multiplies. Liger keeps the input as it is."""
    if load.kernels == "liger":
        return 2 * (stream_bytes(shape, load) + 4)
    trained = load.adapter in OWN_WEIGHTS
    return 2 * (4 * shape.hidden + 4) + (2 * stream_bytes(shape, load) if trained else 0)


def _inputs(shape: ModelShape, load: Load) -> int:
    """Inputs of the seven linear maps, as what is trained on them keeps them. q, k, v share one; so do gate and up; o's is attention's output."""
    b, h, m, q = load.width, shape.hidden, shape.intermediate, shape.heads * shape.head_dim
    adapted = load.adapter not in OWN_WEIGHTS
    kept = b * m  # of down: the product of gate and up
    if load.casts:  # a copy in 16 bits for each
        kept += 5 * b * h + (b * q if adapted else 0)
    else:
        kept += 2 * b * h
    if adapted:
        kept += 7 * b * load.rank
        if load.dropout:  # a mask of bytes each; and its output where no copy is kept anyway
            kept += 5 * h + q + m + (0 if load.casts else b * (3 * h + q + m))
    return kept


def _attention(shape: ModelShape, load: Load) -> int:
    """q, k, v, the output, and a number of each head; rows side by side want keys and values of every head."""
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return load.width * (2 * q + 2 * (q if load.padded else kv)) + 4 * shape.heads


def _heads_norms(shape: ModelShape, load: Load) -> int:
    """Of models that norm each head of q and k, as Qwen3."""
    if not shape.head_norms:
        return 0
    wide = (shape.heads + shape.kv_heads) * shape.head_dim
    if load.kernels == "liger":
        return load.width * wide + 4 * (shape.heads + shape.kv_heads)
    return 4 * wide + 4 * (shape.heads + shape.kv_heads) + (load.width * wide if load.adapter in OWN_WEIGHTS else 0)


def mask_bytes(load: Load) -> int:
    """Of one layer: what attention adds to its scores where rows of unequal length lie side by side."""
    return load.width * load.micro_batch * load.sequences * load.length**2 if load.padded else 0


def scores_bytes(shape: ModelShape, load: Load) -> int:
    """Of one layer: attention's weights in fp32, which torch's plain kernel keeps. It is the one that GPUs without flash attention take where keys have
    fewer heads than queries; padded rows go through the memory-efficient one."""
    if load.flash or load.padded or shape.kv_heads == shape.heads:
        return 0
    return 4 * shape.heads * load.tokens * load.seen


def moving_scores(shape: ModelShape, load: Load) -> int:
    """Their gradient, before and behind the softmax: of rows of a pack one after the other, of others at once."""
    rows = 1 if load.row else load.micro_batch * load.sequences
    return 8 * shape.heads * rows * load.seen**2 if scores_bytes(shape, load) else 0


def moving_bytes(shape: ModelShape, load: Load) -> int:
    """A token, beside what is kept: gradients and copies at the widest place of a layer's backward pass, the MLP's last map.

    An adapter's input in fp32 and its gradient in 16 bits, and five vectors of the stream; weights of the model's own want two gradients of the MLP's width.
    """
    h, m = shape.hidden, shape.intermediate
    if load.kernels == "liger":  # norms and the gate go back in place
        if load.adapter in OWN_WEIGHTS:
            return load.width * (m + h) + 2 * stream_bytes(shape, load)
        return 6 * m + 6 * h if load.casts else load.width * (2 * m + 4 * h)
    if load.adapter in OWN_WEIGHTS:
        return 2 * load.width * m + 2 * stream_bytes(shape, load)
    if load.casts:
        return 6 * m + 10 * h
    return 2 * load.width * m + 5 * load.width * h
