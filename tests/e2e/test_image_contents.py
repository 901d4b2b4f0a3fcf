"""What is in the images: a bill of materials that CycloneDX's validator takes, and no file that lends rights."""

import json
import subprocess

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

pytestmark = pytest.mark.e2e

IMAGES = ["train:dev-cpu", "export:dev-cpu", "serve-vllm:dev-cpu", "gateway:dev", "evaluate:dev-cpu"]
HELD = ("docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL")

each_image = pytest.mark.parametrize("image", IMAGES)


@each_image
def test_bill_of_materials(image: str) -> None:
    said = subprocess.run([*HELD, f"caisson/{image}", "sbom"], capture_output=True, text=True, check=True).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(said) is None
    document = json.loads(said)
    assert document["metadata"]["component"]["name"] == f"caisson/{image.split(':')[0]}"
    names = {one["purl"].split("@")[0] for one in document["components"]}
    assert "pkg:deb/debian/libc6" in names and "pkg:pypi/pydantic" in names
    if image.startswith("train"):
        assert {"pkg:pypi/torch", "pkg:pypi/transformers"} <= names
    unnamed = {one["name"] for one in document["components"] if "licenses" not in one}
    assert unnamed <= {"setuptools", "oss-harmony", "dotenv"}, "a package that names no licence: read its terms, then name it here"


@each_image
def test_nothing_lends_rights(image: str) -> None:
    command = [*HELD, "--user", "0", "--entrypoint", "find", f"caisson/{image}", "/", "-xdev", "-perm", "/6000", "-type", "f"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""


@each_image
def test_nothing_was_left_in_its_home(image: str) -> None:
    command = [*HELD, "--entrypoint", "find", f"caisson/{image}", "/tmp", "-xdev", "-type", "f"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""  # an installation number of MLflow's, for one
