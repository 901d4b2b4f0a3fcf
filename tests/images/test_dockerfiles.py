"""What every Dockerfile promises, read from its text."""

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted(ROOT.glob("images/*/Dockerfile"))
LEAVES = [path for path in DOCKERFILES if path.parent.name not in ("base", "torch")]
CONTEXTS = {"base", "torch", "wheels"}  # named in docker-bake.hcl
OURS = [
    ROOT / "docker-bake.hcl",
    *(path for folder in ("setup", "images") for path in sorted((ROOT / folder).rglob("*")) if path.is_file() and "__pycache__" not in path.parts),
]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(name, argument) of every instruction, comments out and continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()
    return [(name.upper(), argument.strip()) for name, _, argument in (line.partition(" ") for line in joined)]


def values(path: Path, name: str) -> list[str]:
    return [argument for found, argument in instructions(path) if found == name]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_from_is_local_or_pinned(path: Path) -> None:
    stages: set[str] = set()
    for argument in values(path, "FROM"):
        image, _, stage = argument.partition(" AS ")
        assert image == "${BASE_IMAGE}" or image in CONTEXTS | stages or "@sha256:" in image, f"{image} is neither ours nor pinned by digest"
        assert ":latest" not in image
        stages.add(stage.strip())


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_needs_no_frontend_image(path: Path) -> None:
    assert not re.search(r"^#\s*syntax\s*=", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", LEAVES, ids=ids)
def test_runs_as_nobody_in_particular(path: Path) -> None:
    assert values(path, "USER")[-1] == "10001:10001"
    assert json.loads(values(path, "ENTRYPOINT")[-1]) == ["/usr/local/bin/caisson"]


@pytest.mark.parametrize("path", LEAVES, ids=ids)
def test_dependencies_before_code(path: Path) -> None:
    order = [name + " " + argument for name, argument in instructions(path)]
    install = next(i for i, line in enumerate(order) if "--require-hashes" in line)
    smoke = next(i for i, line in enumerate(order) if "/smoke.py" in line and "python /smoke.py" in line)
    code = next(i for i, line in enumerate(order) if line.startswith("COPY"))
    assert install < smoke < code < order.index("USER 10001:10001")


@pytest.mark.parametrize("path", LEAVES, ids=ids)
def test_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    name = path.parent.name
    accelerator = "none" if name == "gateway" else "${ACCELERATOR}"
    assert f"CAISSON_IMAGE={name} " in text and f"CAISSON_ACCELERATOR={accelerator}" in text
    for key in ("title", "description", "version", "revision", "source", "licenses", "base.name"):
        assert f"org.opencontainers.image.{key}=" in text
    assert f'"caisson/{name}"' in text


@pytest.mark.parametrize("path", [path for path in DOCKERFILES if path.parent.name != "base"], ids=ids)
def test_pip_checks_hashes_and_decides_nothing(path: Path) -> None:
    for argument in values(path, "RUN"):
        if "/opt/tools/bin/pip" in argument:
            assert "--require-hashes" in argument and "--no-deps" in argument and "--only-binary :all:" in argument


def test_base_is_offline_and_silent() -> None:
    text = (ROOT / "images/base/Dockerfile").read_text()
    for setting in ("HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", "HF_HUB_DISABLE_TELEMETRY=1", "DO_NOT_TRACK=1", "VLLM_NO_USAGE_STATS=1", "HOME=/tmp"):
        assert setting in text
    assert "-o 10001 -g 10001 /store" in text


def test_trackers_do_not_phone_home() -> None:
    text = (ROOT / "images/train/Dockerfile").read_text()
    for setting in ("WANDB_ERROR_REPORTING=false", "MLFLOW_DISABLE_TELEMETRY=true"):
        assert setting in text


def test_every_image_is_baked() -> None:
    bake = (ROOT / "docker-bake.hcl").read_text()
    for path in DOCKERFILES:
        assert f'target "{path.parent.name}"' in bake and f'"images/{path.parent.name}/Dockerfile"' in bake
    assert ":latest" not in bake


@pytest.mark.parametrize("path", OURS, ids=ids)
def test_names_no_host(path: Path) -> None:
    """Mirrors and registries are the machine's to name."""
    found = re.search(r"https?://[\w.-]+|\b[\w-]+\.(?:org|com|co|io|dev|net)/", path.read_text())
    assert not found, found


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("setup/*.sh")), ROOT / "images/lock.sh"], ids=ids)
def test_scripts_stop_at_the_first_error(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash" and "set -euo pipefail" in lines


def test_the_command_is_executable() -> None:
    assert os.access(ROOT / "images/caisson", os.X_OK)
