"""Whether the sections of a spec go together, as far as the spec alone tells: asked before the first stage downloads anything."""

from entrypoint.plan.adapter import check_adapter
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.offload import check_offload
from entrypoint.plan.optimisation import check_validation
from entrypoint.plan.plugins import check_plugins
from entrypoint.plan.streaming import check_streaming
from schemas.spec import Spec


def check_sections(spec: Spec) -> None:
    """Raises the UsageError that a later stage would end with on any machine, with any model and any rows."""
    check_plugins(spec)
    check_offload(spec)
    check_streaming(spec)
    check_adapter(spec, None)
    check_validation(spec, Inputs())
