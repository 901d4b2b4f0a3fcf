"""Images as streams that `docker load` reads, cut where layers begin so that a layer of several images is stored once."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from entrypoint.bundle.parts import CHUNK, Part, Parts, squeeze
from schemas.errors import MachineError


@dataclass(frozen=True)
class Image:
    """An image by its id, which stays the same over save and load; a registry's digest does not."""

    id: str
    name: str
    bytes: int
    """Unpacked, with layers that it shares."""


def compose_images(root: Path) -> tuple[dict[str, str], list[Image]]:
    """The image id of each service of the Compose file in this folder, and the images. Raises MachineError where one is not there."""
    config = json.loads(_docker("compose", "--project-directory", str(root), "--profile", "tools", "config", "--format", "json"))
    names = {service: settings["image"] for service, settings in config["services"].items()}
    found: dict[str, Image] = {}
    for name in sorted(set(names.values())):
        about = json.loads(_docker("image", "inspect", name))[0]
        found[name] = Image(about["Id"].removeprefix("sha256:"), name, about["Size"])
    return {service: found[name].id for service, name in names.items()}, list(found.values())


def title_of(image: Image) -> str:
    """The title on its label; empty where it has none."""
    labels = json.loads(_docker("image", "inspect", f"sha256:{image.id}"))[0]["Config"].get("Labels") or {}
    return str(labels.get("org.opencontainers.image.title", ""))


def run_in(image: Image, *argv: str) -> str:
    """What the program of an image prints, without network or rights."""
    return _docker("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", f"sha256:{image.id}", *argv)


def store(image: Image, parts: Parts) -> list[Part]:
    """The image's stream, in order: a frame a member of its archive. Times are left out, since two saves of one image differ in them."""
    stored: list[Part] = []
    with subprocess.Popen(["docker", "save", f"sha256:{image.id}"], stdout=subprocess.PIPE) as save:
        with tarfile.open(fileobj=save.stdout, mode="r|") as archive:
            for member in archive:
                if not member.isdir():
                    stored += _store(member, archive.extractfile(member), image, parts)
        assert save.stdout
        save.stdout.read()
    if save.returncode:
        raise MachineError(f"docker save {image.name} ended with {save.returncode}", "see what it printed above")
    return stored + (parts.find("end") or parts.write("end", squeeze([bytes(1024)], parts.bundle / "spool")))


def _store(member: tarfile.TarInfo, content: IO[bytes] | None, image: Image, parts: Parts) -> list[Part]:
    address = member.name.removeprefix("blobs/sha256/")
    key = f"layer-{address}" if address != member.name else f"image-{image.id[:16]}-{member.name.replace('/', '-')}"
    return parts.find(key) or parts.write(key, squeeze(_member(member, content), parts.bundle / "spool"))


def _member(member: tarfile.TarInfo, content: IO[bytes] | None) -> Iterator[bytes]:
    plain = tarfile.TarInfo(member.name)
    plain.size, plain.type, plain.linkname, plain.mode = member.size, member.type, member.linkname, 0o644
    yield plain.tobuf(tarfile.GNU_FORMAT)
    while content and (chunk := content.read(CHUNK)):
        yield chunk
    yield bytes(-member.size % 512)


def _docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MachineError(f"docker {argv[0]} {argv[-1]}: {said}", "make images builds what is missing; make engine starts the engine")
    return done.stdout
