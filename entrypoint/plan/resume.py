"""From which checkpoint a training goes on, and whether it will be as if it had never been stopped."""

from schemas.job import HOW, TrainJob
from schemas.manifest import Manifest
from schemas.plan import Decision, Step


def resume_decision(step: Step, program: str, at: int, made: Manifest) -> Decision:
    """What to expect of the checkpoint of optimizer step `at` under today's plan."""
    assert isinstance(step.job, TrainJob)
    now = step.job.model_dump(mode="json")
    then = {name: made.job.get(name) for name in HOW}  # an older version may not have known it
    other = [f"{name}: {_short(then[name])} then, {_short(now[name])} now" for name in HOW if name != "engine" and then[name] != now[name]]
    if then["engine"] != now["engine"] and not other:
        other.append("other settings of the engine")
    if made.image_lock != step.image_lock:
        other.append("other packages")
    if made.program != program:
        other.append(f"Caisson {made.program} then, {program} now")
    if other:
        why = f"{'; '.join(other)}: not bit for bit what it would have been, but no row is lost and none is seen twice"
    elif step.job.deterministic:
        why = "exact: bit for bit as if it had not stopped there, on this kind of processor"
    else:
        why = "position, state and random numbers are exact; without train.deterministic the last bits of a sum may differ"
    return Decision(field="resume", value=f"after step {at}", why=why)


def _short(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
