"""Floating-point operations, bytes and kernels of one token in training: forward pass, backward pass, recomputation."""

from dataclasses import dataclass

from entrypoint.plan.load import OWN_WEIGHTS, Load, recomputed_layers, trained_layers
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.tables import TIME


@dataclass(frozen=True)
class Pass:
    """Of a token, all layers."""

    products: float
    """Operations of matrix products with weights."""

    attention: float
    """Operations of attention's products, causal."""

    traffic: float
    """Bytes that everything else reads and writes."""

    kernels: float
    """Operations that start, whatever the number of tokens."""

    def __add__(self, other: "Pass") -> "Pass":
        return Pass(self.products + other.products, self.attention + other.attention, self.traffic + other.traffic, self.kernels + other.kernels)

    def __mul__(self, part: float) -> "Pass":
        return Pass(part * self.products, part * self.attention, part * self.traffic, part * self.kernels)


NOTHING = Pass(0, 0, 0, 0)


def forward(shape: ModelShape, load: Load) -> Pass:
    """Layers alone. Products: two operations a weight; attention: half of 4 x length x width, since it is causal."""
    products = 2.0 * shape.layers * shape.active_per_layer + (0 if load.adapter in OWN_WEIGHTS else 2.0 * shape.lora(load.rank))
    return Pass(products, _scores(shape, load), *_rest(shape, load, "forward", shape.layers))


def recomputed(shape: ModelShape, load: Load) -> Pass:
    """The forward pass of those layers once more."""
    return forward(shape, load) * (recomputed_layers(shape, load) / shape.layers)


def backward(shape: ModelShape, load: Load) -> Pass:
    """Layers alone. Gradients of activations, and of the weights that move; flash attention recomputes its scores: five products for two."""
    layers = trained_layers(shape, load)
    part = layers / shape.layers
    weights = 2.0 * layers * shape.active_per_layer if load.adapter in OWN_WEIGHTS else 4.0 * shape.lora(load.rank)
    return Pass(2.0 * layers * shape.active_per_layer + weights, 2.5 * part * _scores(shape, load), *_rest(shape, load, "backward", layers))


def head(shape: ModelShape, load: Load) -> Pass:
    """Output head and loss, both ways. In tiles the logits are made twice; a trained head wants a gradient too."""
    words = shape.vocabulary
    times = (3 if load.logits == "chunks" else 2) + (1 if load.adapter == "full" or load.tables else 0)
    if load.logits == "none":
        return NOTHING
    return Pass(2.0 * times * words * shape.hidden, 0.0, float(TIME["logits"][load.logits]) * words, 60)


def _scores(shape: ModelShape, load: Load) -> float:
    return 2.0 * shape.looked_at(load.seen) * shape.heads * shape.head_dim


def _rest(shape: ModelShape, load: Load, way: str, layers: int) -> tuple[float, float]:
    kind = ("own" if load.adapter in OWN_WEIGHTS else "adapter") + (", cast" if load.casts else "")
    widths = (shape.hidden, shape.intermediate, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim)
    rows = [TIME["layer"][kind], *([TIME["layer"]["head norms"]] if shape.head_norms else [])]
    traffic = sum(size * width for row in rows for size, width in zip(row[way], widths, strict=True))
    return float(layers * traffic), float(layers * sum(row["operations"][way == "backward"] for row in rows))
