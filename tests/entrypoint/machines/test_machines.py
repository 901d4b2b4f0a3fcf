"""Machines that ship: whole, like the table of their kinds, and each planned for."""

from pathlib import Path

import pytest

from entrypoint.chain import follow
from entrypoint.facts_files import parse_facts
from entrypoint.machines import machine_names, machine_text
from entrypoint.plan.accelerators import find_kind, tabled_rates
from entrypoint.plan.device import too_old
from entrypoint.run.store import Store
from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.load import load

ROOT = Path(__file__).resolve().parents[3]
MODELS = Facts.model_validate_json((ROOT / "tests" / "facts" / "cpu2.json").read_text(encoding="utf-8")).models
MACHINES = {name: parse_facts(machine_text(name), name) for name in machine_names()}
SPECS = ["minimal", "cpu-smoke", "qlora-7b-24gb", "lora-8b-80gb", "full-1.7b", "zero3-70b-8gpu"]

ON_ALL = "cpu-smoke"
"""A spec that fits everywhere."""


def test_the_common_ones_are_there() -> None:
    wanted = {
        "cpu-laptop", "t4", "v100-16gb", "v100-32gb", "rtx-3090", "rtx-4090", "a10", "a100-40gb", "a100-80gb", "h100", "h200", "a100-80gb-x8", "h100-x8",
        "h200-x8",
    }  # fmt: skip
    assert wanted <= set(MACHINES)


@pytest.mark.parametrize("name", MACHINES)
def test_alike_and_named_after_what_they_have(name: str) -> None:
    facts = MACHINES[name]
    assert len(set(facts.accelerators)) == (facts.device != "cpu")
    assert len(facts.accelerators) == (0 if facts.device == "cpu" else 8 if name.endswith("-x8") else 1)
    if facts.accelerators:
        one = facts.accelerators[0]
        assert one.link and (one.link.kind == "none") is (len(facts.accelerators) == 1)
        words = set(name.removesuffix("-x8").split("-"))
        assert {word for word in words if not word.endswith("gb")} <= set("".join(c if c.isalnum() else " " for c in one.name.lower()).split())
        for word in words:
            if word.endswith("gb"):
                assert 0.9 < one.memory_gib * 1.0737 / int(word[:-2]) < 1.08


@pytest.mark.parametrize("name", [name for name, facts in MACHINES.items() if facts.accelerators])
def test_kinds_are_in_the_table(name: str) -> None:
    """And have no more memory than the table says: the driver keeps a part."""
    one = MACHINES[name].accelerators[0]
    kind, rates = find_kind(one.name), tabled_rates(one)
    assert kind and rates
    assert (rates.collective_gib is not None) is (len(MACHINES[name].accelerators) > 1)
    if kind.memory_gib:
        assert kind.memory_gib * 0.97 < one.memory_gib <= kind.memory_gib
    if one.link and one.link.gib_per_second:
        assert one.link.gib_per_second == pytest.approx(kind.link_gib, rel=0.01)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", MACHINES)
def test_planned(name: str, spec: str, tmp_path: Path) -> None:
    """A plan, or a refusal that names the machine's lack; never anything else."""
    facts = MACHINES[name].model_copy(update={"models": MODELS})
    wanted = load((ROOT / "specs" / f"{spec}.yaml").read_text(encoding="utf-8"))
    chain = follow(wanted, facts, Store(tmp_path / "store"))
    assert all(isinstance(error, MachineError) for error in chain.errors.values())
    assert {"fetch", "prepare"} <= set(chain.plans)
    if facts.device not in ("cpu", "cuda"):
        assert set(chain.errors) == {"train", "export", "serve"}
        assert all("no image computes on" in error.what for error in chain.errors.values())
    elif too_old(facts.accelerators):
        assert set(chain.errors) == {"train", "export", "serve"}
        assert all("hold no kernels for Tesla V100" in error.what for error in chain.errors.values())
    elif spec == ON_ALL:
        assert chain.errors == {}


def test_larger_machines_do_more(tmp_path: Path) -> None:
    wanted = load((ROOT / "specs" / "zero3-70b-8gpu.yaml").read_text(encoding="utf-8"))

    def can(name: str) -> bool:
        return "train" in follow(wanted, MACHINES[name].model_copy(update={"models": MODELS}), Store(tmp_path / "store")).plans

    assert [can(name) for name in ("t4", "h100", "h100-x8", "h200-x8")] == [False, False, True, True]
