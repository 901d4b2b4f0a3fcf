"""What is inside this image, as CycloneDX 1.6 JSON, or as a list of the licences that leave a doubt. Reads what dpkg and pip have left; runs nothing.

Format: cyclonedx.org/docs/1.6/json. Names of packages: package-url (github.com/package-url/purl-spec), types deb and pypi.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

from entrypoint import __version__

DPKG = Path("/var/lib/dpkg/status")
DOC = Path("/usr/share/doc")

DOUBTFUL = re.compile(r"propriet|non-?commercial|\bNC\b|all rights reserved|evaluation|end user licen|\bEULA\b|no.?deriv", re.IGNORECASE)
"""Words of licences that forbid to pass something on, or allow it under terms that a person has to read."""

CLASSIFIER = "License :: "
LONGEST = 100
"""Letters of a License field that is a name; longer ones are the text itself."""


@dataclass(frozen=True)
class Package:
    """One package: `deb` or `pypi`, and the licences that it names, SPDX where it does."""

    kind: str
    name: str
    version: str
    licences: tuple[str, ...] = ()
    expression: str = ""
    """An SPDX expression, where the package has one (PEP 639)."""

    architecture: str = ""
    source: str = field(default="", compare=False)
    """Homepage."""

    @property
    def purl(self) -> str:
        """Its package-url."""
        if self.kind == "deb":
            return f"pkg:deb/debian/{quote(self.name, safe='')}@{quote(self.version, safe='')}?arch={self.architecture}"
        return f"pkg:pypi/{re.sub(r'[-_.]+', '-', self.name).lower()}@{quote(self.version, safe='')}"

    @property
    def doubt(self) -> str:
        """Why a person has to read before it is passed on; empty where nothing speaks against it."""
        said = [self.expression] if self.expression else list(self.licences)
        if not said:
            return "names no licence"
        bad = [one for one in said if DOUBTFUL.search(one)]
        return bad[0] if bad and len(bad) == len(said) else ""


def packages() -> list[Package]:
    """Of Debian and of this interpreter, sorted."""
    return sorted({*debian_packages(DPKG, DOC), *python_packages()}, key=lambda one: (one.kind, one.name, one.version))


def debian_packages(status: Path, doc: Path) -> Iterator[Package]:
    """Installed ones; none on a system without dpkg."""
    text = status.read_text(encoding="utf-8", errors="replace") if status.is_file() else ""
    for block in text.split("\n\n"):
        said = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(" "))
        if "installed" in said.get("Status", "").split():
            name = said["Package"]
            yield Package("deb", name, said["Version"], _debian_licences(doc / name), "", said.get("Architecture", "all"), said.get("Homepage", ""))


def _debian_licences(folder: Path) -> tuple[str, ...]:
    """Short names of a machine-readable copyright file (Debian policy, copyright-format 1.0), or the licences of /usr/share/common-licenses it leads to."""
    try:
        text = (folder / "copyright").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    named = re.findall(r"^License: *(\S.*)$", text, re.MULTILINE) or re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])", text)
    return tuple(sorted({name.strip() for name in named})) or (("as its copyright file says",) if text.strip() else ())


def python_packages() -> Iterator[Package]:
    """Those that this interpreter imports."""
    for found in distributions():
        name = found.metadata["Name"]
        if name:
            expression = _said(found, "License-Expression")
            yield Package("pypi", name, found.version, _python_licences(found), expression, "", _said(found, "Home-page"))


def _python_licences(found: Distribution) -> tuple[str, ...]:
    named = [line.rpartition(" :: ")[2] for line in found.metadata.get_all("Classifier") or () if line.startswith(CLASSIFIER)]
    field_said = _said(found, "License").strip()
    if field_said and field_said != "UNKNOWN":
        named.append(field_said if len(field_said) <= LONGEST and "\n" not in field_said else _title(field_said))
    return tuple(sorted({name for name in named if name and name != "OSI Approved"}))


def _said(found: Distribution, field: str) -> str:
    """A field of its metadata; empty where it has none. Asked as a list, which old and new versions of importlib answer alike."""
    return str((found.metadata.get_all(field) or [""])[0])


def _title(text: str) -> str:
    """The first line with words of a licence that is given as a whole."""
    return next((line.strip()[:LONGEST] for line in text.splitlines() if line.strip()), "")


def cyclonedx(found: list[Package], image: str) -> dict[str, Any]:
    """The document. Without a time or a random number: the same packages give the same bytes."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": f"caisson/{image}", "name": f"caisson/{image}", "version": __version__},
            "tools": {"components": [{"type": "application", "name": "caisson", "version": __version__}]},
        },
        "components": [_component(one) for one in found],
    }


def _component(one: Package) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "library", "bom-ref": one.purl, "name": one.name, "version": one.version, "purl": one.purl}
    if one.expression:
        entry["licenses"] = [{"expression": one.expression}]
    elif one.licences:
        entry["licenses"] = [{"license": {"name": name}} for name in one.licences]
    if one.source.startswith(("http://", "https://")) and " " not in one.source:
        entry["externalReferences"] = [{"type": "website", "url": one.source}]
    return entry


def main() -> None:
    """`cyclonedx IMAGE`: the document on standard output; `doubtful`: a line for each package whose licence a person has to read."""
    found = packages()
    if sys.argv[1] == "cyclonedx":
        print(json.dumps(cyclonedx(found, sys.argv[2]), indent=2))
        return
    doubtful = [one for one in found if one.doubt]
    for one in doubtful:
        print(f"{one.kind:5} {one.name} {one.version}: {one.doubt}")
    print(f"{len(doubtful)} of {len(found)} packages forbid to pass them on, allow it under terms of their own, or name no licence: read their terms")


if __name__ == "__main__":
    main()
