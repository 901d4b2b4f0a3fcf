"""What someone needs who helps from afar, as text that a person can read before it is sent: nothing secret, no prompt and no row.

Each part may fail alone: a support archive is asked for when things are broken.
"""

import gzip
import io
import json
import platform
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from entrypoint import __version__, probe
from entrypoint.chain import follow, foresee, machine, read_spec
from entrypoint.doctor import examine, see
from entrypoint.run.store import Store
from entrypoint.status import states
from schemas.errors import CaissonError, MachineError

REMOVED = "[removed]"

SECRETS = (
    re.compile(r"\b(?:hf|sk|ms|ghp|glpat|xox[bp])[-_][A-Za-z0-9_-]{8,}"),
    re.compile(r"(?i)\bbearer\s+[^\s\"']+"),
    re.compile(r"\b[0-9a-fA-F]{64}\b(?!\.safetensors)"),
    re.compile(r"(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
"""Tokens of hubs and services, keys of the gateway (64 hex digits; hashes look alike and go too), passwords in addresses, private keys."""

NAMED = re.compile(
    r"(?i)((?:[\w.-]*(?:token(?!s|iz)|secret|passw(?:or)?d|api_?key|credential)[\w.-]*)[\"']?\s*[:=]\s*[\"']?)(?!\s|null|None|/|\[removed\]|[\"'])([^\s\"',}]+)"
)
"""A value behind a name that says what it is; paths stay: secrets are files."""

TOLD = (
    "event",
    "at",
    "step",
    "of",
    "loss",
    "what",
    "fix",
    "code",
    "seconds",
    "identity",
    "folder",
    "why",
    "verdict",
    "checkpoint",
    "memory_gib",
    "export",
    "kind",
)
"""Fields of events that go along: no row, no answer, no prompt is in them."""

EVENTS = 200
"""Last events of each stage."""


def redact(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern in SECRETS:
        text = pattern.sub(REMOVED, text)
    return NAMED.sub(lambda found: found.group(1) + REMOVED, text)


def collect(spec: Path, store: Path) -> dict[str, str]:
    """Names and texts of the archive's files, redacted, in the order in which they are read."""
    parts: dict[str, Callable[[], str]] = {
        "versions.txt": _versions,
        "doctor.json": lambda: _doctor(store),
        "spec.yaml": lambda: spec.read_text(encoding="utf-8", errors="replace"),
        "plan.json": lambda: _plan(spec, store),
        "status.json": lambda: _status(spec, store),
    }
    found = {name: _tried(part) for name, part in parts.items()}
    found |= {f"events/{name}": text for name, text in _events(spec, store)}
    for name, description, log in _containers():
        found |= {f"containers/{name}.json": description, f"containers/{name}.log": log}
    return {name: redact(text) for name, text in found.items()}


def pack(parts: dict[str, str], path: Path) -> Path:
    """The archive. The same texts give the same bytes. Raises MachineError where it cannot be written."""
    held = io.BytesIO()
    with gzip.GzipFile(fileobj=held, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in parts.items():
            entry = tarfile.TarInfo(f"caisson-support/{name}")
            content = text.encode(errors="replace")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    try:
        path.write_bytes(held.getvalue())
    except OSError as error:
        raise MachineError(f"{path} cannot be written: {error.strerror}", "name another place with --output") from None
    return path


def _tried(part: Callable[[], str]) -> str:
    """Its text, or why there is none."""
    try:
        return part()
    except (CaissonError, OSError, ValueError) as error:
        return f"not to be had: {error}\n"


def _versions() -> str:
    engine = probe.engine()
    lines = {
        "caisson": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "engine": engine.error or engine.version,
        "compose": engine.compose,
        "runtimes": ", ".join(engine.runtimes),
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


def _doctor(store: Path) -> str:
    facts, fault = see(store)
    return json.dumps([vars(finding) for finding in examine(facts, store, fault)], indent=2)


def _plan(spec: Path, store: Path) -> str:
    wanted, place = read_spec(spec), Store(store)
    return foresee(follow(wanted, machine(wanted, place), place), place).merged().model_dump_json(indent=2)


def _status(spec: Path, store: Path) -> str:
    wanted, place = read_spec(spec), Store(store)
    return json.dumps([vars(state) for state in states(follow(wanted, machine(wanted, place), place, "export"), place)], indent=2)


def _events(spec: Path, store: Path) -> Iterator[tuple[str, str]]:
    """The last of each stage, of this spec's name, without what might be someone's words."""
    try:
        folder = Store(store).logs(read_spec(spec).name)
        files = sorted(folder.glob("*.jsonl"))
    except (CaissonError, OSError):
        return
    for file in files:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-EVENTS:]
        yield file.name, "".join(json.dumps(_told(line)) + "\n" for line in lines)


def _told(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {"event": "a line that is no JSON"}
    return {name: said[name] for name in TOLD if name in said} if isinstance(said, dict) else {}


def _containers() -> Iterator[tuple[str, str, str]]:
    """Of this project: name, inspect without its environment's values, the end of the log."""
    for one in probe.containers(probe.project()):
        name = str(one.get("Name", "")).strip("/") or str(one.get("Id", ""))[:12]
        config = one.get("Config") or {}
        config["Env"] = [f"{entry.partition('=')[0]}={REMOVED}" if NAMED.match(f"{entry} ") else entry for entry in config.get("Env") or ()]
        kept = {key: one.get(key) for key in ("Name", "Image", "Created", "State", "RestartCount", "HostConfig", "Mounts", "NetworkSettings")}
        yield name, json.dumps({**kept, "Config": config}, indent=2), probe.last_lines(str(one.get("Id", name)))
