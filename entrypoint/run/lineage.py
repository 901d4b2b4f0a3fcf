"""What an export came from: the artifacts of a store that its manifests name, by what is in them and not by where they lie."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrypoint.run.seal import read_manifest
from schemas.chain_link import Link
from schemas.manifest import FILE_NAME, Manifest, Sealed

ORDER = ("data", "suites", "plugins", "preprocessor", "model", "teacher", "prepared", "answers", "trained", "merged", "exported")
"""From the rows to the export."""

DEPTH = 4
"""Folders below the store at which a manifest lies at most."""

POINTS = 400
"""Of a loss curve in a report: more than a page has pixels for would say no more."""


def lineage(root: Path, exported: Sealed) -> tuple[Link, ...]:
    """The export and everything that it was made of, as far as the store still has it; oldest first."""
    known = {manifest.content: Sealed(folder, manifest) for folder, manifest in _manifests(root)}
    found: dict[str, Link] = {}
    queue: list[tuple[str, Sealed]] = [("exported", exported)]
    while queue:
        role, sealed = queue.pop()
        if sealed.manifest.content not in found:
            found[sealed.manifest.content] = link_of(role, sealed)
            queue += [(role, known[content]) for role, content in sealed.manifest.inputs.items() if content in known]
    return tuple(sorted(found.values(), key=lambda link: (ORDER.index(link.role) if link.role in ORDER else 0, link.finished_at)))


def link_of(role: str, sealed: Sealed) -> Link:
    """An artifact by its manifest."""
    made = sealed.manifest
    return Link(
        role=role, stage=made.stage, folder=sealed.folder, identity=made.identity, content=made.content, finished_at=made.finished_at,
        program=made.program, inputs=made.inputs, what=describe(made),
    )  # fmt: skip


def describe(made: Manifest) -> str:
    """What it is, in a few words, from its job and its summary."""
    job, summary = made.job, made.summary
    if made.stage == "fetch":
        return ", ".join(str(source) for source in job.get("sources", ()))
    if made.stage == "prepare" and "train" in summary:
        validation = summary.get("validation") or {}
        return f"{summary['train'].get('rows', 0):,} rows to learn, {validation.get('rows', 0):,} held out, seed {job.get('seed', '')}"
    if made.stage == "train":
        method, adapter = job.get("method") or {}, job.get("adapter") or {}
        loss = summary.get("last_loss")
        return f"{method.get('kind', '')}, {adapter.get('kind', '')}, {summary.get('steps', 0):,} steps" + (
            f", last loss {loss:.4f}" if isinstance(loss, float) else ""
        )
    return str(job.get("kind") or job.get("teacher") or "")


NOT_OF_THE_MODEL = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "num_tokens")
"""What a validation records beside what it measured."""


def recorded(trained: Path, step: object) -> dict[str, float]:
    """What training recorded at the validation of the weights that it kept, those of `step`, or at its last one; by the method's own names."""
    found = [entry for entry in _entries(trained) if "eval_loss" in entry]
    chosen = next((entry for entry in reversed(found) if entry.get("step") == step), found[-1] if found else {})
    values = {key.removeprefix("eval_"): value for key, value in chosen.items() if key.startswith("eval_") and isinstance(value, int | float)}
    return {key: float(value) for key, value in values.items() if key not in NOT_OF_THE_MODEL}


def curves(trained: Path) -> tuple[tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]]:
    """Training loss and validation loss by step, of a training's artifact; empty where it has no curve that can be read."""
    rows = _entries(trained)
    return thinned(_points(rows, "loss")), _points(rows, "eval_loss")


def thinned(points: Sequence[tuple[int, float]], most: int = POINTS) -> tuple[tuple[int, float], ...]:
    """The points, or as many means over neighbours."""
    if len(points) <= most:
        return tuple(points)
    parts = [points[len(points) * at // most : len(points) * (at + 1) // most] for at in range(most)]
    return tuple((part[-1][0], sum(value for _, value in part) / len(part)) for part in parts)


def _entries(trained: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads((trained / "curve.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _points(rows: list[dict[str, Any]], name: str) -> tuple[tuple[int, float], ...]:
    return tuple((int(row.get("step", 0)), float(row[name])) for row in rows if isinstance(row.get(name), int | float))


def _manifests(root: Path) -> list[tuple[str, Manifest]]:
    found = []
    for depth in range(1, DEPTH):
        for path in root.glob("/".join(["*"] * depth) + f"/{FILE_NAME}"):
            folder = path.parent
            if not any(part.startswith(".") for part in folder.relative_to(root).parts) and (made := read_manifest(folder)):
                found.append((folder.relative_to(root).as_posix(), made))
    return found
