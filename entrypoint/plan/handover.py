"""How a new export takes over from the one that serves: beside it where memory holds both, else after it."""

from entrypoint.plan.load import GIB
from entrypoint.plan.model_shape import ModelShape
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.spec import Spec

ENGINE_GIB = 2.0
"""What an engine's processes take on a CPU beside weights and cache: vLLM with SmolLM2-135M and 1 GiB of cache was measured at 2.9 GiB."""

LEFT = 0.9
"""Share of the RAM that two engines may fill."""

HALF = 0.48
"""Of a GPU's memory: two engines with more do not fit, and each has its contexts outside of its share."""


def choose_handover(spec: Spec, facts: Facts, shape: ModelShape | None, cache_gib: float, memory_share: float) -> Decision:
    """`cache_gib` is a CPU engine's cache, `memory_share` what one engine takes of each GPU."""
    field = "serve.handover"
    if spec.serve.handover:
        return Decision(field=field, value=spec.serve.handover, why="set in the spec")
    if facts.accelerators:
        value = "overlap" if memory_share <= HALF else "restart"
        fits = "two engines fit" if value == "overlap" else "a second engine does not fit: the old one stops first, and comes back if the new one fails"
        return Decision(field=field, value=value, why=f"one engine takes {memory_share:.0%} of each GPU; {fits}")
    if shape is None:
        return Decision(field=field, value="restart", why="assumed until the model's config is fetched")
    both = 2 * (2.0 * shape.parameters / GIB + cache_gib + ENGINE_GIB)
    value = "overlap" if both <= LEFT * facts.ram_gib else "restart"
    return Decision(field=field, value=value, why=f"two engines take about {both:.1f} of {facts.ram_gib:.1f} GiB RAM")
