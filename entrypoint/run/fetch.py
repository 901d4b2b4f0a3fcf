"""Leaf of the stage fetch: one source of a model, or all sources of rows, into the store."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from entrypoint.run.code_files import version_of
from entrypoint.run.events import Events, say
from entrypoint.run.hub_shared import Listing
from entrypoint.run.hubs import Hub, download, list_files, open_hub
from entrypoint.run.leaf import run_leaf
from entrypoint.run.row_names import SUFFIXES
from entrypoint.run.scan import Found, check_json, choose, scan_model
from entrypoint.run.sources import Copies, choose_remote, endings, find_model, find_rows, is_hub, read_plugin, read_template, readable, split_source
from entrypoint.run.transfer import Progress, check_room, copy_file, folder_bytes, sweep
from schemas.errors import UsageError
from schemas.job import TEMPLATE, FetchJob, Task


def fetch(task: Task, events: Events) -> dict[str, Any]:
    """Fill the task's output; returns the summary for its manifest."""
    job, output = task.job, Path(task.output)
    if not isinstance(job, FetchJob):
        raise TypeError(f"fetch was started with a job of the stage {job.stage}")
    output.mkdir(parents=True, exist_ok=True)
    with readable():
        fetching = {"model": _fetch_model, "data": _fetch_data, "suites": _fetch_data}.get(job.role, _fetch_plugins)
        summary = fetching(job, output, events)
    files = [p for p in output.rglob("*") if p.is_file()]
    return {"role": job.role, "sources": list(job.sources), "bytes": sum(p.stat().st_size for p in files), "files": len(files), **summary}


def _fetch_model(job: FetchJob, output: Path, events: Events) -> dict[str, Any]:
    (source,) = job.sources
    if is_hub(source):
        return _fetch_model_from_hub(source, job.trust_remote_code, output, events)
    path = Path(source)
    found = find_model(source, job.trust_remote_code)
    if found is None:
        return _convert(path, job.trust_remote_code, output, events)
    _tell_left_behind(source, found)
    _copy([(path / f, f) for f in found.files], output, source, events)
    scan_model(output, source, job.trust_remote_code)  # what was copied, not what lay there when it was looked at
    return _anatomy(output, source, job.trust_remote_code)


def _fetch_model_from_hub(source: str, trust_remote_code: bool, output: Path, events: Events) -> dict[str, Any]:
    """Configs first: what they refuse is refused before the weights are fetched."""
    hub = open_hub(source, "model")
    listing = list_files(hub)
    names = [f.path for f in listing.files if trust_remote_code or not f.path.endswith(".py")]  # code without auto_map is not asked for, so not fetched
    found = choose(names, source, trust_remote_code)
    _tell_left_behind(source, found)
    wanted = [f for f in listing.files if f.path in found.files]
    anatomy: dict[str, Any] = {}
    for large in (False, True):
        part = [f for f in wanted if f.path.endswith(".safetensors") == large]
        download(hub, listing.commit, part, output, events)
        for file in part:
            if file.path.endswith(".json"):
                check_json(output / file.path, f"{source}/{file.path}", trust_remote_code)
        if not large:  # an architecture that nothing here can load is refused before its weights are fetched
            anatomy = _anatomy(output, source, trust_remote_code)
    sweep(output, found.files)
    scan_model(output, source, trust_remote_code)
    return {"commit": listing.commit, **anatomy}


def _convert(path: Path, trust_remote_code: bool, output: Path, events: Events) -> dict[str, Any]:
    from entrypoint.run.gguf import convert  # loads torch

    made_from = convert(path, output, events)
    scan_model(output, str(path), trust_remote_code)
    return {"converted_from": made_from, **_anatomy(output, str(path), trust_remote_code)}


def _anatomy(folder: Path, source: str, trust_remote_code: bool) -> dict[str, Any]:
    """What every later plan counts with, for the manifest's summary: it is in no file, so that the same bytes keep the same digest.

    Not of a model with code of its own, which is not run for counting; nor where transformers is not installed, as outside the images.
    """
    if find_spec("transformers") is None:
        say(f"fetch: {source}: not counted, since transformers is not installed here: plans go by the sizes in config.json")
        return {}
    if trust_remote_code and json.loads((folder / "config.json").read_bytes()).get("auto_map"):
        return {}
    from entrypoint.run.anatomise import anatomise  # loads torch

    found = anatomise(folder, source)
    say(f"fetch: {source}: {found.class_name}, {found.parameters / 1e9:.2f} billion weights")
    return {"anatomy": found.model_dump(mode="json", exclude_defaults=True)}


def _fetch_data(job: FetchJob, output: Path, events: Events) -> dict[str, Any]:
    """Local sources are all looked at before the first byte moves."""
    template = read_template(job.template) if job.template else None
    local: dict[str, Copies] = {}
    for at, source in enumerate(job.sources):
        if not is_hub(source):
            local[source] = [(path, f"{at:02d}/{inside}") for path, inside in find_rows(source)]
    commits: dict[str, str | None] = {}
    kept = [inside for copies in local.values() for _, inside in copies]
    for at, source in enumerate(job.sources):
        if source in local:
            _copy(local[source], output, source, events, keep_others=True)
        else:
            repository, inside = split_source(source)
            hub = open_hub(repository, "dataset")
            listing = list_files(hub)
            names = [f.path for f in listing.files]
            wanted = set(choose_remote(names, inside))
            part = Listing(listing.commit, tuple(f for f in listing.files if f.path in wanted))
            if not part.files:
                raise UsageError(
                    f"data: {source} {'matches no file' if inside else 'holds no file of rows'}{endings(names)}",
                    "look at the repository's files; a path or a glob goes behind its name" if inside else f"files of rows end in {', '.join(SUFFIXES)}",
                )
            say(f"fetch: {source}: takes {len(wanted)} of {len(names)} files: {', '.join(sorted(wanted)[:5])}{', ...' if len(wanted) > 5 else ''}")
            kept += [f"{at:02d}/{f.path}" for f in part.files]
            commits[source] = _download_rows(hub, part, output / f"{at:02d}", events)
    if template is not None:
        (output / TEMPLATE).write_text(template, encoding="utf-8")
        kept.append(TEMPLATE)
    sweep(output, kept)
    return {"commits": commits}


def _fetch_plugins(job: FetchJob, output: Path, events: Events) -> dict[str, Any]:
    """A copy of each file, and of an installed module beside it the version of its package: both are in the identity of what runs them."""
    versions = {}
    for at, source in enumerate(job.sources):
        (output / f"{at:02d}.py").write_bytes(read_plugin(source))
        if version := version_of(source):
            versions[source] = version
    (output / "versions.json").write_text(json.dumps(versions, indent=1) + "\n", encoding="utf-8")
    events.write("copied", sources=list(job.sources))
    return {"versions": versions}


def _download_rows(hub: Hub, listing: Listing, folder: Path, events: Events) -> str | None:
    folder.mkdir(exist_ok=True)
    download(hub, listing.commit, listing.files, folder, events)
    return listing.commit


def _copy(copies: Copies, output: Path, source: str, events: Events, *, keep_others: bool = False) -> None:
    total = sum(path.stat().st_size for path, _ in copies)
    waiting = [(path, output / inside) for path, inside in copies]
    done = sum(t.stat().st_size for _, t in waiting if t.is_file())
    check_room(output, total - done, source)
    before = folder_bytes(output) - done
    with Progress(source, total, lambda: folder_bytes(output) - before, events):
        for path, target in waiting:
            copy_file(path, target)
    if not keep_others:
        sweep(output, (inside for _, inside in copies))


def _tell_left_behind(source: str, found: Found) -> None:
    if found.pickles:
        say(f"fetch: {source}: left {len(found.pickles)} pickled file(s) behind, the safetensors are there: {', '.join(found.pickles[:5])}")
    if found.others:
        say(f"fetch: {source}: left {found.others} file(s) behind that no loader reads")


if __name__ == "__main__":
    run_leaf(fetch)
