"""What vLLM is told: its flags and environment. They are those of version 0.32.0: tests/entrypoint/plan/test_engine_parsers.py asks its own parser."""

import json
from typing import Any

from entrypoint.plan.host_memory import serving_bytes_per_token
from entrypoint.plan.load import GIB
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.serving import Serving
from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.serve import CacheType, Lookup, Speculative

FLAGS = {
    "dtype": "--dtype",
    "length": "--max-model-len",
    "drain": "--shutdown-timeout",
    "docs off": "--disable-fastapi-docs",
    "generation config": "--generation-config",
    "generation": "--override-generation-config",
    "seed": "--seed",
    "prefix on": "--enable-prefix-caching",
    "prefix off": "--no-enable-prefix-caching",
    "eager": "--enforce-eager",
    "memory": "--gpu-memory-utilization",
    "tensor": "--tensor-parallel-size",
    "pipeline": "--pipeline-parallel-size",
    "nodes": "--nnodes",
    "node": "--node-rank",
    "master host": "--master-addr",
    "master port": "--master-port",
    "cache": "--kv-cache-dtype",
    "running": "--max-num-seqs",
    "tools on": "--enable-auto-tool-choice",
    "tools": "--tool-call-parser",
    "reasoning": "--reasoning-parser",
    "structured": "--structured-outputs-config",
    "speculative": "--speculative-config",
    "lora": "--enable-lora",
    "lora rank": "--max-lora-rank",
    "lora at once": "--max-loras",
    "lora in memory": "--max-cpu-loras",
}
"""By what they say."""

CACHE_TYPES: dict[CacheType, str] = {"bf16": "auto", "fp8": "fp8", "int8": "int8_per_token_head", "int4": "int4_per_token_head"}
"""auto is the type of the weights; a bf16 asked for by name is refused for models that have it anyway."""

CPU_CACHE_SHARE = 0.1
"""Share of the RAM that the key-value cache gets on a CPU, within the bounds below."""

CPU_CACHE_GIB = (1, 40)
LORA_AT_ONCE = 8
"""Adapters in one batch at most: each holds room for the largest rank on the GPU."""

LORA_SPARE = 8
"""Places in the host's memory for adapters that are loaded while it serves."""


def vllm_arguments(serving: Serving) -> list[str]:
    """The command line without address, model and key."""
    found = [FLAGS["dtype"], "bfloat16" if serving.has_bf16 else "float16", FLAGS["length"], str(serving.length)]
    found += [FLAGS["drain"], str(serving.drain_seconds), FLAGS["docs off"], FLAGS["generation config"], "auto", FLAGS["seed"], str(serving.seed)]
    found.append(FLAGS["prefix on" if serving.prefix_caching else "prefix off"])
    if serving.cache:
        found += [FLAGS["cache"], CACHE_TYPES[serving.cache]]
    if serving.running:
        found += [FLAGS["running"], str(serving.running)]
    if serving.tool_parser:
        found += [FLAGS["tools on"], FLAGS["tools"], serving.tool_parser]
    if serving.reasoning_parser:
        found += [FLAGS["reasoning"], serving.reasoning_parser]
    if serving.structured_output:
        found += [FLAGS["structured"], _json({"backend": serving.structured_output})]
    if serving.generation:
        found += [FLAGS["generation"], _json(serving.generation)]
    if serving.speculative:
        found += [FLAGS["speculative"], _json(_speculative(serving.speculative))]
    if serving.adapters:
        count = len(serving.adapters)
        found += [FLAGS["lora"], FLAGS["lora rank"], str(serving.rank), FLAGS["lora at once"], str(min(count, LORA_AT_ONCE))]
        found += [FLAGS["lora in memory"], str(count + LORA_SPARE)]
    return found + (_gpu_arguments(serving) if serving.on_gpu else [FLAGS["eager"]])


def vllm_environment(facts: Facts, serving: Serving, shape: ModelShape | None, decisions: list[Decision]) -> dict[str, str]:
    """Offline and silent; on a CPU the cache's size and the threads. Raises MachineError where one conversation would not fit."""
    found = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if serving.adapters:
        found["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"  # the endpoint that the door keeps shut but for the supervisor's own key
    if serving.on_gpu:
        return found
    decisions.append(Decision(field="eager mode", value="on", why="compiling needs a C++ compiler, which the image leaves out, and minutes at each start"))
    gib = cpu_cache_gib(facts)
    decisions.append(_cpu_cache(gib, shape, serving))
    return found | {"VLLM_CPU_KVCACHE_SPACE": str(gib), "OMP_NUM_THREADS": str(facts.cpu_cores)}


def cpu_cache_gib(facts: Facts) -> int:
    """Of a server on a CPU."""
    return int(min(max(facts.ram_gib * CPU_CACHE_SHARE, CPU_CACHE_GIB[0]), CPU_CACHE_GIB[1]))


def _gpu_arguments(serving: Serving) -> list[str]:
    spread = serving.spread
    found = [FLAGS["memory"], f"{serving.memory_share:g}", FLAGS["tensor"], str(spread.tensor)]
    if spread.pipeline > 1:
        found += [FLAGS["pipeline"], str(spread.pipeline)]
    if spread.master:
        host, port = spread.master
        found += [FLAGS["nodes"], str(spread.nodes), FLAGS["node"], str(spread.node), FLAGS["master host"], host, FLAGS["master port"], str(port)]
    return found


def _speculative(wanted: Speculative) -> dict[str, Any]:
    if isinstance(wanted, Lookup):
        return {"method": "ngram", "num_speculative_tokens": wanted.tokens, "prompt_lookup_max": wanted.longest, "prompt_lookup_min": wanted.shortest}
    method = "draft_model" if wanted.kind == "draft" else wanted.kind
    return {"method": method, "model": wanted.model, "num_speculative_tokens": wanted.tokens}


def _cpu_cache(gib: int, shape: ModelShape | None, serving: Serving) -> Decision:
    why = "a tenth of the RAM, at least 1 GiB"
    if shape and shape.attention_layers:
        tokens = int(gib * GIB / serving_bytes_per_token(shape, serving.cache))
        why += f"; holds {tokens:,} tokens"
        if tokens < serving.length:
            raise MachineError(
                f"serve.max_length: {serving.length} tokens need more than the {gib} GiB of cache that this machine allows",
                f"write serve.max_length: {tokens} or less",
            )
    return Decision(field="key-value cache", value=f"{gib} GiB", why=why)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
