"""`caisson plan --lock`, and stages that find a lock."""

import json
import os
from pathlib import Path

import pytest
from small_run import ROOT, Caisson, SmallRun

T4 = ROOT / "tests" / "facts" / "t4.json"


def test_lock_then_run(caisson: Caisson, run: SmallRun) -> None:
    """Sealed stages are up to date under their lock; a changed spec is refused before anything is done or said to be done."""
    run.seal("fetch", "prepare")
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root, "--lock")
    assert (code, err) == (0, "")
    lock = run.folder / "plan.lock.json"
    assert out.startswith(f"{lock}: 7 steps of n, for cpu\n")
    assert "train:" not in out, "prepare has counted the rows: nothing of it is open"
    assert [step["stage"] for step in json.loads(lock.read_text())["steps"]] == ["fetch", "fetch", "prepare", "train", "export", "serve", "evaluate"]
    for command in ("fetch", "prepare"):
        assert caisson(command, run.spec_file, "--store", run.store.root)[0] == 0
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 0
    run.write("train: {max_steps: 18}\n")
    code, out, err = caisson("train", run.spec_file, "--store", run.store.root)
    assert (code, out) == (4, "")
    assert err.startswith("caisson: the plan is not the one that plan.lock.json holds:\n    train.max_steps: not set in the lock, 18 now\n    go back to what")
    assert caisson("fetch", run.spec_file, "--store", run.store.root)[0] == 0, "what is fetched has not changed"
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert code == 4, "plan ends as the stage would"
    assert out.startswith("n on CPU, ") and "train.max_steps: not set in the lock" in err
    assert caisson("plan", run.spec_file, "--store", run.store.root, "--lock")[0] == 0
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 0


def test_a_lock_for_another_machine(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("plan", run.spec_file, "--store", run.store.root, "--facts", T4, "--lock")
    assert code == 0
    assert "for 1 x Tesla T4, 15 GiB, 7.5" in out
    assert caisson("plan", run.spec_file, "--store", run.store.root, "--facts", T4)[0] == 0
    run.seal("fetch")
    code, _, err = caisson("prepare", run.spec_file, "--store", run.store.root)
    assert code == 4
    assert "machine.device: cuda in the lock, cpu now\n    machine.accelerators: 1 x Tesla T4, 15 GiB, 7.5 in the lock, nothing now\n" in err


def test_named_elsewhere(caisson: Caisson, run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    held = run.folder / "held.json"
    assert caisson("plan", run.spec_file, "--store", run.store.root, "--lock", "--lock-file", held)[0] == 0
    assert not (run.folder / "plan.lock.json").exists()
    run.write("train: {seed: 18}\n")
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 0
    assert caisson("plan", run.spec_file, "--store", run.store.root, "--lock-file", held)[0] == 4
    monkeypatch.setenv("LOCK", str(held))
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 4
    monkeypatch.setenv("LOCK", str(run.folder / "no.json"))
    code, _, err = caisson("fetch", run.spec_file, "--store", run.store.root)
    assert (code, err) == (2, f"caisson: {run.folder}/no.json is not there\n    write it with `caisson plan SPEC --lock`\n")


def test_to_standard_output(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("plan", run.spec_file, "--store", run.store.root, "--lock", "--lock-file", "-")
    assert code == 0
    assert json.loads(out)["name"] == "n"


@pytest.mark.parametrize(("content", "said"), [("{", "is cut or is no plan lock"), ("{}", "is no plan lock")])
def test_a_file_that_is_no_lock(caisson: Caisson, run: SmallRun, content: str, said: str) -> None:
    (run.folder / "plan.lock.json").write_text(content)
    code, out, err = caisson("fetch", run.spec_file, "--store", run.store.root)
    assert (code, out) == (2, "")
    assert said in err


def test_no_lock_is_written_for_a_plan_that_cannot_be_done(caisson: Caisson, run: SmallRun) -> None:
    run.rows.unlink()
    code, _, err = caisson("plan", run.spec_file, "--store", run.store.root, "--lock")
    assert code == 2
    assert "rows.jsonl" in err
    assert not (run.folder / "plan.lock.json").exists()


def test_a_folder_that_cannot_be_written(caisson: Caisson, run: SmallRun) -> None:
    code, _, err = caisson("plan", run.spec_file, "--store", run.store.root, "--lock", "--lock-file", "/proc/plan.lock.json")
    assert code == 3
    assert err.startswith("caisson: /proc/plan.lock.json cannot be written: ")


def test_what_compose_mounts_where_there_is_none(caisson: Caisson, run: SmallRun) -> None:
    (run.folder / "plan.lock.json").symlink_to("/dev/null")
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 0


def test_one_that_may_not_be_followed(caisson: Caisson, run: SmallRun, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    code, _, err = caisson("plan", run.spec_file, "--store", run.store.root, "--lock-file", tmp_path / "folder.json")
    assert (code, err) == (2, f"caisson: {tmp_path}/folder.json is a folder\n    name the plan lock\n")


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "nothing"])
def test_what_is_no_file_is_not_replaced(caisson: Caisson, run: SmallRun, kind: str) -> None:
    """As root a rename puts a file in the place of anything, a device too."""
    place = run.folder / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "loop":
        place.symlink_to(place)
    before = sorted(run.folder.iterdir()), place.lstat() if kind != "nothing" else None
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root, "--lock", "--lock-file", "" if kind == "nothing" else place)
    assert (code, out) == (2, "")
    assert "name another file with --lock-file, or - for standard output" in err
    assert (sorted(run.folder.iterdir()), place.lstat() if kind != "nothing" else None) == before


def test_a_link_stays_one(caisson: Caisson, run: SmallRun) -> None:
    held, link = run.folder / "held.json", run.folder / "link.json"
    link.symlink_to(held)
    for _ in range(2):  # the first makes the file
        assert caisson("plan", run.spec_file, "--store", run.store.root, "--lock", "--lock-file", link)[0] == 0
        assert link.is_symlink() and json.loads(held.read_text())["name"] == "n"
