"""Room for what a spec writes, and whose the store is."""

import os
from pathlib import Path

import pytest

from entrypoint.doctor.store import USER, owner_findings, spec_finding
from schemas.facts import Facts

GIB = 2**30
FACTS = Facts(device="cpu", cpu_cores=2, ram_gib=16.0, disk_free_gib=10.0, shm_gib=2.0, program="0.1.0")


@pytest.mark.parametrize(
    ("needs", "state", "said"),
    [
        ({"fetch": GIB, "train": 9 * GIB}, "ok", "10.0 GiB to come (fetch 1.0, train 9.0), 10.0 free"),
        ({"train": 11 * GIB}, "fail", "11.0 GiB to come (train 11.0), 10.0 free"),
        ({"fetch": GIB, "train": 0}, "ok", "cannot be counted before the model is fetched"),
        ({}, "ok", "0.0 GiB to come, 10.0 free"),
    ],
)
def test_room_for_a_spec(needs: dict[str, int], state: str, said: str) -> None:
    found = spec_finding(FACTS, needs)
    assert (found.state, said in found.found, bool(found.fix)) == (state, True, state == "fail")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files to others")
def test_a_store_with_the_files_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (found,) = owner_findings(tmp_path, USER)
    assert (found.state, "demo belongs to uid 0" in found.found) == ("warn", True)
    os.chown(tmp_path / "demo", USER, USER)
    assert [f.state for f in owner_findings(tmp_path, USER)] == ["ok"]
    assert owner_findings(tmp_path, 0) == []
