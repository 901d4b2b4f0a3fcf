"""Answers of drivers and facts files, damaged at random: described, or refused in words; never anything else."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from test_probe_rocm import lay_out

from entrypoint.facts_files import parse_facts
from entrypoint.machines import machine_text
from entrypoint.probe import apple, ascend, machine, rocm
from schemas.errors import CaissonError, MachineError, SpecError

RECORDED = Path(__file__).parent / "recorded"
SEEDS = 200


def damage(text: str, chance: random.Random) -> str:
    """The text with a few of its pieces cut, doubled, swapped or replaced."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice((1, 1, 3, 20, 200)))
        piece = text[start:end]
        new = chance.choice(("", piece * 2, piece[::-1], "-1", "9" * 30, "\x1b[2J", "٣", "null", "|", "/", " ", "\n", "NaN", "{}", '"'))
        text = text[:start] + new + text[end:]
    return text


def said_in_words(read: Callable[[], object], *kinds: type[CaissonError]) -> bool:
    """Whether it was refused; the words can be printed."""
    try:
        read()
    except kinds as error:
        assert all(line.isprintable() for line in str(error).splitlines())
        return True
    return False


@pytest.mark.parametrize("name", ["npu-smi-910b3-x4", "npu-smi-a3", "npu-smi-older"])
def test_npu_smi(name: str) -> None:
    text = (RECORDED / f"{name}.txt").read_text(encoding="utf-8")
    refused = [said_in_words(lambda: ascend.parse_info(damage(text, random.Random(seed))), MachineError) for seed in range(SEEDS)]  # noqa: B023
    assert 0 < sum(refused) < SEEDS


def test_npu_smi_topology() -> None:
    text = (RECORDED / "npu-smi-topo-910b3-x4.txt").read_text(encoding="utf-8")
    assert {ascend.parse_topology(damage(text, random.Random(seed))) for seed in range(SEEDS)} <= {"hccs", "pcie", None}


def test_system_profiler() -> None:
    text = (RECORDED / "system-profiler-m1-max.json").read_text(encoding="utf-8")
    refused = [said_in_words(lambda: apple.parse_displays(damage(text, random.Random(seed))), MachineError) for seed in range(SEEDS)]  # noqa: B023
    assert 0 < sum(refused) < SEEDS


def test_kernel_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    lay_out("rocm-mi300x-x4", tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for seed in range(SEEDS):
        chance = random.Random(seed)
        path = chance.choice(files)
        whole = path.read_text(encoding="utf-8")
        path.write_text(damage(whole, chance), encoding="utf-8")
        said_in_words(lambda: rocm.accelerators(tmp_path), MachineError)
        path.write_text(whole, encoding="utf-8")
    assert len(rocm.accelerators(tmp_path)) == 4


def test_processor() -> None:
    text = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Platinum 8480C\nflags\t: fpu avx512f\n"
    names = [machine.parse_cpu_name(damage(text, random.Random(seed))) for seed in range(SEEDS)]
    assert all(name is None or (name.isprintable() and len(name) <= 200) for name in names)


@pytest.mark.parametrize("name", ["t4", "h100-x8", "mi300x-x8", "cpu-laptop"])
def test_facts_files(name: str) -> None:
    text = machine_text(name)
    refused = [said_in_words(lambda: parse_facts(damage(text, random.Random(seed)), "f.json"), SpecError) for seed in range(SEEDS)]  # noqa: B023
    assert sum(refused) > SEEDS / 2
