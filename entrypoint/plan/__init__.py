"""Spec + Facts + sealed inputs -> Plan. Pure: no clock, no environment, no disk, no network."""

from entrypoint.plan.evaluate import plan_evaluate, plan_sides
from entrypoint.plan.export import check_served, plan_export, served_step
from entrypoint.plan.fetch import plan_fetch
from entrypoint.plan.gateway import plan_gateway
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.prepare import plan_prepare
from entrypoint.plan.sections import check_sections
from entrypoint.plan.serve import plan_serve
from entrypoint.plan.train import plan_train, trained_elsewhere

__all__ = [
    "Inputs",
    "check_sections",
    "check_served",
    "plan_evaluate",
    "plan_export",
    "plan_fetch",
    "plan_gateway",
    "plan_prepare",
    "plan_serve",
    "plan_sides",
    "plan_train",
    "served_step",
    "trained_elsewhere",
]
