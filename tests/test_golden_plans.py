"""Every example spec on every recorded machine: the plan byte for byte, or the exact text and exit code of why there is none.

golden/SPEC-on-MACHINE/ holds plan.json or error.txt; spec and facts are read where they live (specs/, tests/facts/), so that neither is
a copy that lags behind. `pytest tests/test_golden_plans.py --update-golden` accepts what the program says now; read the diff.
"""

import json
import shutil
from itertools import product
from pathlib import Path

import pytest

from entrypoint import cli

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
SPECS = {path.stem: path for path in sorted((ROOT / "specs").glob("*.yaml"))}
MACHINES = {path.stem: path for path in sorted((ROOT / "tests" / "facts").glob("*.json"))}
CASES = list(product(SPECS, MACHINES))
SHOWN = [("demo", "cpu2"), ("zero3-70b-8gpu", "h100x8"), ("full-1.7b", "t4")]
"""Also as text: the demo, the most decisions, and one that cannot."""

WIDTH = 80


def folder_of(spec: str, machine: str) -> Path:
    return GOLDEN / f"{spec}-on-{machine}"


@pytest.fixture
def caisson(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path):
    """`caisson plan SPEC --facts MACHINE` over an empty store: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))

    def run(spec: str, machine: str, *options: str) -> tuple[int, str, str]:
        arguments = ["plan", SPECS[spec], "--facts", MACHINES[machine], "--store", tmp_path / "store", *options]
        monkeypatch.setattr("sys.argv", ["caisson", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        assert not (tmp_path / "store").exists()
        return code, *capfd.readouterr()

    return run


def expect(path: Path, said: str, update: bool) -> None:
    """Compare with the file, or write it."""
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(said, encoding="utf-8")
    assert path.is_file(), f"{path} is missing: --update-golden writes it"
    assert said == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("spec", "machine"), CASES, ids=["-on-".join(case) for case in CASES])
def test_plan(caisson, update_golden: bool, spec: str, machine: str) -> None:
    folder = folder_of(spec, machine)
    if update_golden and folder.is_dir():
        shutil.rmtree(folder)
    code, out, err = caisson(spec, machine, "--json")
    if code == 0:
        assert err == ""
        expect(folder / "plan.json", out, update_golden)
    else:
        assert json.loads(out)["waiting"], "what can be planned is still printed"
        expect(folder / "error.txt", f"exit {code}\n{err}", update_golden)
    if (spec, machine) in SHOWN:
        _, text, _ = caisson(spec, machine)
        expect(folder / "plan.txt", text, update_golden)


@pytest.mark.parametrize(("spec", "machine"), CASES, ids=["-on-".join(case) for case in CASES])
def test_text_keeps_to_the_width(caisson, spec: str, machine: str) -> None:
    _, out, _ = caisson(spec, machine)
    assert max(map(len, out.splitlines())) <= WIDTH
    assert "…" not in out


def test_nothing_is_left_over() -> None:
    assert {p.name for p in GOLDEN.iterdir()} == {folder_of(*case).name for case in CASES}
    for case in CASES:
        names = {p.name for p in folder_of(*case).iterdir()}
        assert len(names & {"plan.json", "error.txt"}) == 1, case
        assert names - {"plan.json", "error.txt"} == ({"plan.txt"} if case in SHOWN else set())


def test_each_spec_is_for_some_machine() -> None:
    for spec in SPECS:
        assert any((folder_of(spec, machine) / "plan.json").is_file() for machine in MACHINES), f"{spec} can be planned nowhere"


def test_each_machine_is_for_some_spec() -> None:
    """But the one that the images hold no kernels for."""
    for machine in MACHINES.keys() - {"v100-16"}:
        assert any((folder_of(spec, machine) / "plan.json").is_file() for spec in SPECS), f"nothing can be planned for {machine}"


def test_errors_are_of_the_machine() -> None:
    for error in GOLDEN.glob("*/error.txt"):
        assert error.read_text(encoding="utf-8").startswith("exit 3\ncaisson: "), error
