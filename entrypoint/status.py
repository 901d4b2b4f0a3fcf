"""What is sealed, what is stale and why, for each stage of one spec."""

from dataclasses import dataclass, replace

from entrypoint.chain import STAGES, Chain
from entrypoint.plan.fetch import TEACHER
from entrypoint.plan.identity import APART
from entrypoint.run.checkpoints import CHECKPOINTS, checkpoints_in, inspect, newest_sealed
from entrypoint.run.seal import read_manifest
from entrypoint.run.store import MADE_BY, Store
from schemas.manifest import Manifest, Sealed
from schemas.plan import Step

SHOWN = 3
"""Damaged files that a line names."""


@dataclass(frozen=True)
class State:
    """One line of the status: `sealed`, `stale`, `started`, `damaged`, `absent` or `cannot`."""

    stage: str
    part: str
    """model, data or teacher, of fetch; answers of prepare's second step; the kind of an export that is not the merged model; empty for the others."""

    state: str
    folder: str
    why: str


def states(chain: Chain, store: Store, *, hashes: bool = False) -> list[State]:
    """One or two states a stage, in order; serve makes no artifact and has none. With `hashes` every byte is read."""
    found: list[State] = []
    for stage in (one for one in STAGES if one != "serve" and (one in chain.plans or one in chain.errors)):
        if stage in chain.errors:
            found.append(State(stage, "", "cannot", "", chain.errors[stage].what))
            continue
        found += [State(stage, _part(step), *_state(step, store)) for step in chain.plans[stage].steps]
    if not hashes:
        return found
    verified = [_verified(store, state) for state in found]
    return [*verified, *(line for step in _unfinished(chain, verified) for line in _checkpoints(store, step)), *_elsewhere(chain, store, found)]


def _verified(store: Store, state: State) -> State:
    if state.state != "sealed":
        return state
    if why := _damage(store, state.folder, state.stage):
        return replace(state, state="damaged", why=why)
    manifest = read_manifest(store.root / state.folder)
    return replace(state, why=f"{state.why}, {_read(manifest)}") if manifest else state


def _read(manifest: Manifest) -> str:
    """So that nobody takes a look at names and sizes for a verification."""
    return f"every byte of {len(manifest.files)} file{'' if len(manifest.files) == 1 else 's'} read"


def _unfinished(chain: Chain, found: list[State]) -> list[Step]:
    """The training that was started, where it has checkpoints."""
    started = any(state.stage == "train" and state.state == "started" for state in found)
    return list(chain.plans["train"].steps) if started else []


def _checkpoints(store: Store, step: Step) -> list[State]:
    """A line for each checkpoint of a training that is not finished, newest first."""
    lines = []
    for path in checkpoints_in(store.partial(step) / CHECKPOINTS):
        found = inspect(path, step.work_id, hashes=True)
        whole = isinstance(found, Manifest)
        why = _read(found) if isinstance(found, Manifest) else f"{found}; train goes on from an older one, or starts anew"
        lines.append(State(step.stage, path.name, "sealed" if whole else "damaged", str(path.relative_to(store.root)), why))
    return lines


def _elsewhere(chain: Chain, store: Store, found: list[State]) -> list[State]:
    """What later stages read though this machine would not make it: trained on another one, fetched from what is out of sight here."""
    seen = {state.folder for state in found}
    used = {role: sealed.folder for role in MADE_BY if (sealed := getattr(chain.inputs, role)) and sealed.folder not in seen}
    return [
        State(MADE_BY[role], role if MADE_BY[role] == "fetch" else "", "damaged", folder, why)
        for role, folder in used.items()
        if (why := _damage(store, folder, MADE_BY[role]))
    ]


def _damage(store: Store, folder: str, stage: str) -> str:
    damage = store.damage(folder)
    more = f" and {len(damage) - SHOWN} more" if len(damage) > SHOWN else ""
    return f"{', '.join(damage[:SHOWN])}{more}; the next stage that reads it sets it aside, then {stage} makes it again" if damage else ""


def _part(step: Step) -> str:
    if step.job.stage == "export":
        return "" if step.job.kind == "safetensors" else step.job.kind
    if step.job.stage != "fetch":
        return "answers" if step.job.stage == "answers" else ""
    return TEACHER if step.title.startswith(TEACHER) else step.job.role


def _state(step: Step, store: Store) -> tuple[str, str, str]:
    """The state, the folder and why."""
    if sealed := store.find(step):
        return "sealed", sealed.folder, _finished(sealed)
    if step.identity and store.final(step).is_dir():
        what = "files do not match the manifest" if read_manifest(store.final(step)) else "its manifest is gone or cannot be read"
        return "damaged", f"{step.folder}/{step.id}", f"{what}; the stage makes it again"
    if step.identity and store.partial(step).is_dir():
        return "started", f"{step.folder}/.partial-{step.work_id}", _how_far(step, store)
    older = [s for s in store.sealed(step.folder) if _is_older(s, step)]
    if older:
        newest = max(older, key=lambda s: s.manifest.finished_at)
        return "stale", newest.folder, _differences(newest, step)
    return "absent", "", "has not run" if step.identity else "waits for an earlier stage"


def _how_far(step: Step, store: Store) -> str:
    found = newest_sealed(store.partial(step) / CHECKPOINTS, step.work_id) if step.stage == "train" else None
    return f"not finished; the same command goes on from step {found[0]}" if found else "not finished; the same command goes on"


def _is_older(sealed: Sealed, step: Step) -> bool:
    """Models and rows are shared between runs: there only the same sources count as an older version."""
    job = sealed.manifest.job
    if step.job.stage == "export":
        return bool(job.get("kind") == step.job.kind)
    if step.stage != "fetch":
        return True
    return bool(job.get("sources") == list(step.job.sources)) if step.job.stage == "fetch" else False


def _differences(sealed: Sealed, step: Step) -> str:
    """Which decided values, inputs or versions are not those of today's plan. While an earlier stage has to run, many of the values are
    assumed, and no reason."""
    if not step.identity:
        return "an earlier stage has to run first"
    now, then = step.job.model_dump(mode="json", exclude=APART), sealed.manifest.job
    changed = [f"{key}: {_short(then.get(key))} -> {_short(now.get(key))}" for key in now if now[key] != then.get(key)]
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
