"""What LMDeploy is told: its flags and environment. They are those of version 0.18.0: tests/data/parsers/lmdeploy.json is what its parser takes."""

from entrypoint.plan.serving import Serving
from schemas.plan import Decision
from schemas.serve import CacheType, Drafted

FLAGS = {
    "backend": "--backend",
    "template": "--chat-template",
    "log-probabilities": "--logprobs-mode",
    "dtype": "--dtype",
    "length": "--session-len",
    "docs off": "--disable-fastapi-docs",
    "log level": "--log-level",
    "log length": "--max-log-len",
    "cache share": "--cache-max-entry-count",
    "tensor": "--tp",
    "nodes": "--nnodes",
    "node": "--node-rank",
    "master": "--dist-init-addr",
    "cache": "--quant-policy",
    "prefix on": "--enable-prefix-caching",
    "running": "--max-batch-size",
    "tools": "--tool-call-parser",
    "reasoning": "--reasoning-parser",
    "speculative": "--speculative-algorithm",
    "draft": "--speculative-draft-model",
    "draft tokens": "--speculative-num-draft-tokens",
}
"""By what they say; generation config and adapters are folders, which the leaf knows."""

CACHE_TYPES: dict[CacheType, str] = {"bf16": "none", "fp8": "fp8", "int8": "int8", "int4": "int4"}

MARGIN = 0.02
"""Of a GPU's memory, beside what the spec leaves: activations and graphs come out of what the cache does not take."""


def lmdeploy_arguments(serving: Serving, decisions: list[Decision]) -> list[str]:
    """The command line without address, model and key."""
    assert serving.choice.backend
    # Without a name it would look for a template of its own by the folder's path before it takes the model's. Prompts stay out of its log.
    found = [FLAGS["backend"], serving.choice.backend, FLAGS["template"], "hf", FLAGS["docs off"], FLAGS["log level"], "WARNING", FLAGS["log length"], "0"]
    found += [FLAGS["dtype"], "bfloat16" if serving.has_bf16 else "float16", FLAGS["length"], str(serving.length)]
    found += [FLAGS["cache share"], _cache_share(serving, decisions), FLAGS["tensor"], str(serving.spread.tensor)]
    if serving.choice.backend == "pytorch":
        found += [FLAGS["log-probabilities"], "raw_logprobs"]  # it gives none without
    if serving.spread.master:
        host, port = serving.spread.master
        found += [FLAGS["nodes"], str(serving.spread.nodes), FLAGS["node"], str(serving.spread.node), FLAGS["master"], f"{host}:{port}"]
    if serving.cache:
        found += [FLAGS["cache"], CACHE_TYPES[serving.cache]]
    if serving.prefix_caching:
        found.append(FLAGS["prefix on"])
    if serving.running:
        found += [FLAGS["running"], str(serving.running)]
    if serving.tool_parser:
        found += [FLAGS["tools"], serving.tool_parser]
    if serving.reasoning_parser:
        found += [FLAGS["reasoning"], serving.reasoning_parser]
    if isinstance(serving.speculative, Drafted):
        found += [FLAGS["speculative"], serving.speculative.kind, FLAGS["draft"], serving.speculative.model]
        found += [FLAGS["draft tokens"], str(serving.speculative.tokens)]
    return found


def lmdeploy_environment() -> dict[str, str]:
    """Offline and silent."""
    return {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def _cache_share(serving: Serving, decisions: list[Decision]) -> str:
    """LMDeploy counts a share of what the weights leave free, the spec one of the whole: the same bytes, said in its way."""
    whole, weights = serving.memory_gib, serving.spread.weights_gib
    share = serving.memory_share
    why = "serve.memory_share itself, until the model's config is fetched"
    if weights is not None:
        share = ((serving.memory_share - MARGIN) * whole - weights) / (whole - weights)
        why = f"serve.memory_share {serving.memory_share:g} of {whole:.0f} GiB, less {weights:.1f} GiB of weights, as a share of what they leave free"
    value = f"{min(max(share, 0.01), 0.98):.2f}"
    decisions.append(Decision(field="share of free memory", value=value, why=why))
    return value
