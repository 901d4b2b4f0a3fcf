"""Which inference engine serves, and with which of LMDeploy's back ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from entrypoint.plan.tables import ENGINES
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.serve import EngineName, Serve

Backend = Literal["turbomind", "pytorch"]

WHY_VLLM = "has every field of this section, adapters without a restart, CPU and GPU, and the trainer's own torch and transformers"


@dataclass(frozen=True)
class Choice:
    """An engine, and a back end where it is LMDeploy."""

    engine: EngineName
    backend: Backend | None = None

    @property
    def name(self) -> str:
        """With its version, for messages."""
        return str(ENGINES[self.engine]["name"])

    @property
    def place(self) -> str:
        """With the back end that lacks something, for messages."""
        return f"{self.name}'s back end {self.backend}" if self.backend else self.name


def choose_engine(serve: Serve, facts: Facts, config: Mapping[str, Any] | None, decisions: list[Decision]) -> Choice:
    """vLLM unless the spec says otherwise. Raises MachineError for LMDeploy on a CPU, UsageError for a model that it does not have."""
    if serve.engine != "lmdeploy":
        if serve.backend:
            raise UsageError(f"serve.backend: {serve.backend} is a back end of LMDeploy, and the engine is vllm", "write engine: lmdeploy, or take backend out")
        why = "set in the spec" if serve.engine else WHY_VLLM
        decisions.append(Decision(field="serve.engine", value="vllm", why=why, source="docs/engines.md"))
        return Choice("vllm")
    if facts.device == "cpu":
        raise MachineError(
            "serve.engine: LMDeploy computes on GPUs only, and this is a CPU", "write engine: vllm or auto; on a machine with a GPU set ACCELERATOR=cuda"
        )
    why = "set in the spec; its image is serve-lmdeploy: ENGINE=lmdeploy"
    decisions.append(Decision(field="serve.engine", value="lmdeploy", why=why, source="docs/engines.md"))
    backend, why = _backend(serve, _architecture(config))
    decisions.append(Decision(field="serve.backend", value=backend, why=why, source="docs/engines.md"))
    return Choice("lmdeploy", backend)


LOADS = {"turbomind": ("safetensors", "adapter", "awq", "gptq"), "pytorch": ("safetensors", "adapter")}
"""Forms of an export. llm-compressor writes fp8 and int8 as compressed-tensors, of which LMDeploy reads packed 4 bits alone: groups of 32 and 128 in
TurboMind (lmdeploy/turbomind/converter.py), of 32 in PyTorch (lmdeploy/pytorch/config.py), and ours are of 128. vLLM reads them all."""


def check_format(kind: str, choice: Choice) -> None:
    """Raise UsageError for an export of a kind that the engine does not load."""
    if choice.backend is None or kind in LOADS[choice.backend]:
        return
    other = "backend: turbomind, or " if kind in LOADS["turbomind"] else ""
    raise UsageError(f"serve.engine: {choice.place} does not load an export of kind {kind}", f"write {other}engine: vllm, or export kind: safetensors")


def _architecture(config: Mapping[str, Any] | None) -> str | None:
    named = (config or {}).get("architectures")
    return str(named[0]) if isinstance(named, list) and named else None


def _backend(serve: Serve, architecture: str | None) -> tuple[Backend, str]:
    """LMDeploy's own choice would fall back with a line in its log; here it is refused or said."""
    table = ENGINES["lmdeploy"]
    if architecture and architecture not in table["turbomind"] and architecture not in table["pytorch"]:
        raise UsageError(f"serve.engine: {table['name']} does not have {architecture}", "write engine: vllm or auto")
    needs = _needs_pytorch(serve)
    if serve.backend == "turbomind":
        if needs:
            raise UsageError(f"serve.backend: turbomind has no {needs}", "write backend: pytorch or auto, or engine: vllm")
        if architecture and architecture not in table["turbomind"]:
            raise UsageError(f"serve.backend: turbomind of {table['name']} does not have {architecture}", "write backend: pytorch or auto, or engine: vllm")
        return "turbomind", "set in the spec"
    if serve.backend == "pytorch" or needs:
        if architecture and architecture not in table["pytorch"]:
            for_what = f", which {needs} needs" if needs else ""
            raise UsageError(f"serve.backend: pytorch of {table['name']}{for_what} does not have {architecture}", "write engine: vllm or auto")
        return "pytorch", "set in the spec" if serve.backend else f"turbomind has no {needs}"
    if architecture and architecture not in table["turbomind"]:
        return "pytorch", f"turbomind does not have {architecture}"
    return "turbomind", f"has {architecture}" if architecture else "assumed until the model's config is fetched"


def _needs_pytorch(serve: Serve) -> str:
    """What of the section only the PyTorch back end has; empty for nothing."""
    if serve.adapters:
        return "adapters"
    if serve.kv_cache == "fp8":
        return "fp8 cache"
    return "speculative decoding" if serve.speculative else ""
