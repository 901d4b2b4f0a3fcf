"""Several machines: what one of them needs to be a node."""

from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.spec import Spec

OVERLAY = "docker compose -f compose.yaml -f compose/nodes.yaml run --rm --no-deps train"


def check_nodes(spec: Spec, facts: Facts, decisions: list[Decision]) -> None:
    """Say where nodes meet. Raises MachineError where this one cannot reach any other."""
    nodes, rendezvous = spec.hardware.nodes, spec.hardware.rendezvous
    if nodes == 1 or rendezvous is None:
        return
    if not facts.network and not is_loopback(rendezvous):
        raise MachineError(f"hardware.nodes: {nodes} nodes speak over a network, and train has none here", f"run `{OVERLAY}`: docs/nodes.md")
    decisions.append(Decision(field="hardware.nodes", value=str(nodes), why=f"set in the spec; they meet at {rendezvous}", source="docs/nodes.md"))


def is_loopback(rendezvous: str) -> bool:
    """Whether all the nodes are on one machine, as in a rehearsal."""
    host = rendezvous.rpartition(":")[0]
    return host in ("localhost", "[::1]") or host.startswith("127.")
