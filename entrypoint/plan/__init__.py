"""Spec + Facts + sealed inputs -> Plan. Pure: no clock, no environment, no disk, no network."""

from entrypoint.plan.export import plan_export
from entrypoint.plan.fetch import plan_fetch
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.prepare import plan_prepare
from entrypoint.plan.sections import check_sections
from entrypoint.plan.serve import plan_serve
from entrypoint.plan.train import plan_train, trained_elsewhere

__all__ = ["Inputs", "check_sections", "plan_export", "plan_fetch", "plan_prepare", "plan_serve", "plan_train", "trained_elsewhere"]
