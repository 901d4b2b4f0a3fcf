"""The exports of one run: what there is, which is served, what may go."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace

from entrypoint.chain import Chain
from entrypoint.evaluations import gate_words
from entrypoint.run.promotion import forget, promote, read_current, should_promote
from entrypoint.run.store import Store
from schemas.current import Current
from schemas.errors import UsageError
from schemas.manifest import Sealed
from schemas.spec import Spec


@dataclass(frozen=True)
class Export:
    """One line of the table."""

    id: str
    kind: str
    made: str
    """To the minute, UTC."""

    megabytes: float
    parity: str
    """Golden answers that the export gave as the tuned model had, of how many; empty where its manifest does not say."""

    state: str
    """current, previous, refused (it did not come to serve) or empty."""

    why: str = ""
    """Of a refusal: its first line."""

    gate: str = ""
    """What the evaluation's gate says; empty where the spec has none, or where the export has not been evaluated."""

    forced: str = ""
    """Why it was promoted against its gate, the last time that it was."""


def exports(spec: Spec, store: Store) -> list[Export]:
    """Every sealed export of the run, the newest first."""
    current = read_current(store, spec.name)
    sealed = sorted(store.sealed(f"{spec.name}/exports"), key=lambda s: s.manifest.finished_at, reverse=True)
    gate = gate_words(spec, store)
    return [replace(line, gate=gate.get(line.id, "")) for line in (_line(one, current) for one in sealed)]


def _line(sealed: Sealed, current: Current | None) -> Export:
    name, made = sealed.folder.rpartition("/")[2], sealed.manifest
    refused = {r.export: r.why for r in current.refused} if current else {}
    state = ""
    if current and name == current.export:
        state = "current"
    elif name in refused:
        state = "refused"
    elif current and name in current.previous:
        state = "previous"
    size = sum(file.bytes for file in made.files) / 1e6
    why = refused.get(name, "").partition("\n")[0] if state == "refused" else ""
    return Export(
        name, str(made.job.get("kind", "")), made.finished_at[:16].replace("T", " "), round(size, 1), _parity(sealed), state, why, forced=_forced(name, current)
    )


def _forced(name: str, current: Current | None) -> str:
    found = next((one for one in current.forced if one.export == name), None) if current else None
    return f"promoted against its gate, {found.at[:16].replace('T', ' ')} UTC: {found.reason}" if found else ""


def _parity(sealed: Sealed) -> str:
    of, equal, ties = (sealed.manifest.summary.get(key) for key in ("golden", "equal", "near_ties"))
    if not isinstance(of, int) or not isinstance(equal, int):
        return ""
    return f"{equal}/{of}" + (f" ~{ties}" if ties else "")


def find_export(spec: Spec, store: Store, start: str) -> str:
    """The one export whose ID begins so. Raises UsageError where none does, or several do."""
    names = [one.id for one in exports(spec, store)]
    found = [name for name in names if start and name.startswith(start)]
    if len(found) == 1:
        return found[0]
    what = f"{start} is the beginning of {len(found)} exports of {spec.name}" if found else f"{spec.name} has no export {start}"
    raise UsageError(what, f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else "run `caisson export SPEC` first")


def promote_newest(chain: Chain, store: Store) -> str:
    """After export has run: make what it sealed current, where that is wanted. Returns what is to be said; empty where nothing changed."""
    made, name = chain.inputs.exported, chain.spec.name
    if made is None:
        return ""
    export = made.folder.rpartition("/")[2]
    current, automatic = read_current(store, name), chain.spec.serve.promote == "auto"
    if chain.spec.evaluate.gate and current and current.export != export:
        return f"export: {name}/exports/{current.export} stays current until the gate of an evaluation has passed: `docker compose run --rm evaluate`"
    if should_promote(current, export, made.manifest.finished_at, automatic=automatic):
        promote(store, name, export, "export")
        return f"export: {made.folder} is current: serve follows"
    if current and current.export != export:
        return f"export: {name}/exports/{current.export} stays current; `caisson promote SPEC {export}` serves the new one"
    return ""


def prune(spec: Spec, store: Store) -> Iterator[Export]:
    """Remove what was served before the last `serve.keep` exports, one by one, each given back once it is gone. What never served stays, and so
    does what was made after: it may be waiting for its promotion."""
    current = read_current(store, spec.name)
    old = current.previous[spec.serve.keep :] if current else ()
    for export in exports(spec, store):
        if export.id in old:
            folder = store.root / spec.name / "exports" / export.id
            aside = folder.with_name(f".pruned-{export.id}")
            folder.rename(aside)  # a reader sees all of it or nothing
            shutil.rmtree(aside)
            yield export
    forget(store, spec.name, set(old))
