"""Facts files of every wrong shape, and machines by name: all problems in words, exit code 2, no traceback."""

import json
import re
from pathlib import Path

import pytest
from small_run import CONFIG, Caisson, SmallRun

from entrypoint import __version__
from entrypoint.facts_files import FORM, OF_A_STORE, PARTS, parse_facts
from entrypoint.machines import machine_names
from schemas.errors import SpecError
from schemas.facts import Facts

ROOT = Path(__file__).resolve().parents[2]
CPU2 = ROOT / "tests" / "facts" / "cpu2.json"
T4 = ROOT / "tests" / "facts" / "t4.json"


def cpu2(old: str, new: str) -> bytes:
    changed, times = re.subn(old.encode(), new.encode(), CPU2.read_bytes(), count=1)
    assert times == 1
    return changed


def t4(old: str, new: str) -> bytes:
    changed, times = re.subn(old.encode(), new.encode(), T4.read_bytes(), count=1)
    assert times == 1
    return changed


WRONG = {
    "empty": (b"", "is not JSON: EOF while parsing a value at line 1 column 0"),
    "cut": (b"{", "is not JSON: EOF while parsing an object at line 1 column 1"),
    "YAML": (b"device: cpu\n", "is not JSON: expected value at line 1 column 1"),
    "deep": (b"[" * 100_000, "is not JSON: recursion limit exceeded at line 1 column "),
    "a list": (b"[]", "must be a mapping of keys, as `caisson facts` prints it"),
    "a number": (b"3", "must be a mapping of keys, as `caisson facts` prints it"),
    "no device": (b"{}", "device: is missing"),
    "device": (b'{"device": "tpu"}', "device: must be 'cpu', 'cuda', 'rocm', 'npu' or 'mps', not tpu"),
    "text for a number": (cpu2('"cpu_cores": 2', '"cpu_cores": "two"'), "cpu_cores: must be a valid integer, unable to parse string as an integer, not two"),
    "unknown key": (cpu2('"cpu_cores"', '"cores": 2, "cpu_cores"'), "cores: is not a known key\n    did you mean `cpu_cores`?"),
    "no cores": (cpu2('"cpu_cores": 2', '"cpu_cores": 0'), "cpu_cores: must be greater than or equal to 1, not 0"),
    "no memory": (cpu2(r'"ram_gib": [\d.]+', '"ram_gib": 0'), "ram_gib: must be greater than 0, not 0"),
    "NaN": (cpu2(r'"ram_gib": [\d.]+', '"ram_gib": NaN'), "ram_gib: must be "),
    "infinite": (cpu2(r'"disk_free_gib": [\d.]+', '"disk_free_gib": 1e999'), "disk_free_gib: must be a finite number"),
    "disk": (cpu2(r'"disk_free_gib": [\d.]+', '"disk_free_gib": -1'), "disk_free_gib: must be greater than or equal to 0, not -1"),
    "disk's speed": (cpu2('"cpu_cores"', '"disk_write_gib": 5e-324, "cpu_cores"'), "disk_write_gib: must be greater than or equal to 0.001"),
    "more free than there is": (cpu2('"cpu_cores"', '"ram_free_gib": 24, "cpu_cores"'), "ram_free_gib is more than ram_gib"),
    "negative memory": (t4(r'"memory_gib": [\d.]+', '"memory_gib": -14'), "accelerators.0.memory_gib: must be greater than 0, not -14"),
    "more of a card free": (t4('"name"', '"memory_free_gib": 99, "name"'), "accelerators.0: memory_free_gib is more than memory_gib"),
    "capability": (t4('"7.5"', '"x"'), "accelerators.0.compute_capability: must match pattern "),
    "NaN capability": (t4('"7.5"', '"nan"'), "accelerators.0.compute_capability: must match pattern "),
    "negative capability": (t4('"7.5"', '"-7.5"'), "accelerators.0.compute_capability: must match pattern "),
    "Arabic digits": (t4('"7.5"', '"٧.٥"'), "accelerators.0.compute_capability: must match pattern "),
    "no capability": (t4('"7.5"', "null"), "accelerators.0: compute_capability is missing: kind cuda has one, such as 9.0"),
    "capability of another vendor": (t4('"name"', '"kind": "rocm", "name"'), "accelerators.0: compute_capability is NVIDIA's: only kind cuda has one"),
    "kind": (t4('"name"', '"kind": "tpu", "name"'), "accelerators.0.kind: must be 'cuda', 'rocm', 'npu' or 'mps', not tpu"),
    "kind that is not the device's": (t4('"cuda"', '"rocm"'), "device is rocm and an accelerator is of kind cuda: all are of the device's"),
    "key of an accelerator": (t4('"memory_gib"', '"memory": 1, "memory_gib"'), "accelerators.0.memory: is not a known key\n    did you mean `memory_gib`?"),
    "key of a link": (t4('"name"', '"link": {"kind": "pcie", "speed": 3}, "name"'), "accelerators.0.link.speed: is not a known key\n    known here: kind, gib_per_second"),
    "link": (t4('"name"', '"link": "nvlink", "name"'), "accelerators.0.link: must be a mapping of keys"),
    "escape sequence": (t4('"Tesla T4"', r'"\\u001b[2J"'), "accelerators.0.name: holds characters that cannot be printed"),
    "escape sequence in a key": (cpu2('"cpu_cores"', r'"\\u001b[2J": 1, "cpu_cores"'), "'\\x1b[2J'...: is not a known key\n    known here: device, "),
    "long key": (cpu2('"cpu_cores"', f'"{"k" * 5000}": 1, "cpu_cores"'), f"'{'k' * 40}'...: is not a known key"),
    "cpu with GPUs": (t4('"cuda"', '"cpu"'), "device is cpu and accelerators are named: one of the two is wrong"),
    "a number of accelerators": (cpu2(r'"accelerators": \[\]', '"accelerators": 1000000000'), "accelerators: must be a list, not 1000000000"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_wrong_facts(caisson: Caisson, run: SmallRun, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "facts.json"
    path.write_bytes(content)
    code, out, err = caisson("plan", run.spec_file, "--facts", path)
    assert (code, out) == (2, "")
    assert f"{path}: {said}" in err
    assert "Traceback" not in err and max(map(len, err.splitlines())) < 200 + len(str(path))


def test_every_problem_at_once() -> None:
    text = json.dumps({"device": "cuda", "accelerators": [{"name": "T4", "memory_gib": -1, "compute_capability": 7.5}], "cpu_cores": 0, "disk_free": 3})
    with pytest.raises(SpecError) as caught:
        parse_facts(text, "f.json")
    said = [problem.where for problem in caught.value.problems]
    assert said == ["accelerators.0.memory_gib", "accelerators.0.compute_capability", "cpu_cores", "ram_gib", "disk_free_gib", "shm_gib", "disk_free"]
    assert str(caught.value).endswith("f.json: disk_free: is not a known key\n    did you mean `disk_free_gib`?")


def test_a_file_of_another_kind_has_an_end() -> None:
    with pytest.raises(SpecError) as caught:
        parse_facts(json.dumps({str(at): at for at in range(5000)}), "f.json")
    assert len(caught.value.problems) == 21
    assert str(caught.value).endswith(f"f.json: and 4,985 more problems\n    {FORM}"), "five are missing, five thousand are not known"


def test_too_many_accelerators() -> None:
    one = {"kind": "rocm", "name": "x", "memory_gib": 1}
    with pytest.raises(SpecError, match="accelerators: must have at most 1024 items"):
        parse_facts(json.dumps({"device": "rocm", "accelerators": [one] * 5000, "cpu_cores": 1, "ram_gib": 1, "disk_free_gib": 1, "shm_gib": 0}), "f.json")


def test_a_file_of_an_older_version() -> None:
    """With what there was before accelerators had kinds."""
    facts = parse_facts(T4.read_text(encoding="utf-8"), "t4.json")
    (one,) = facts.accelerators
    assert (one.kind, one.link, one.bf16, one.driver, facts.program) == ("cuda", None, None, None, "0.1.0")


def test_missing_facts(caisson: Caisson, run: SmallRun, tmp_path: Path) -> None:
    code, _, err = caisson("plan", run.spec_file, "--facts", tmp_path / "no.json")
    assert code == 2
    assert err.startswith(f"caisson: {tmp_path}/no.json is not there\n    Recorded machines are {', '.join(machine_names())}")


@pytest.mark.parametrize(
    ("given", "meant"), [("h100x8.json", "h100-x8"), ("H100", "h100"), ("rtx4090", "rtx-4090"), ("t4.json", "t4"), ("a100x8", "a100-80gb-x8")]
)
def test_nearest_machine(caisson: Caisson, run: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, meant: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = caisson("plan", run.spec_file, "--facts", given)
    assert code == 2
    assert err.startswith(f"caisson: {given} is not there\n    did you mean ")
    assert meant in err.splitlines()[1].partition("?")[0]


def test_unreadable_facts(caisson: Caisson, run: SmallRun, tmp_path: Path) -> None:
    path = tmp_path / "loop.json"
    path.symlink_to(path)
    code, _, err = caisson("plan", run.spec_file, "--facts", path)
    assert (code, err) == (2, f"caisson: {path} is a link that leads back to itself\n    name the facts file\n")
    assert caisson("plan", run.spec_file, "--facts", tmp_path)[2] == f"caisson: {tmp_path} is a folder\n    name the facts file\n"
    path.unlink()
    path.write_bytes(b"\xff")
    assert caisson("plan", run.spec_file, "--facts", path)[0] == 2


def test_by_name(caisson: Caisson, run: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a file with that name; ./NAME is the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h100-x8").write_text("{")
    code, out, err = caisson("plan", run.spec_file, "--facts", "h100-x8", "--store", run.store.root)
    assert (code, err) == (0, "")
    assert out.startswith("n on 8 x NVIDIA H100 80GB HBM3 (80 GiB), 128 cores, 1007 GiB RAM")
    assert "memory" in out, "the model lies here, so that its config is known"
    assert caisson("plan", run.spec_file, "--facts", "./h100-x8")[2].startswith("./h100-x8: is not JSON")


def test_what_the_facts_say_of_a_model_goes_first(caisson: Caisson, run: SmallRun, tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    facts = Facts.model_validate_json(T4.read_text(encoding="utf-8")).model_copy(
        update={"models": {str(run.model): {"config": {**CONFIG, "hidden_size": 6400}}}}
    )
    path.write_text(facts.model_dump_json(warnings=False))
    known = json.loads(caisson("plan", run.spec_file, "--facts", path, "--store", run.store.root, "--json")[1])
    local = json.loads(caisson("plan", run.spec_file, "--facts", "t4", "--store", run.store.root, "--json")[1])

    def memory(plan: dict) -> str:
        return next(decision["value"] + decision["why"] for decision in plan["decisions"] if decision["field"] == "memory")

    assert memory(known) != memory(local)


def test_a_machine_without_an_image(caisson: Caisson, run: SmallRun) -> None:
    code, out, err = caisson("plan", run.spec_file, "--facts", "mi300x-x8", "--store", run.store.root)
    assert code == 3
    assert err.startswith(
        "caisson: no image computes on AMD's ROCm (8 x AMD Instinct MI300X OAM): there are images for cpu and cuda\n    plan for its processor: "
    )
    assert "prepare" in out, "what does not depend on it is planned"
    assert caisson("plan", run.spec_file, "--facts", "mi300x-x8", "--store", run.store.root, "--show", "env")[1].splitlines()[-1].startswith("ACCELERATOR=cpu")


def test_this_machine_can_be_kept(caisson: Caisson, run: SmallRun, tmp_path: Path) -> None:
    code, out, err = caisson("facts", "--store", run.store.root)
    assert (code, err) == (0, "")
    kept = json.loads(out)
    assert not set(kept) & OF_A_STORE
    assert kept["device"] == "cpu"
    (tmp_path / "mine.json").write_text(out)
    here = caisson("plan", run.spec_file, "--store", run.store.root, "--json")
    assert caisson("plan", run.spec_file, "--facts", tmp_path / "mine.json", "--store", run.store.root, "--json")[0] == here[0] == 0
    assert parse_facts(out, "mine.json").program == __version__


def test_recorded_ones_are_printed(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("facts", "h200-x8")
    assert (code, len(json.loads(out)["accelerators"])) == (0, 8)
    code, _, err = caisson("facts", "h20-x8")
    assert code == 2
    assert err.startswith("caisson: no recorded machine is called h20-x8\n    did you mean h200-x8")


def test_parts_are_keys_of_facts() -> None:
    """So that an unknown key finds its neighbours also after a change of the form."""
    known = set(Facts.model_fields) | {key for part in PARTS.values() for key in part.model_fields}
    assert set(PARTS) <= known and set(Facts.model_fields) >= OF_A_STORE
