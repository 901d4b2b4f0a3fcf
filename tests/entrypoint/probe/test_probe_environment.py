"""What a process is told of its device, its place and what it may see."""

from pathlib import Path

import pytest

from entrypoint import probe
from entrypoint.probe import environment
from schemas.errors import MachineError


@pytest.mark.parametrize("said", ["cpu", "cuda"])
def test_image_says_its_device(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", said)
    assert environment.said_device() == said


def test_unknown_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", "rocm")
    with pytest.raises(MachineError) as caught:
        environment.said_device()
    assert str(caught.value) == "CAISSON_ACCELERATOR is 'rocm'\n    it must be cpu or cuda"


def test_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAISSON_ACCELERATOR", raising=False)
    assert environment.said_device() is None


def test_in_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAISSON_IMAGE", raising=False)
    assert not probe.in_container()
    monkeypatch.setenv("CAISSON_IMAGE", "train")
    assert probe.in_container()


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (None, [0, 1, 2]), ("", []), ("0", [0]), ("2,0", [2, 0]), (" 1 , 2 ", [1, 2]), ("0,7,1", [0]), ("-1", []), ("NoDevFiles", []), ("1,1", [1]),
        ("GPU-b", [1]), ("GPU-c,GPU-a", [2, 0]), ("GPU-x,0", []), ("0,", [0]), ("\u0662", []),
    ],
)  # fmt: skip
def test_gpus_that_are_hidden_are_not_planned_with(wanted: str | None, seen: list[int]) -> None:
    """As CUDA reads the variable: up to the first word that names no GPU."""
    assert environment.visible(["GPU-a1", "GPU-b2", "GPU-c3"], wanted) == seen


def test_variables_apply_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """HIP counts among what ROCR leaves."""
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    ids = [f"GPU-{at}" for at in range(8)]
    assert environment.seen("rocm", ids) == list(range(8))
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1,0")
    assert environment.seen("rocm", ids) == [5, 4]
    assert environment.seen("mps", ["one"]) == [0]


def test_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAISSON_IMAGE", raising=False)
    monkeypatch.setenv("GATEWAY_SECRETS", str(tmp_path))
    assert probe.key_file() is None
    (tmp_path / "keys").touch()
    assert probe.key_file() == tmp_path / "keys"
