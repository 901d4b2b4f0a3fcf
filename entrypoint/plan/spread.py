"""How a served model is spread over GPUs and nodes."""

from dataclasses import dataclass

from entrypoint.plan.engine_choice import Choice
from entrypoint.plan.load import GIB
from entrypoint.plan.model_shape import ModelShape
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.serve import Serve


@dataclass(frozen=True)
class Spread:
    """GPUs that share each layer, groups that share the layers, machines."""

    tensor: int = 1
    pipeline: int = 1
    nodes: int = 1
    node: int = 0
    """Which of the nodes this is."""

    master: tuple[str, int] | None = None
    """Host and port of node 0."""

    weights_gib: float | None = None
    """On each GPU; None where the model's shape is not known."""


def decide_spread(serve: Serve, choice: Choice, facts: Facts, shape: ModelShape | None, share: float, decisions: list[Decision]) -> Spread:
    """As few GPUs as hold the weights and a cache, or what the spec says. Raises UsageError for what the engine or the model cannot be cut
    into, MachineError for what this machine does not have."""
    _refuse_cpu(serve, facts)
    nodes, master = _nodes(serve, choice, facts, decisions)
    if facts.device == "cpu":
        return Spread()
    per_node = len(facts.accelerators)
    pipeline = _pipeline(serve, choice, shape, nodes, decisions)
    weights = 2.0 * shape.parameters / GIB if shape else None
    room = share * facts.smallest.memory_gib
    tensor = serve.tensor_parallel or (per_node * nodes // pipeline if nodes > 1 else _fewest(shape, weights, room, per_node // pipeline, choice))
    if tensor > 1:
        _check_tensor(tensor, choice, shape)
    needed = tensor * pipeline
    if needed > per_node * nodes:
        where = f"{per_node} GPU(s)" if nodes == 1 else f"{nodes} nodes of {per_node} GPU(s)"
        raise MachineError(f"serve: tensor_parallel {tensor} x pipeline_parallel {pipeline} are {needed} GPUs, and there are {where}", "write less, or auto")
    if needed % nodes:
        raise UsageError(
            f"serve.nodes: {needed} GPUs cannot be dealt evenly to {nodes} nodes", f"make tensor_parallel x pipeline_parallel a multiple of {nodes}"
        )
    each = weights / needed if weights is not None else None
    if each is not None:
        if each > room * 0.95:
            raise MachineError(
                f"serve: {weights:.1f} GiB of weights over {needed} GPU(s) of {facts.smallest.memory_gib:.0f} GiB leave no room for a cache",
                "serve on more or larger GPUs",
            )
        why = f"{each:.1f} GiB of weights on each of {needed} GPU(s), {room - each:.1f} GiB left for the cache"
        decisions.append(Decision(field="serve.tensor_parallel", value=str(tensor), why=f"set in the spec; {why}" if serve.tensor_parallel else why))
    elif serve.tensor_parallel:
        decisions.append(Decision(field="serve.tensor_parallel", value=str(tensor), why="set in the spec"))
    return Spread(tensor, pipeline, nodes, facts.node if nodes > 1 else 0, master, each)


def _refuse_cpu(serve: Serve, facts: Facts) -> None:
    if facts.device == "cuda":
        return
    for field, value in (("tensor_parallel", serve.tensor_parallel), ("pipeline_parallel", serve.pipeline_parallel), ("nodes", serve.nodes)):
        if (value or 1) > 1:
            raise MachineError(f"serve.{field}: {value} is for GPUs, and this is a CPU", f"write {field}: 1, or set ACCELERATOR=cuda on a machine with GPUs")


def _nodes(serve: Serve, choice: Choice, facts: Facts, decisions: list[Decision]) -> tuple[int, tuple[str, int] | None]:
    if serve.nodes == 1 or serve.master is None:
        return 1, None
    if choice.backend == "pytorch":
        raise UsageError(f"serve.nodes: {choice.place} spreads copies over nodes, not one model", "write backend: turbomind, or engine: vllm")
    if facts.node >= serve.nodes:
        raise MachineError(
            f"serve.nodes: this is node {facts.node} of {serve.nodes}, counted from 0", "set NODE_RANK to 0 on the first node, 1 on the second, and so on"
        )
    host, _, port = serve.master.rpartition(":")
    decisions.append(Decision(field="serve.nodes", value=str(serve.nodes), why=f"set in the spec; this is node {facts.node}, they meet at {serve.master}"))
    return serve.nodes, (host, int(port))


def _pipeline(serve: Serve, choice: Choice, shape: ModelShape | None, nodes: int, decisions: list[Decision]) -> int:
    wanted = serve.pipeline_parallel
    if choice.engine == "lmdeploy":
        if (wanted or 1) > 1:
            raise UsageError(f"serve.pipeline_parallel: {choice.name} has none", "write tensor_parallel instead, or engine: vllm")
        return 1
    if wanted is None and nodes == 1:
        return 1
    value = wanted or nodes
    if shape and value > shape.layers:
        raise UsageError(f"serve.pipeline_parallel: {value} parts, but the model has {shape.layers} layers", f"write {shape.layers} or less")
    why = "set in the spec" if wanted else "one part a node: what goes between nodes is one layer's output"
    decisions.append(Decision(field="serve.pipeline_parallel", value=str(value), why=why))
    return value


def _check_tensor(tensor: int, choice: Choice, shape: ModelShape | None) -> None:
    if choice.engine == "lmdeploy" and tensor & (tensor - 1):
        raise UsageError(f"serve.tensor_parallel: {choice.name} takes powers of two, not {tensor}", "write 1, 2, 4, 8, ..., or engine: vllm")
    if shape and shape.heads % tensor:
        fitting = ", ".join(str(n) for n in range(1, min(shape.heads, 64) + 1) if shape.heads % n == 0)
        raise UsageError(f"serve.tensor_parallel: the model's {shape.heads} attention heads cannot be dealt to {tensor} GPUs", f"write one of {fitting}")


def _fewest(shape: ModelShape | None, weights: float | None, room: float, available: int, choice: Choice) -> int:
    """Doubled while weights take more than seven tenths of the room, which leaves as much again for the cache; heads must divide evenly. vLLM gives GPUs that are
    more than the heads of keys copies of one."""
    tensor = 1
    if shape and weights is not None:
        while weights / tensor > room * 0.7 and tensor * 2 <= available and shape.heads % (tensor * 2) == 0:
            copies = choice.engine == "vllm" and tensor * 2 % shape.kv_heads == 0
            if shape.kv_heads % (tensor * 2) and not copies:
                break
            tensor *= 2
    return tensor
