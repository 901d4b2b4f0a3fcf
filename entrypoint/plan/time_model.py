"""Seconds of an optimizer step, by what they go to. Formulas and their check against measurements: docs/plan.md."""

from dataclasses import dataclass

from entrypoint.plan.load import GIB, OWN_WEIGHTS, SHARD_WEIGHTS, Load, recomputed_layers, trained_weights, trained_width
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.operations import Pass, backward, forward, head, recomputed
from entrypoint.plan.tables import TIME
from schemas.rates import Rates

MOMENT_TIMES = 28
"""Bytes a trained weight that AdamW reads and writes in fp32."""


@dataclass(frozen=True)
class Speed:
    """Of one optimizer step."""

    parts: dict[str, float]
    """Seconds by what they go to."""

    tokens: float
    """Of rows, over all processes; padding is none."""

    @property
    def seconds(self) -> float:
        """Of a step."""
        return sum(self.parts.values())

    @property
    def rate(self) -> float:
        """Tokens a second, all processes together."""
        return self.tokens / self.seconds


def step_speed(shape: ModelShape, load: Load, rates: Rates, accumulation: int, tokens: float, width: float) -> Speed:
    """`tokens` bear a step over all processes; `width` is the mean number of tokens that a row is computed as, padding with it."""
    there, again, back, loss = forward(shape, load), recomputed(shape, load), backward(shape, load), head(shape, load)
    at_once = max(1.0, load.micro_batch * load.sequences * width)
    whole = there + again + back + loss
    rate = 1e12 * _tflops(rates, load.precision)
    reach = _reach(shape.hidden, at_once, "gpu" if load.on_gpu else "cpu")
    memory = rates.memory_gib * GIB
    parts = {
        "matrix products": at_once * whole.products / (rate * reach),
        "attention": at_once * _attention(there + again, back, rate),
        "everything else": at_once * whole.traffic * _of_kernels("traffic", load) / memory,
        "weights": _weights_seconds(shape, load, memory),
    }
    busy = sum(parts.values())
    waiting = _waiting(busy, _launching(shape, load, there, back, loss) * rates.launch_us * 1e-6)
    if waiting > 0.01 * busy:
        parts["waiting for launches"] = waiting
    hidden = TIME["overlap"]["value"] * busy * (back.products + again.products) / max(1.0, whole.products)
    each, once = _collectives(shape, load, rates)
    parts["between processes"] = max(0.0, each - hidden)
    found = {name: seconds * accumulation for name, seconds in parts.items()}
    found["between processes"] += max(0.0, once - hidden)
    found["optimizer"] = _optimizer(shape, load, rates, memory)
    return Speed({name: seconds for name, seconds in found.items() if seconds}, tokens)


def _launching(shape: ModelShape, load: Load, there: Pass, back: Pass, loss: Pass) -> float:
    """Small operations' worth of time that the program needs to start what the GPU does; as many for one row as for many. Recomputation goes
    through Python for every tensor that is kept; a 4-bit map is a handful of calls where another is one."""
    table = TIME["launches"]
    reach = _of_kernels("launches", load)
    forth, backwards = table["four bits"] if load.adapter == "qlora" else (0, 0)
    started = reach * there.kernels + shape.layers * forth
    return float(
        started * (1 + table["recomputed"] * recomputed_layers(shape, load) / shape.layers) + reach * (back.kernels + loss.kernels) + shape.layers * backwards
    )


def _of_kernels(part: str, load: Load) -> float:
    """How much of what was counted in transformers' own code there is."""
    table, kind = TIME[part], "own" if load.adapter in OWN_WEIGHTS else "adapter"
    return float(table[kind] * (table["liger"][kind] if load.kernels == "liger" else 1.0))


def _waiting(busy: float, launches: float) -> float:
    """Seconds that a GPU stands idle. Where both take about as long neither is always ahead: the powers of both are added."""
    power = TIME["launches"]["power"]
    return float((busy**power + launches**power) ** (1 / power) - busy)


def _tflops(rates: Rates, precision: str) -> float:
    """Of the run's precision; where it was not measured the slowest that was."""
    found = [tflops for number, tflops in rates.matmul_tflops.items() if number == precision]
    return found[0] if found else min(rates.matmul_tflops.values())


def _reach(width: int, tokens: float, where: str) -> float:
    """Part of a large product's rate."""
    table = TIME["matmul"][where]
    return float(width / (width + table["half_width"]) * tokens / (tokens + table["half_tokens"]))


def _attention(there: Pass, back: Pass, rate: float) -> float:
    table = TIME["attention"]
    return float(there.attention / (rate * table["forward"]) + back.attention / (rate * table["backward"]))


def _weights_seconds(shape: ModelShape, load: Load, memory: float) -> float:
    """Of a micro-batch: casting trained weights and their gradients, or making 4-bit ones wide."""
    linear = shape.layers * shape.packed_per_layer
    passes = 2 + recomputed_layers(shape, load) / shape.layers
    if load.adapter == "qlora":
        table = TIME["dequantise"]
        return float(passes * table["bytes"] * linear / (memory * table["reach"]))
    if load.adapter in OWN_WEIGHTS and load.casts:
        return 6.0 * linear * passes / memory
    return 0.0


def _collectives(shape: ModelShape, load: Load, rates: Rates) -> tuple[float, float]:
    """Seconds of each micro-batch and of each step, at the bus bandwidth that nccl-tests count."""
    if load.ranks == 1:
        return 0.0, 0.0
    link = rates.collective_gib or TIME["between_processes_gib"]["value"]
    if load.nodes > 1:
        link = min(link, TIME["between_nodes_gib"]["value"])
    part = (load.ranks - 1) / load.ranks / (link * GIB)  # of a gather or a scatter; a sum is both
    moved, width = trained_weights(shape, load), trained_width(load)
    if load.strategy == "ddp":
        return 0.0, 2 * width * moved * part
    if load.strategy in SHARD_WEIGHTS:
        reduced = (4 if load.strategy == "fsdp" else load.width) * moved
        return (2 * load.width * shape.parameters + reduced) * part, 0.0
    return load.width * moved * part, load.width * moved * part


def _optimizer(shape: ModelShape, load: Load, rates: Rates, memory: float) -> float:
    """Of a step; an offloaded one waits for the host, and for gradients and weights on their way there and back."""
    mine = trained_weights(shape, load) / load.shards("optimizer")
    if load.offload == "none":
        return float(mine * TIME["optimizer_bytes"][load.optimizer] / memory)
    host = (rates.host_gib or TIME["host_gib"]["value"]) * GIB
    return float(mine * MOMENT_TIMES / (TIME["host_step_gib"]["value"] * GIB) + 2 * load.width * mine / host)
