"""Machines, specs and sealed inputs for tests of plans, and what training makes of them."""

from pathlib import Path
from typing import Any

import pytest

from entrypoint.plan import Inputs, plan_train
from schemas.errors import MachineError
from schemas.facts import Accelerator, Facts, ModelFacts
from schemas.job import TrainJob
from schemas.load import load
from schemas.manifest import File, Manifest, Sealed
from schemas.plan import Plan
from schemas.spec import Spec

ROOT = Path(__file__).resolve().parents[3]

LLAMA_8B: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32,
    "vocab_size": 128256, "max_position_embeddings": 131072, "tie_word_embeddings": False,
}  # fmt: skip
TINY: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
    "vocab_size": 1000, "max_position_embeddings": 512, "tie_word_embeddings": True,
}  # fmt: skip
MODEL = "/models/m"

H100 = Accelerator(name="NVIDIA H100 80GB HBM3", memory_gib=79.6, compute_capability="9.0")
T4 = Accelerator(name="Tesla T4", memory_gib=14.6, compute_capability="7.5")


def facts(*accelerators: Accelerator, config: dict[str, Any] | None = TINY, **other: Any) -> Facts:
    """A machine: CPU, or with these GPUs."""
    values: dict[str, Any] = {
        "device": "cuda" if accelerators else "cpu", "accelerators": accelerators, "cpu_cores": 8, "ram_gib": 64.0, "disk_free_gib": 100.0, "shm_gib": 1.0,
        "program": "0.1.0", "models": {MODEL: ModelFacts(config=config)} if config is not None else {},
    }  # fmt: skip
    return Facts(**{**values, **other})


def card(gib: float, capability: str = "8.0") -> Accelerator:
    """A GPU of a given size."""
    return Accelerator(name=f"card {gib:g}", memory_gib=gib, compute_capability=capability)


def spec(text: str = "") -> Spec:
    """A short spec with further sections; `text` may replace sections by naming them."""
    sections = {
        "spec": "spec: 1",
        "name": "name: n",
        "model": f"model: {{source: {MODEL}}}",
        "data": "data: {train: [{source: /data/a.jsonl}], packing: false}",  # packs have tests of their own
        "method": "method: {kind: sft}",
    }
    given = [line.partition(":")[0] for line in text.splitlines() if line and not line.startswith(" ")]
    return load("\n".join([*(line for name, line in sections.items() if name not in given), text]))


def sealed(folder: str, stage: str = "fetch", summary: dict[str, Any] | None = None, digest: str = "0" * 64) -> Sealed:
    """An artifact with one file."""
    files = (File(path="a", bytes=1, sha256=digest),)
    return Sealed(folder, Manifest(stage=stage, name="n", identity="1" * 64, request="2" * 64, job={}, program="0.1.0", summary=summary or {}, files=files))


def inputs(rows: int = 1000, tokens: int = 100_000, longest: int = 256, **other: Sealed) -> Inputs:
    """Everything sealed up to export; the rows as counted by prepare."""
    summary = {"train": {"rows": rows, "tokens": tokens, "longest": longest}, "validation": {"rows": 0, "tokens": 0, "longest": 0}}
    found = {role: sealed(f"n/{role}/x") for role in ("model", "data", "trained", "exported")}
    return Inputs(**{**found, "prepared": sealed("n/prepared/x", "prepare", summary), **other})


def why(plan: Plan, field: str) -> tuple[str, str]:
    """Value and reason of a decision."""
    (found,) = [d for d in plan.decisions if d.field == field]
    return found.value, found.why


LONG = inputs(rows=10_000, tokens=10_000 * 1000, longest=4096)
"""Long rows: what an 8B model is tight with."""


def plan_of(machine: Facts, text: str = "", given: Inputs | None = None) -> Plan:
    return plan_train(spec(text), machine, given or inputs())


def job_of(machine: Facts, text: str = "", given: Inputs | None = None) -> TrainJob:
    job = plan_of(machine, text, given).steps[0].job
    assert isinstance(job, TrainJob)
    return job


def refusal(machine: Facts, text: str = "", given: Inputs | None = None, kind: type[Exception] = MachineError) -> str:
    with pytest.raises(kind) as caught:
        plan_of(machine, text, given)
    return str(caught.value)


def big(*gibs: float, capability: str = "8.0") -> Facts:
    return facts(*(card(gib, capability) for gib in gibs), config=LLAMA_8B)
