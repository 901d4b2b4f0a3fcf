"""What goes into a bundle, and its signed manifest: lines that a shell can read."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from entrypoint import __version__
from entrypoint.bundle import images
from entrypoint.bundle.papers import papers
from entrypoint.bundle.parts import Part, Parts, read, sum_of
from entrypoint.bundle.wheel import build_wheel
from entrypoint.plan.suites import suite_sources, wanted_suites
from schemas.errors import MachineError, UsageError
from schemas.plugins import KINDS, is_file, split_code
from schemas.spec import Spec
from schemas.suite import source_of

CARRIED = ("compose.yaml", "compose", "specs", "docs", "demo", "LICENSE", "README.md", "CHANGELOG.md", "setup")
HUBS = ("hf://", "ms://")
PLAIN = re.compile(r"[A-Za-z0-9._+@=,/-]+")
LOCK = "compose/images.lock.yaml"


def make(spec_file: Path, spec: Spec, root: Path, bundle: Path, key: Path, size: int, since: Path | None) -> int:
    """Write the bundle of a spec from the checkout `root`; returns its number. The same call goes on where it was stopped.

    `size` is the most bytes of a part. Of what the manifest `since` lists nothing is stored again. Raises UsageError, MachineError.
    """
    if not (root / "compose.yaml").is_file():
        raise UsageError("there is no compose.yaml in this folder", "start caisson bundle in Caisson's own folder, where compose.yaml is")
    if (bundle / "manifest").exists():
        raise UsageError(f"{bundle} is a finished bundle", "name a new folder; --since OLD/manifest stores only what differs")
    old = since.read_text() if since else ""
    number = int(time.time())
    if since:
        if number < (before := _number(since, old)):
            raise UsageError(f"{since} is of a later time ({before}) than this machine's clock", "set the clock")
        number = max(number, before + 1)  # of two in one second the later one is the higher one
    files = _files(spec_file, spec, root)  # read first: a source that is missing is said before gigabytes are written
    services, found = images.compose_images(root)
    bundle.mkdir(parents=True, exist_ok=True)
    parts, lines = Parts(bundle, size), list[str]()
    made = _written(bundle, root, services, found, {to: sum_of(path) for to, path in files.items()})
    places = {path: root / path for path in carried_sources(spec) if path.startswith("models/")}
    made |= papers(found, places, spec, bundle / "written")
    for image in found:
        line = f"image {image.id} {image.bytes} {image.name}"
        lines += [line, *_pieces([] if _has(old, f"image {image.id}") else images.store(image, parts))]
    for to, path in sorted({**files, **made}.items()):
        line = f"file {sum_of(path)} {path.stat().st_size} {to}"
        lines += [line, *_pieces([] if _has(old, line) else parts.find(sum_of(path)) or parts.write(sum_of(path), read(path)))]
    head = ["caisson-bundle 1", f"name {spec.name}", f"number {number}", f"since {_number(since, old) if since else '-'}"]
    load = bundle / "load.sh"
    load.write_bytes((Path(__file__).parent / "load.sh").read_bytes())
    listed = [*parts.known.values(), Part("load.sh", load.stat().st_size, sum_of(load))]
    _sign(bundle, "\n".join([*head, *(f"part {p.sha256} {p.bytes} {p.name}" for p in listed), *lines, "end"]) + "\n", key)
    return number


def _number(path: Path, manifest: str) -> int:
    if not (found := re.search(r"^number (\d+)$", manifest, re.M)):
        raise UsageError(f"{path} is no bundle's manifest", "name the file `manifest` of the older bundle")
    return int(found[1])


def _has(manifest: str, start: str) -> bool:
    return any(line == start or line.startswith(start + " ") for line in manifest.splitlines())


def _pieces(stored: list[Part]) -> list[str]:
    return [f"piece {part.name}" for part in stored]


def _files(spec_file: Path, spec: Spec, root: Path) -> dict[str, Path]:
    """Where each file goes on the other side, and where it is here."""
    wanted = [root / name for name in CARRIED] + [root / path for path in carried_sources(spec)]
    found: dict[str, Path] = {"spec.yaml": spec_file}
    for place in wanted:
        inside = [place] if place.is_file() else [path for path in sorted(place.rglob("*")) if path.is_file()]
        if not inside:
            raise MachineError(f"{place} is not there or empty", "put it there, or correct the spec")
        found |= {str(path.relative_to(root)): path for path in inside if "__pycache__" not in path.parts}
    for to in found:
        if not PLAIN.fullmatch(to):
            raise UsageError(f"{to!a}: a bundle's manifest holds letters, digits and ._+@=,/- only", "rename the file")
    return found


def carried_sources(spec: Spec) -> list[str]:
    """Every path below /models and /data that a spec names, from the checkout's root, in one order. Raises UsageError for what cannot be carried."""
    for suite in wanted_suites(spec):
        if (source := source_of(suite)).startswith(HUBS):
            raise UsageError(
                f"evaluate.suites: the rows of {suite.name} are at {source}, which the other side cannot reach",
                "put them into data/ and name them as /data/...",
            )
    code = [split_code(place)[0] for kind in KINDS if (place := getattr(spec.plugins, kind))]
    if outside := [source for source in code if is_file(source) and not source.startswith(("/data/", "/models/"))]:
        raise UsageError(f"plugins: {outside[0]} is not below data/ or models/, which are carried", "copy it into data/ and name it as /data/...")
    return sorted(_sources(spec.model_dump(mode="json", exclude={"plugins"})) | _sources(code) | _sources(list(suite_sources(spec))))


def _sources(value: Any) -> set[str]:
    """Every path below /models and /data in a value, however deep. Raises UsageError for a hub and for a pattern."""
    if isinstance(value, dict | list):
        return set().union(*map(_sources, value.values() if isinstance(value, dict) else value))
    if not isinstance(value, str):
        return set()
    if value.startswith(HUBS):
        raise UsageError(f"{value} is at a hub, which the other side cannot reach", "put it into models/ or data/ and name it as /models/... or /data/...")
    if not value.startswith(("/models/", "/data/")):
        return set()
    if set(value) & set("*?[") or ".." in value:
        raise UsageError(f"{value}: patterns are not bundled", "name the folder")
    return {value[1:]}


def _written(bundle: Path, root: Path, services: dict[str, str], found: list[images.Image], sums: dict[str, str]) -> dict[str, Path]:
    """Files that are made for the other side: the images' lock, the Compose file that reads it, the program's wheel, the provenance."""
    folder = bundle / "written"
    folder.mkdir(exist_ok=True)
    lock = "".join(f'  {name}: {{ image: "sha256:{id}", pull_policy: never }}\n' for name, id in sorted(services.items()))
    (folder / "lock").write_text(f"# What runs is what was signed: image ids.\nservices:\n{lock}")
    compose = (root / "compose.yaml").read_text()
    pinned = re.sub(r"(path: \[[^]]*)\]", rf"\1, {LOCK}]", compose, count=1)
    if pinned == compose:
        raise UsageError(
            "compose.yaml: its include has no `path: [...]` to which the images' lock can be added", "take compose.yaml as it is in the repository"
        )
    (folder / "compose").write_text(pinned)
    wheel = build_wheel(root, folder / "wheel")
    subjects = [{"name": i.name, "digest": {"sha256": i.id}} for i in found] + [{"name": n, "digest": {"sha256": s}} for n, s in sums.items()]
    build = {"buildType": "https://caisson.invalid/bundle/1", "externalParameters": {"spec": "spec.yaml"}, "internalParameters": {"caisson": __version__}}
    predicate = {"buildDefinition": build, "runDetails": {"builder": {"id": f"caisson/{__version__}"}}}
    kind = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}
    (folder / "provenance").write_text(json.dumps({**kind, "subject": subjects, "predicate": predicate}, indent=1) + "\n")
    return {LOCK: folder / "lock", "compose.yaml": folder / "compose", wheel.name: wheel, "provenance.json": folder / "provenance"}


def _sign(bundle: Path, text: str, key: Path) -> None:
    """Write the manifest and its signature; the name `manifest` appears last."""
    unsigned = bundle / "manifest.unsigned"
    unsigned.write_text(text)
    done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "caisson-bundle"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(
            f"ssh-keygen cannot sign with {key}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}", "name a private SSH key with --key"
        )
    (bundle / "manifest.sig").write_text(done.stdout)
    unsigned.rename(bundle / "manifest")
