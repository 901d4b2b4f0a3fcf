"""What dpkg and pip have left, as a document that CycloneDX's own validator takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cyclonedx")  # of the host's environment alone

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from entrypoint.run.sbom import Package, cyclonedx, debian_packages, packages

ROOT = Path(__file__).resolve().parents[3]

STATUS = """Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134
Homepage: not an address

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: libstdc++6
Status: install ok installed
Architecture: amd64
Version: 1:12.2.0-14+deb12u1
Homepage: http://gcc.example/
Description: a library
 Status: not a field
"""


def validated(document: dict) -> dict:
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    assert fault is None, fault
    return document


def test_debian_packages(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "adduser").mkdir()
    (tmp_path / "adduser" / "copyright").write_text("Format: x\nFiles: *\nLicense: GPL-2+\n\nLicense: GPL-2+\n text\n")
    (tmp_path / "libstdc++6").mkdir()
    (tmp_path / "libstdc++6" / "copyright").write_text("see /usr/share/common-licenses/GPL-3.\n")
    found = {one.name: one for one in debian_packages(tmp_path / "status", tmp_path)}
    assert set(found) == {"adduser", "libstdc++6"}
    assert found["adduser"].licences == ("GPL-2+",)
    assert found["libstdc++6"].licences == ("GPL-3",)
    assert found["libstdc++6"].purl == "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64"
    document = validated(cyclonedx(list(found.values()), "train"))
    assert "externalReferences" not in document["components"][0]
    assert document["components"][1]["externalReferences"][0]["url"] == "http://gcc.example/"


def test_no_dpkg_no_packages(tmp_path: Path) -> None:
    assert list(debian_packages(tmp_path / "none", tmp_path)) == []


def test_this_interpreter() -> None:
    found = {one.name.lower(): one for one in packages() if one.kind == "pypi"}
    assert found["pydantic"].version == __import__("pydantic").VERSION
    assert found["pydantic"].expression == "MIT"
    assert found["typing_extensions"].purl.startswith("pkg:pypi/typing-extensions@")
    validated(cyclonedx(packages(), "host"))


@pytest.mark.parametrize(
    ("said", "doubt"),
    [
        ({"licences": ("MIT License",)}, False),
        ({"licences": ("NVIDIA Proprietary Software",)}, True),
        ({"licences": ("Other/Proprietary License",)}, True),
        ({"licences": ("GPL-2", "CC-BY-NC-4.0")}, False),
        ({"expression": "LicenseRef-NVIDIA-Proprietary"}, True),
        ({"expression": "Apache-2.0"}, False),
        ({"licences": ("Free for non-commercial use",)}, True),
        ({}, True),
    ],
)
def test_licences_that_a_person_has_to_read(said: dict, doubt: bool) -> None:
    assert bool(Package("pypi", "x", "1", **said).doubt) == doubt


def test_the_same_packages_give_the_same_bytes() -> None:
    command = [sys.executable, "-m", "entrypoint", "sbom"]
    first, second = (subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout for _ in range(2))
    assert first == second
    assert validated(json.loads(first))["metadata"]["component"]["name"] == "caisson/host"
