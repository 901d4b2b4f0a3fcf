"""Which trials are made, and how a run is judged: without an image."""

import hashlib
import json
import struct
from pathlib import Path

import judge
import pytest
from attempt import first_difference
from control import replace_random_state, seal_again
from injector import Call
from judge import EXACT, LOUD, NOT_IDENTICAL, WRONG, Left, outcome
from report import table
from trials import DAMAGES, Fault, damage, damages_of, end_window, faults_of, moments, one_of_each, save_window, spread


def call(kind, k, path, to=""):
    return Call(kind, k, 0, False, path, to)


CALLS = [
    call("mkdir", 1, "/s/checkpoints"),
    call("write", 1, "/s/checkpoints/.partial-step-3/a"),
    call("rename", 1, "/s/checkpoints/.partial-step-3", "/s/checkpoints/step-3"),
    call("write", 2, "/s/checkpoints/.partial-step-6/a"),
    call("rename", 2, "/s/checkpoints/.partial-step-6", "/s/checkpoints/step-6"),
    call("unlink", 1, "/s/checkpoints/step-3/a"),
    call("fsync", 1, "/s/checkpoints"),
    call("write", 3, "/s/checkpoints/.partial-step-9/a"),
    call("write", 4, "/s/weights.draft/model.safetensors"),
    call("rename", 3, "/s/weights.draft", "/s/weights"),
]


def test_a_save_is_what_happens_from_its_first_call_to_the_next_saves():
    assert save_window(CALLS, 6, 3) == CALLS[3:7]
    assert end_window(CALLS, "/weights") == CALLS[8:]


def test_every_call_meets_every_fault_of_its_kind():
    faults = faults_of(CALLS[3:7])
    assert [f.name for f in faults][:6] == [
        "write 2 of a: EIO",
        "write 2 of a: ENOSPC",
        "write 2 of a: half, then kill",
        "write 2 of a: kill before",
        "rename 2 of .partial-step-6: EIO",
        "rename 2 of .partial-step-6: kill before",
    ]
    assert faults[-1].name == "fsync 1 of checkpoints: power cut after"
    assert len({f.name for f in faults}) == len(faults) == 4 + 5 + 3 + 3 + 1


def test_a_name_that_is_drawn_anew_is_no_part_of_a_trials():
    assert Fault(call("rename", 3, "/s/checkpoints/.tmprVtn3e"), "EIO").name == "rename 3 of .tmp: EIO"


SETTINGS = {
    "EIO": {"action": "fail", "error": 5, "disk": "", "lost": ""},
    "ENOSPC": {"action": "fail", "error": 28, "disk": "/s", "lost": ""},
    "half, then kill": {"action": "half", "lost": ""},
    "kill before": {"action": "before", "lost": ""},
    "kill after": {"action": "after", "lost": ""},
    "power cut after": {"action": "after", "lost": "-6"},
}


@pytest.mark.parametrize("how", SETTINGS)
def test_a_fault_is_armed_as_it_is_named(how):
    assert Fault(CALLS[3], how).settings("/s", "-6") == {"kind": "write", "at": 2} | SETTINGS[how]


@pytest.mark.parametrize("how", DAMAGES)
def test_damage_changes_the_file(tmp_path, how):
    path = tmp_path / "a"
    path.write_bytes(bytes(100))
    damage(path, how)
    left = path.read_bytes() if path.exists() else None
    expected = {"removed": None, "emptied": b"", "half": bytes(50), "a byte short": bytes(99)}
    assert left == expected[how] if how in expected else (left is not None and len(left) == 100 and sum(left) == 1)
    (tmp_path / "empty").touch()
    assert len(damages_of(tmp_path)) == (len(DAMAGES) if how != "removed" else 0) - (5 if how == "emptied" else 0) + 2


def test_moments_are_the_same_every_time_and_inside_the_run():
    found = list(moments(100, 24))
    assert found == list(moments(100, 24)) and found[:3] == list(moments(20, 24))[:3]
    assert all(0 <= m <= 25 for when in found for m in when) and {len(when) for when in found} == {1, 2, 3, 4}
    assert sum(map(len, found)) == 100


def test_choices_are_seeded_and_in_order():
    names = ["write 1: EIO", "write 2 of a: EIO", "fsync 1: EIO", "a: half", "b: half"]
    assert [n.split()[0] for n in one_of_each("faults", names[:3])] == ["write", "fsync"]
    assert len(one_of_each("damage", names[3:])) == 1
    assert spread(names, 3) == spread(names, 3) == [n for n in names if n in spread(names, 3)]


UNDISTURBED, RESUMED, OTHER = (Left(name, ()) for name in ("undisturbed", "resumed", "other"))
JUDGED = [
    (0, UNDISTURBED, EXACT),
    (0, RESUMED, NOT_IDENTICAL),
    (0, OTHER, WRONG),
    (0, None, WRONG),
    (1, UNDISTURBED, LOUD),
    (1, None, LOUD),
    ("hangs", None, LOUD),
]


@pytest.mark.parametrize(("code", "left", "expected"), JUDGED)
def test_a_run_is_judged_by_its_exit_code_and_its_bits(code, left, expected):
    assert outcome(code, left, UNDISTURBED, lambda: RESUMED) == expected


def test_the_first_difference_of_two_streams():
    assert first_difference(((1, 5.0), (2, 4.0)), ((1, 5.0), (2, 4.0))) == []
    assert first_difference(((1, 5.0), (2, 4.0)), ((1, 5.0), (2, 4.0), (2, 4.0))) == [2, None, (2, 4.0)]
    assert first_difference(((1, 5.0),), ((1, 5.5),)) == [0, (1, 5.0), (1, 5.5)]


def safetensors(path, **tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(values)], "data_offsets": [len(data), len(data) + len(values)]}
        data += bytes(values)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_one_bit_of_a_tensor_counts_and_metadata_does_not(tmp_path):
    safetensors(tmp_path / "a.safetensors", x=[1, 2], y=[3])
    before = judge.hash_tensors(tmp_path)
    data = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(data.replace(b'"pt"', b'"np"'))
    assert judge.hash_tensors(tmp_path) == before
    (tmp_path / "a.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert judge.hash_tensors(tmp_path) != before


def test_random_state_is_found_in_files_tensors_and_documents(tmp_path):
    for name, value in (("older", 1), ("newest", 2)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "rng_state.pth").write_bytes(bytes([value]))
        safetensors(folder / "rank-0.safetensors", **{"rng.torch": [value], "exp_avg": [value]})
        (folder / "state.json").write_text(json.dumps({"step": value, "rng": {"python": value}}))
        files = [{"path": p.name, "bytes": p.stat().st_size, "sha256": ""} for p in sorted(folder.iterdir())]
        (folder / "manifest.json").write_text(json.dumps({"files": files}))
    newest = tmp_path / "newest"
    assert replace_random_state(newest, tmp_path / "older") == ["rank-0.safetensors", "rng_state.pth", "state.json"]
    assert json.loads((newest / "state.json").read_text()) == {"step": 2, "rng": {"python": 1}}
    assert (newest / "rank-0.safetensors").read_bytes()[-2:] == bytes([1, 2])
    seal_again(newest)
    for file in json.loads((newest / "manifest.json").read_text())["files"]:
        data = (newest / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_table_counts_each_column():
    row = {"part": "faults", "call": "write", "how": "EIO", "outcome": EXACT, "repeated": 3}
    rows = [row | {"id": "a", "column": "caisson"}, row | {"id": "b", "column": "transformers", "outcome": LOUD, "repeated": 0}]
    assert "| write: EIO | 1: 1 survived exactly; at most 3 steps again | 1: 1 failed loudly; at most 0 steps again |" in table(rows)


def test_the_published_table_is_that_of_the_published_rows():
    bench = Path(judge.__file__).parent
    assert table(json.loads((bench / "result.json").read_text(encoding="utf-8"))["rows"]) in (bench / "README.md").read_text(encoding="utf-8")
