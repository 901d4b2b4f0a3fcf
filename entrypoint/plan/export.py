"""Plan of the stage export: trained weights into one folder that any engine loads."""

from entrypoint.plan.inputs import Inputs
from entrypoint.plan.step import make_step
from schemas.export_job import ExportJob
from schemas.facts import Facts
from schemas.plan import Decision, Plan
from schemas.spec import Spec

GOLDEN_TOKENS = 24
"""Tokens of each greedy answer that merged weights and adapter on base must share."""


def plan_export(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step over the base model, the shards (for the golden prompts) and the trained weights."""
    job = ExportJob(kind=spec.export[0].kind, dtype="bf16", golden_tokens=GOLDEN_TOKENS)
    wanted = {"export": spec.model_dump(mode="json")["export"]}
    title = "reward model, merged" if spec.method.kind == "reward" else "merged"
    step = make_step(job, f"{title} bf16 safetensors", f"{spec.name}/exports", facts, inputs, ("model", "prepared", "trained"), wanted)
    decisions = [Decision(field="export.0.kind", value="safetensors, bf16", why="merged into the full-precision base: no adapter cost when served")]
    if spec.method.kind == "reward":
        why = "the head goes with the model; before and after the merge rewards are compared, as there are no answers"
        decisions.append(Decision(field="export.0.kind", value="a sequence classifier with one output", why=why))
    return Plan(name=spec.name, steps=(step,), decisions=tuple(decisions))
