"""What is sealed, what is stale and why, for each stage of one spec."""

from dataclasses import dataclass

from entrypoint.chain import STAGES, Chain
from entrypoint.run.seal import read_manifest
from entrypoint.run.store import Store
from schemas.manifest import Sealed
from schemas.plan import Step


@dataclass(frozen=True)
class State:
    """One line of the status: `sealed`, `stale`, `started`, `damaged`, `absent` or `cannot`."""

    stage: str
    state: str
    folder: str
    why: str


def states(chain: Chain, store: Store) -> list[State]:
    """One or two states a stage, in order; serve makes no artifact and has none."""
    found: list[State] = []
    for stage in STAGES[:-1]:
        if stage in chain.errors:
            found.append(State(stage, "cannot", "", chain.errors[stage].what))
            continue
        found += [_state(step, store) for step in chain.plans[stage].steps]
    return found


def _state(step: Step, store: Store) -> State:
    if sealed := store.find(step):
        return State(step.stage, "sealed", sealed.folder, _finished(sealed))
    if step.identity and store.final(step).is_dir():
        what = "files do not match the manifest" if read_manifest(store.final(step)) else "its manifest is gone or cannot be read"
        return State(step.stage, "damaged", f"{step.folder}/{step.id}", f"{what}; the stage makes it again")
    if step.identity and store.partial(step).is_dir():
        return State(step.stage, "started", f"{step.folder}/.partial-{step.id}", "not finished; the same command goes on")
    older = [s for s in store.sealed(step.folder) if _is_older(s, step)]
    if older:
        newest = max(older, key=lambda s: s.manifest.finished_at)
        return State(step.stage, "stale", newest.folder, _differences(newest, step))
    return State(step.stage, "absent", "", "has not run" if step.identity else "waits for an earlier stage")


def _is_older(sealed: Sealed, step: Step) -> bool:
    """Models and rows are shared between runs: there only the same sources count as an older version."""
    if step.stage != "fetch":
        return True
    job = sealed.manifest.job
    return bool(job.get("sources") == list(step.job.sources)) if step.job.stage == "fetch" else False


def _differences(sealed: Sealed, step: Step) -> str:
    """Which decided values, inputs or versions are not those of today's plan."""
    now, then = step.job.model_dump(mode="json"), sealed.manifest.job
    changed = [f"{key}: {_short(then.get(key))} -> {_short(now.get(key))}" for key in now if now[key] != then.get(key)]
    if not step.identity:
        changed.append("an earlier stage has to run first")
    changed += [f"{role} is another" for role, content in step.input_contents.items() if sealed.manifest.inputs.get(role) != content]
    if step.image_lock != sealed.manifest.image_lock:
        changed.append("the image's packages changed")
    return "; ".join(changed) or ("the source's files changed" if step.stage == "fetch" else "the program's version changed")


def _short(value: object) -> str:
    shown = str(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _finished(sealed: Sealed) -> str:
    size = sum(f.bytes for f in sealed.manifest.files)
    return f"{sealed.manifest.finished_at.replace('T', ' ').replace('+00:00', ' UTC')}, {size / 1e6:,.1f} MB"
