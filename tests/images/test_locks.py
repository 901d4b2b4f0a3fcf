"""Every lock: pinned, hashed, the right torch, one version of a package over all images of an accelerator."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("torch", "train", "export", "serve-vllm")
LOCKS = [ROOT / "images" / image / f"requirements.{accelerator}.txt" for accelerator in ("cpu", "cuda") for image in IMAGES]
LMDEPLOY = ROOT / "images/serve-lmdeploy/requirements.cuda.txt"
"""Shares no layer with the others, and has versions of its own."""

EVALUATE = [ROOT / f"images/evaluate/requirements.{accelerator}.txt" for accelerator in ("cpu", "cuda")]
"""No torch, and an older datasets."""

HOST = ROOT / "tests/requirements.txt"
GATEWAY = ROOT / "images/gateway/requirements.txt"
"""One for every accelerator."""


def entries(path: Path) -> dict[str, tuple[str, int]]:
    """Name -> version and number of hashes; any line that is something else fails."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")))
    found: dict[str, tuple[str, int]] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = re.fullmatch(r"([a-z0-9][a-z0-9.-]*)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)", line)
        assert match, f"not pinned with a hash: {line[:80]}"
        assert match[1] not in found, f"twice: {match[1]}"
        found[match[1]] = match[2], match[3].count("--hash")
    return found


def versions(path: Path) -> dict[str, str]:
    return {name: version for name, (version, _) in entries(path).items()}


def wanted(path: Path, of: frozenset[Path] = frozenset()) -> list[tuple[str, str]]:
    """(name, specifier) of an .in file and what it includes."""
    found: list[tuple[str, str]] = []
    for line in path.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            found += wanted((path.parent / line[3:].strip()).resolve(), of | {path})
        elif line:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z-]+\])?\s*(.*)", line)
            assert match
            found.append((re.sub(r"[._]", "-", match[1]).lower(), match[2]))
    return found


def fits(version: str, specifier: str) -> bool:
    public = version.partition("+")[0]
    if not specifier:
        return True
    if specifier.startswith("==") and specifier.endswith(".*"):
        return public.startswith(specifier[2:-1]) or public == specifier[2:-2]
    if specifier.startswith("=="):
        return public == specifier[2:]
    if specifier.startswith(">="):
        return [int(part) for part in re.findall(r"\d+", public)] >= [int(part) for part in re.findall(r"\d+", specifier)]
    raise AssertionError(f"a specifier this test cannot read: {specifier}")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*LOCKS, LMDEPLOY, *EVALUATE, HOST, GATEWAY], ids=ids)
def test_pinned_and_hashed(path: Path) -> None:
    assert entries(path)


@pytest.mark.parametrize("path", [*LOCKS, LMDEPLOY, *EVALUATE, HOST, GATEWAY], ids=ids)
def test_answers_its_in_files(path: Path) -> None:
    locked = versions(path)
    accelerator = path.name.split(".")[1]
    sources = [path.parent / "requirements.in"]
    extra = path.parent / f"{accelerator}.in"
    for name, specifier in [item for source in [*sources, *([extra] if extra.exists() else [])] for item in wanted(source)]:
        assert name in locked, f"{name} is not in the lock: run images/lock.sh"
        assert fits(locked[name], specifier), f"{name} {locked[name]} is not {specifier}: run images/lock.sh"


@pytest.mark.parametrize("path", LOCKS, ids=ids)
def test_the_right_torch(path: Path) -> None:
    locked = versions(path)
    nvidia = {name for name in locked if name.startswith("nvidia-")} - {"nvidia-ml-py"}
    if path.name == "requirements.cpu.txt":
        assert locked["torch"] == "2.13.0+cpu"
        assert not nvidia
        assert not {"triton", "torchvision", "torchaudio", "torchcodec", "liger-kernel"} & set(locked)
    else:
        assert locked["torch"] == "2.13.0"
        assert nvidia and "triton" in locked


@pytest.mark.parametrize("path", LOCKS, ids=ids)
def test_what_is_left_out(path: Path) -> None:
    names = [ROOT / "images/all.exclude", *([ROOT / "images/cpu.exclude"] if path.name == "requirements.cpu.txt" else [])]
    excluded = {line for name in names for line in name.read_text().splitlines() if line and not line.startswith("#")}
    assert not excluded & set(versions(path))


def apart(image: Path) -> set[str]:
    """Packages of which an image has a version of its own."""
    path = image / "apart"
    return {line for line in path.read_text().splitlines() if line and not line.startswith("#")} if path.is_file() else set()


def test_what_is_apart_has_to_be() -> None:
    """An exception that is no longer one would hide the next."""
    for accelerator in ("cpu", "cuda"):
        name = f"requirements.{accelerator}.txt"
        assert versions(ROOT / "images/export" / name)["compressed-tensors"] != versions(ROOT / "images/serve-vllm" / name)["compressed-tensors"]
    assert apart(ROOT / "images/export") == {"compressed-tensors"}


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_one_version_over_all_images(accelerator: str) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for path in (path for path in LOCKS if path.name == f"requirements.{accelerator}.txt"):
        for name, version in versions(path).items():
            if name in apart(path.parent):
                continue
            other, where = seen.setdefault(name, (version, ids(path)))
            assert version == other, f"{name} is {version} in {ids(path)} and {other} in {where}"


def test_the_gateway_has_the_programs_own_versions_and_nothing_heavy() -> None:
    locked = versions(GATEWAY)
    assert locked.items() <= versions(ROOT / "images/torch/requirements.cpu.txt").items()
    assert "torch" not in locked


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_the_shared_layer_is_whole(accelerator: str) -> None:
    """All of torch's layer is in each lock, so that no image changes a package below it."""
    shared = versions(ROOT / "images/torch" / f"requirements.{accelerator}.txt").items()
    for image in IMAGES[1:]:
        assert shared <= versions(ROOT / "images" / image / f"requirements.{accelerator}.txt").items()


def test_the_compiler_is_that_of_torchs_cuda() -> None:
    locked = versions(ROOT / "images/serve-vllm/requirements.cuda.txt")
    release = locked["nvidia-cuda-runtime"].split(".")[:2]
    for name in ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-nvrtc", "nvidia-cuda-cccl"):
        assert locked[name].split(".")[:2] == release


def test_lmdeploy_has_one_cuda() -> None:
    """Its wheel is built for CUDA 12: from torch 2.11 on there would be two, and two packages that write libnccl.so.2."""
    locked = versions(LMDEPLOY)
    nvidia = {name for name in locked if name.startswith("nvidia-")} - {"nvidia-ml-py"}
    assert nvidia and all(name.endswith("-cu12") for name in nvidia)
    assert "cuda-toolkit" not in locked and locked["torch"].startswith("2.10.")
    assert locked["nvidia-cuda-runtime-cu12"].split(".")[:2] == locked["nvidia-cublas-cu12"].split(".")[:2] == ["12", "8"]


def test_lmdeploy_renders_templates_as_the_trainer_does() -> None:
    trainer = versions(ROOT / "images/train/requirements.cuda.txt")
    assert {name: versions(LMDEPLOY)[name] for name in ("transformers",)} == {"transformers": trainer["transformers"]}


@pytest.mark.parametrize("path", EVALUATE, ids=ids)
def test_evaluate_decodes_as_the_trainer_does_and_holds_no_torch(path: Path) -> None:
    locked, trainer = versions(path), versions(ROOT / "images/train" / path.name)
    for name in ("transformers", "tokenizers", "numpy", *versions(GATEWAY)):
        assert locked[name] == trainer[name]
    left_out = {line for line in (path.parent / "exclude").read_text().splitlines() if line and not line.startswith("#")}
    assert not ({"torch", "gradio", "triton"} | left_out) & set(locked)


def test_the_host_needs_no_torch() -> None:
    assert not {"torch", "transformers"} & set(versions(HOST))
