"""Plan of the stage serve: the engine's flags, from the spec, the machine and the exported model."""

from entrypoint.plan.device import check_device, show_unlike
from entrypoint.plan.handover import choose_handover
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.memory import GIB, serving_bytes_per_token
from entrypoint.plan.model_shape import ModelShape, max_positions, read_shape
from entrypoint.plan.step import make_step
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Decision, Plan
from schemas.serve_job import ServeJob
from schemas.spec import Spec

MEMORY_SHARE = 0.9
FALLBACK_LENGTH = 4096
CPU_CACHE_SHARE = 0.1
"""Share of the RAM that the key-value cache gets on a CPU, within the bounds below."""

CPU_CACHE_GIB = (1, 40)
DRAIN_SECONDS = 60
"""How long requests in flight may take to end after SIGTERM; Compose's grace period is longer."""


def plan_serve(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step that ends in the engine itself and seals nothing."""
    if spec.method.kind == "reward":
        raise UsageError(
            "serve: a reward model answers no question, and the endpoints for scores are not built yet in this version",
            f"load the folder below {spec.name}/exports with transformers' AutoModelForSequenceClassification",
        )
    check_device(facts)
    decisions: list[Decision] = [Decision(field="serve.engine", value="vllm", why="set in the spec" if spec.serve.engine else "the engine of this version")]
    decisions += show_unlike(facts)
    known = facts.models.get(spec.model.source)
    shape = read_shape(known.config) if known else None
    positions = max_positions(known.config) if known else None
    length = _length(spec, positions, decisions)
    arguments = ["--dtype", _dtype(facts, decisions), "--max-model-len", str(length)]
    arguments += ["--shutdown-timeout", str(DRAIN_SECONDS), "--disable-fastapi-docs", "--generation-config", "auto"]
    arguments += ["--seed", str(spec.train.seed)]
    cache = 0
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if facts.device == "cpu":
        arguments.append("--enforce-eager")
        decisions.append(Decision(field="eager mode", value="on", why="compiling needs a C++ compiler, which the image leaves out, and minutes at each start"))
        cache = int(min(max(facts.ram_gib * CPU_CACHE_SHARE, CPU_CACHE_GIB[0]), CPU_CACHE_GIB[1]))
        environment |= {"VLLM_CPU_KVCACHE_SPACE": str(cache), "OMP_NUM_THREADS": str(facts.cpu_cores)}
        decisions.append(_cache_decision(cache, shape, length))
    else:
        arguments += _gpu_arguments(spec, facts, shape, decisions)
    if spec.serve.promote == "manual":
        decisions.append(Decision(field="serve.promote", value="manual", why="set in the spec: a new export is served once `caisson promote` says so"))
    handover = choose_handover(spec, facts, shape, cache, spec.serve.memory_share or MEMORY_SHARE)
    decisions.append(handover)
    job = ServeJob(
        served_name=spec.name, arguments=tuple(arguments), parity=spec.serve.parity, handover=handover.value, keep=spec.serve.keep, on_cpu=facts.device == "cpu", drain_seconds=DRAIN_SECONDS
    )  # fmt: skip
    wanted = {"serve": spec.serve.model_dump(mode="json"), "name": spec.name}
    step = make_step(job, f"{spec.name} by vLLM", f"{spec.name}/served", facts, inputs, ("exported",), wanted, environment=environment)
    return Plan(name=spec.name, steps=(step,), decisions=tuple(decisions))


def passed_over(current: str, own: str) -> Decision:
    """What is served is another export than the spec's own."""
    return Decision(
        field="serve.export", value=current, why=f"it is current; the spec's own is {own}: `caisson promote SPEC {own.rpartition('/')[2]}` serves that"
    )


def _length(spec: Spec, positions: int | None, decisions: list[Decision]) -> int:
    wanted = spec.serve.max_length
    if wanted and positions and wanted > positions:
        raise UsageError(f"serve.max_length: {wanted} tokens, but the model has {positions} positions", f"write max_length: {positions} or less")
    value = wanted or positions or FALLBACK_LENGTH
    why = "set in the spec" if wanted else ("the model's positions" if positions else "assumed until the model's config is fetched")
    decisions.append(Decision(field="serve.max_length", value=str(value), why=why))
    return value


def _dtype(facts: Facts, decisions: list[Decision]) -> str:
    """vLLM refuses bfloat16 on a card without it instead of falling back."""
    if facts.accelerators and not facts.oldest.has_bf16:
        value, why = "float16", f"{facts.oldest.name} has no bf16"
    else:
        value, why = "bfloat16", "as exported"
    decisions.append(Decision(field="serve precision", value=value, why=why))
    return value


def _cache_decision(cache_gib: int, shape: ModelShape | None, length: int) -> Decision:
    why = "a tenth of the RAM, at least 1 GiB"
    if shape:
        tokens = int(cache_gib * GIB / serving_bytes_per_token(shape))
        why += f"; holds {tokens:,} tokens"
        if tokens < length:
            raise MachineError(
                f"serve.max_length: {length} tokens need more than the {cache_gib} GiB of cache that this machine allows",
                f"write serve.max_length: {tokens} or less",
            )
    return Decision(field="key-value cache", value=f"{cache_gib} GiB", why=why)


def _gpu_arguments(spec: Spec, facts: Facts, shape: ModelShape | None, decisions: list[Decision]) -> list[str]:
    share = spec.serve.memory_share or MEMORY_SHARE
    room = share * facts.smallest.memory_gib
    parallel = 1
    if shape:
        weights = 2.0 * shape.parameters / GIB
        # Half of the room for weights leaves as much for the cache; heads must divide evenly.
        while weights / parallel > room * 0.7 and parallel * 2 <= len(facts.accelerators) and shape.kv_heads % (parallel * 2) == 0:
            parallel *= 2
        if weights / parallel > room * 0.95:
            raise MachineError(
                f"serve: {weights:.1f} GiB of weights over {parallel} GPU(s) of {facts.smallest.memory_gib:.0f} GiB leave no room for a cache",
                "serve on more or larger GPUs",
            )
        decisions.append(
            Decision(
                field="tensor parallel",
                value=str(parallel),
                why=f"{weights / parallel:.1f} GiB of weights on each of {parallel} GPU(s), {room - weights / parallel:.1f} GiB left for the cache",
            )
        )
    decisions.append(
        Decision(
            field="serve.memory_share", value=f"{share:g}", why="set in the spec" if spec.serve.memory_share else "leaves a tenth for what else runs on the GPU"
        )
    )
    return ["--gpu-memory-utilization", f"{share:g}", "--tensor-parallel-size", str(parallel)]
