"""Exit codes, what is printed where, and that reading commands change nothing."""

import json
from pathlib import Path

import jsonschema
import pytest
from small_run import Caisson, SmallRun

from entrypoint import __version__
from entrypoint.chain import STAGES
from entrypoint.cli import cli
from schemas.facts import Facts
from schemas.plan import Stage

ROOT = Path(__file__).resolve().parents[2]
CPU2 = ROOT / "tests" / "facts" / "cpu2.json"
T4 = ROOT / "tests" / "facts" / "t4.json"


# -- the command line itself


def test_commands() -> None:
    stages = {
        *STAGES,
        "sides",
        "validate",
        "plan",
        "gateway",
        "ask",
        "status",
        "exports",
        "compare",
        "report",
        "promote",
        "rollback",
        "doctor",
        "support",
        "sbom",
        "bundle",
        "load",
        "migrate",
        "facts",
        "schema",
        "anatomy",
        "calibrate",
    }
    assert set(cli.commands) == stages
    assert all(command.help for command in cli.commands.values())


def test_version(caisson: Caisson) -> None:
    assert caisson("--version") == (0, f"caisson, version {__version__}\n", "")


def test_help_says_the_exit_codes(caisson: Caisson) -> None:
    code, out, _ = caisson("--help")
    assert code == 0
    for number in ("0", "1", "2", "3", "4", "75"):
        assert f" {number} " in " ".join(out.split())


@pytest.mark.parametrize("arguments", [["no-such"], ["plan", "--no-such"], ["plan", "a", "b"], ["ask"]], ids=" ".join)
def test_wrong_command_line(caisson: Caisson, arguments: list[str]) -> None:
    code, out, err = caisson(*arguments)
    assert code == 2
    assert out == ""
    assert "Usage: caisson" in err


def test_store_that_is_a_file(caisson: Caisson, run: SmallRun) -> None:
    code, _, err = caisson("plan", run.spec_file, "--store", run.rows)
    assert code == 2
    assert "is a file" in err


# -- the spec


@pytest.mark.parametrize("command", [["validate"], ["plan"], ["status"], ["fetch"], ["train"], ["serve"]], ids=" ".join)
def test_missing_spec(caisson: Caisson, tmp_path: Path, command: list[str]) -> None:
    assert caisson(*command, tmp_path / "no.yaml") == (2, "", f"caisson: {tmp_path}/no.yaml is not there\n    name a spec file; examples are in specs/\n")


def test_spec_that_is_a_folder(caisson: Caisson, tmp_path: Path) -> None:
    assert caisson("validate", tmp_path) == (2, "", f"caisson: {tmp_path} is a folder\n    name the spec file\n")


def test_spec_that_is_not_utf_8(caisson: Caisson, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes("spec: 1\nname: ä".encode("latin-1"))
    assert caisson("validate", path) == (2, "", f"caisson: {path} is not UTF-8: byte 14 is 0xe4\n    save the file as UTF-8\n")


def test_every_problem_of_a_spec_and_no_prefix(caisson: Caisson, run: SmallRun) -> None:
    run.write("train: {epochs: -1, sed: 3}\n")
    code, out, err = caisson("validate", run.spec_file)
    assert (code, out) == (2, "")
    assert [line for line in err.splitlines() if line.startswith("spec.yaml:6:")] == [line for line in err.splitlines() if not line.startswith(" ")]
    assert "train.epochs" in err
    assert "train.sed" in err
    assert "Traceback" not in err


def test_validate(caisson: Caisson, run: SmallRun) -> None:
    assert caisson("validate", run.spec_file) == (0, "spec.yaml: valid (n: sft, adapter auto)\n", "")


def test_validate_reads_no_machine(caisson: Caisson, run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a wrong one."""
    monkeypatch.setenv("CAISSON_ACCELERATOR", "nonsense")
    assert caisson("validate", run.spec_file)[0] == 0
    assert caisson("plan", run.spec_file)[0] == 3


def test_validate_of_a_spec_whose_sources_are_elsewhere(caisson: Caisson, run: SmallRun) -> None:
    run.rows.unlink()
    assert caisson("validate", run.spec_file)[0] == 0


# -- stages


@pytest.mark.parametrize("stage", STAGES[1:])
def test_stage_before_its_turn(caisson: Caisson, run: SmallRun, stage: str) -> None:
    code, out, err = caisson(stage, run.spec_file, "--store", run.store.root)
    assert (code, out) == (2, "")
    assert err.startswith(f"caisson: {stage}: fetch has not finished for this spec\n")
    assert not run.store.root.exists()


@pytest.mark.parametrize("stage", STAGES[1:-2])
def test_up_to_date(caisson: Caisson, run: SmallRun, stage: str) -> None:
    run.seal("fetch", "prepare", "train", "export")
    caisson("export", run.spec_file, "--store", run.store.root)  # the first of a name becomes current, also where it was sealed by an earlier version
    before = sorted((p, p.stat().st_mtime_ns) for p in run.store.root.rglob("*"))
    code, out, err = caisson(stage, run.spec_file, "--store", run.store.root)
    assert (code, err) == (0, "")
    assert out.startswith(f"{stage}: ")
    assert ": up to date (n/" in out
    assert sorted((p, p.stat().st_mtime_ns) for p in run.store.root.rglob("*")) == before


def test_machine_that_cannot(caisson: Caisson, run: SmallRun) -> None:
    run.write("train: {precision: fp16}\n")
    run.seal("fetch", "prepare")
    assert caisson("train", run.spec_file, "--store", run.store.root) == (
        3,
        "",
        "caisson: train.precision: a CPU does not train in fp16\n    write precision: fp32 or auto\n",
    )


def test_fetch_really(run: SmallRun, caisson: Caisson) -> None:
    """A real leaf: the model's folder and the rows, then up to date; a broken source ends with the leaf's own code."""
    code, out, err = caisson("fetch", run.spec_file, "--store", run.store.root)
    assert (code, err) == (0, "")
    plan, _, work = out.partition("no impact above this line")
    assert plan.startswith("n on CPU")
    assert work.count(": sealed ") == 2
    code, out, _ = caisson("fetch", run.spec_file, "--store", run.store.root)
    assert code == 0
    assert [line.partition(": up to date")[1] for line in out.splitlines()] == [": up to date"] * 2
    run.rows.unlink()
    run.spec_file.write_text(run.spec_file.read_text().replace("rows.jsonl", "rowz.jsonl"))
    code, out, err = caisson("fetch", run.spec_file, "--store", run.store.root)
    assert code == 2
    assert err.startswith("caisson: data: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("role", "command", "maker"),
    [
        ("prepared", ["train"], "prepare"),
        ("model", ["ask", "--base", "Who?"], "fetch"),
        ("exported", ["ask", "Who?"], "export"),
        ("exported", ["serve"], "export"),
    ],
)
def test_damaged_input_is_set_aside_and_the_same_commands_mend_it(run: SmallRun, caisson: Caisson, role: str, command: list[str], maker: Stage) -> None:
    run.seal("fetch", "prepare", *(("train", "export") if role != "prepared" else ()))
    folder = run.store.root / run.chain().folder(role)
    path = folder / "content"
    path.write_bytes(path.read_bytes()[::-1])
    assert caisson("status", run.spec_file, "--store", run.store.root)[0] == 0
    code, out, _ = caisson("status", run.spec_file, "--store", run.store.root, "--verify")
    assert (code, "content was" in out, "damaged" in out) == (1, True, True)
    assert folder.is_dir(), "reading changes nothing"
    code, _, err = caisson(command[0], run.spec_file, *command[1:], "--store", run.store.root)
    (aside,) = folder.parent.glob(".damaged-*")
    assert code == (4 if role == "exported" else 3)
    assert err == (
        f"caisson: the {role} artifact {folder.relative_to(run.store.root)} is damaged: content was altered after it was sealed; "
        f"it was set aside as {aside.name}\n    `docker compose run --rm {maker}`, or `caisson {maker}`, makes it again; then run this command again\n"
    )
    assert caisson("status", run.spec_file, "--store", run.store.root, "--verify")[0] == 0
    run.seal(maker)
    assert path.is_file()


def test_ask_before_export(run: SmallRun, caisson: Caisson) -> None:
    code, _, err = caisson("ask", run.spec_file, "Who?", "--store", run.store.root)
    assert (code, err) == (2, "caisson: export has not finished for this spec\n    run `docker compose run --rm export`, or `caisson export`\n")
    code, _, err = caisson("ask", run.spec_file, "Who?", "--base", "--store", run.store.root)
    assert (code, err) == (2, "caisson: fetch has not finished for this spec\n    run `docker compose run --rm fetch`, or `caisson fetch`\n")


@pytest.mark.parametrize("section", ["{suites: [ifeval]}"])
@pytest.mark.parametrize("command", ["plan", "fetch"])
def test_unbuilt_sections_are_refused(caisson: Caisson, run: SmallRun, section: str, command: str) -> None:
    with run.spec_file.open("a") as spec:
        spec.write(f"\nevaluate: {section}\n")
    code, _, said = caisson(command, run.spec_file, "--store", run.store.root)
    assert code == 2
    assert "evaluate.suites: ifeval is not built in this version: its checks need langdetect, which has no wheel" in said
    assert not run.store.root.exists()


# -- status, doctor, schema


def test_status(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    run.write("train: {learning_rate: 0.5}\n")
    code, out, err = caisson("status", run.spec_file, "--store", run.store.root)
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines() if line and not line.startswith(" ")] == [
        ["stage", "state"], ["fetch", "model"], ["fetch", "data"], ["prepare", "sealed"], ["train", "stale"], ["export", "absent"],
        ["evaluate", "absent"],
    ]  # fmt: skip
    assert "learning_rate" in out


def test_status_as_json(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("status", run.spec_file, "--store", run.store.root, "--json")
    assert code == 0
    found = json.loads(out)
    assert [(s["stage"], s["state"]) for s in found] == [
        ("fetch", "absent"),
        ("fetch", "absent"),
        ("prepare", "absent"),
        ("train", "absent"),
        ("export", "absent"),
        ("evaluate", "absent"),
    ]
    assert all(set(s) == {"stage", "part", "state", "folder", "why"} for s in found)
    assert not run.store.root.exists()


def test_doctor(caisson: Caisson, run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAISSON_IMAGE", "train")
    code, out, _ = caisson("doctor", "--store", run.store.root)
    assert code == 0
    assert out.splitlines()[0].split() == ["check", "state", "found", "fix"]
    assert not run.store.root.exists()


def test_doctor_that_finds_a_fault_ends_with_3(caisson: Caisson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAISSON_IMAGE", "train")
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    code, out, _ = caisson("doctor", "--store", "/proc/1/store", "--json")
    assert code == 3
    assert [f["check"] for f in json.loads(out) if f["state"] == "fail"] == ["store"]


def test_schema(caisson: Caisson) -> None:
    code, out, _ = caisson("schema")
    assert code == 0
    found = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found == json.loads((ROOT / "schemas" / "spec.schema.json").read_text(encoding="utf-8"))


def test_recorded_machines_are_read_back() -> None:
    assert Facts.model_validate_json(CPU2.read_bytes()).device == "cpu"
