"""How keys and values are kept: what an engine has for a machine."""

from entrypoint.plan.engine_choice import Choice
from entrypoint.plan.model_shape import ModelShape
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.serve import CacheType, Serve

HAVE: dict[tuple[str, str | None], tuple[CacheType, ...]] = {
    ("vllm", None): ("bf16", "fp8", "int8", "int4"),
    ("lmdeploy", "turbomind"): ("bf16", "int8", "int4"),
    ("lmdeploy", "pytorch"): ("bf16", "fp8", "int8", "int4"),
}
"""supported_kv_cache_dtypes of vLLM's attention back ends; QuantPolicy and the checks of both configs in lmdeploy/messages.py."""

ON_CPU: tuple[CacheType, ...] = ("bf16", "fp8")
"""vllm/v1/attention/backends/cpu_attn.py."""

FP8_FROM = {"vllm": (8, 0), "lmdeploy": (8, 9)}
"""Compute capability. vLLM: FlashInfer reads fp8 from 8.0 on, FlashAttention from 9.0. LMDeploy: triton has the type e4m3 from 8.9 on."""


def decide_cache(serve: Serve, choice: Choice, facts: Facts, shape: ModelShape | None, decisions: list[Decision]) -> CacheType | None:
    """The spec's wish, None for the type of the weights. Raises UsageError where the engine lacks it, MachineError where the machine does."""
    wanted = serve.kv_cache
    if wanted is None:
        return None
    have = ON_CPU if facts.device == "cpu" else HAVE[choice.engine, choice.backend]
    if wanted not in have:
        if facts.device == "cpu":
            raise MachineError(f"serve.kv_cache: {choice.name} has no {wanted} cache on a CPU", f"write one of {', '.join(have)}, or auto")
        other = "; engine: vllm has it" if choice.engine == "lmdeploy" else ""
        raise UsageError(f"serve.kv_cache: {choice.place} has no {wanted} cache", f"write one of {', '.join(have)}, or auto{other}")
    if facts.device == "cpu" and wanted == "fp8":
        _check_cpu(facts, shape)
    if facts.accelerators:
        least = FP8_FROM[choice.engine]
        if wanted == "bf16" and not facts.oldest.has_bf16:
            raise MachineError(f"serve.kv_cache: {facts.oldest.name} has no bf16", "write kv_cache: int8 or auto")
        if wanted == "fp8" and facts.oldest.generation < least:
            raise MachineError(
                f"serve.kv_cache: fp8 needs compute capability {least[0]}.{least[1]} with {choice.name}; "
                f"{facts.oldest.name} has {facts.oldest.compute_capability}",
                "write kv_cache: int8 or auto",
            )
    decisions.append(Decision(field="serve.kv_cache", value=wanted, why="set in the spec"))
    return wanted


def _check_cpu(facts: Facts, shape: ModelShape | None) -> None:
    """vllm/v1/attention/backends/cpu_attn.py, _get_attn_isa: it would end while it loads."""
    if facts.avx512 is False:
        raise MachineError("serve.kv_cache: fp8 on a CPU needs AVX-512 or AMX, and this one has neither", "write kv_cache: auto")
    if shape and shape.head_dim % 32:
        raise UsageError(f"serve.kv_cache: fp8 on a CPU needs heads of a multiple of 32, and the model's have {shape.head_dim}", "write kv_cache: auto")
