"""What is listed, made current, gone back from and removed, as it is typed."""

import json
import os
from pathlib import Path

import pytest
from small_run import Caisson, SmallRun

from entrypoint.run.promotion import put_back, read_current
from entrypoint.run.seal import seal
from schemas.current import Current
from schemas.manifest import Manifest


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return SmallRun(tmp_path)


@pytest.fixture
def caisson(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Caisson:
    monkeypatch.setenv("COLUMNS", "80")
    return Caisson(monkeypatch, capsys)


def put(run: SmallRun, *exports: str) -> None:
    """Sealed exports, each made a day after the one before."""
    for day, export in enumerate(exports, 1):
        partial = run.store.root / "n" / "exports" / f".partial-{export}"
        partial.mkdir(parents=True)
        (partial / "model.safetensors").write_text(export)
        manifest = Manifest(
            stage="export", name="n", identity=export, request="r", job={"kind": "safetensors"}, program="0", files=(),
            summary={"golden": 6, "equal": 5, "near_ties": 1},
        )  # fmt: skip
        sealed = seal(partial, partial.with_name(export), manifest)
        dated = sealed.model_copy(update={"finished_at": f"2026-01-0{day}T10:00:00+00:00"})
        (partial.with_name(export) / "manifest.json").write_text(dated.model_dump_json())


def current(run: SmallRun) -> Current:
    found = read_current(run.store, "n")
    assert found
    return found


A, B, C, D, E = ("aaaaaaaaaaaaaaaa", "abbbbbbbbbbbbbbb", "cccccccccccccccc", "dddddddddddddddd", "eeeeeeeeeeeeeeee")


def test_export_promotes_what_it_sealed(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train", "export")
    code, out, _ = caisson("export", run.spec_file, "--store", run.store.root)
    folder = run.chain().folder("exported")
    assert (code, out.splitlines()[-1]) == (0, f"export: {folder} is current: serve follows")
    assert (current(run).export, current(run).by) == (folder.rpartition("/")[2], "export")
    assert "is current" not in caisson("export", run.spec_file, "--store", run.store.root)[1]


def test_export_promotes_by_hand_where_the_spec_says_so(caisson: Caisson, run: SmallRun) -> None:
    run.write("serve: {promote: manual}\n")
    put(run, A)
    caisson("promote", run.spec_file, A, "--store", run.store.root)
    run.seal("fetch", "prepare", "train", "export", finished_at="2036-01-01T10:00:00+00:00")
    own = run.chain("export").folder("exported").rpartition("/")[2]
    code, out, _ = caisson("export", run.spec_file, "--store", run.store.root)
    assert (code, current(run).export) == (0, A)
    assert f"n/exports/{A} stays current; `caisson promote SPEC {own}` serves the new one" in out


def test_what_is_current_is_served_and_what_the_spec_has_is_said(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train", "export")
    own = run.chain().folder("exported")
    put(run, A)
    caisson("promote", run.spec_file, A, "--store", run.store.root)
    plan = run.chain().plan("serve")
    assert plan.steps[0].inputs == {"exported": f"n/exports/{A}"}
    (said,) = (d for d in plan.decisions if d.field == "serve.export")
    assert own in said.why
    caisson("rollback", run.spec_file, "--store", run.store.root)


@pytest.mark.parametrize(("harm", "exit_code", "said"), [("cut", 4, "is damaged: model.safetensors has 1 bytes"), ("gone", 2, "is gone")])
def test_a_current_export_that_is_not_as_it_was_sealed(caisson: Caisson, run: SmallRun, harm: str, exit_code: int, said: str) -> None:
    run.seal("fetch", "prepare", "train", "export")
    put(run, A)
    caisson("promote", run.spec_file, A, "--store", run.store.root)
    folder = run.store.root / "n" / "exports" / A
    if harm == "cut":
        os.truncate(folder / "model.safetensors", 1)
    else:
        folder.rename(folder.with_name("other"))
    code, _, err = caisson("serve", run.spec_file, "--store", run.store.root)
    assert code == exit_code
    assert f"the current export n/exports/{A} {said}" in err and "caisson promote SPEC" in err


def test_a_truncated_shard_is_refused_at_the_first_start(caisson: Caisson, run: SmallRun) -> None:
    """By its size already, before an engine is started; nothing is moved, and export makes it again."""
    run.seal("fetch", "prepare", "train", "export")
    folder = run.store.root / run.chain().folder("exported")
    os.truncate(folder / "content", 1)
    code, _, err = caisson("serve", run.spec_file, "--store", run.store.root)
    assert code == 4
    assert f"serve: the export {folder.relative_to(run.store.root)} is damaged: content has 1 bytes" in err and "`caisson export`, makes it again" in err
    assert folder.is_dir()


def test_a_beginning_is_enough_where_it_is_one_export_s(caisson: Caisson, run: SmallRun) -> None:
    put(run, A, B)
    assert caisson("promote", run.spec_file, "ab", "--store", run.store.root) == (0, f"promote: n/exports/{B} is current\n", "")
    assert caisson("promote", run.spec_file, "a", "--store", run.store.root) == (
        2, "", f"caisson: a is the beginning of 2 exports of n\n    there are {B}, {A}\n",
    )  # fmt: skip
    assert caisson("promote", run.spec_file, "x", "--store", run.store.root) == (2, "", f"caisson: n has no export x\n    there are {B}, {A}\n")


def test_no_export_at_all(caisson: Caisson, run: SmallRun) -> None:
    assert caisson("promote", run.spec_file, A, "--store", run.store.root)[::2] == (2, f"caisson: n has no export {A}\n    run `caisson export SPEC` first\n")
    assert caisson("rollback", run.spec_file, "--store", run.store.root)[0] in (2, 3)
    assert caisson("exports", run.spec_file, "--store", run.store.root, "--json") == (0, "[]\n", "")


def test_back(caisson: Caisson, run: SmallRun) -> None:
    put(run, A, C)
    for export in (A, C):
        caisson("promote", run.spec_file, export, "--store", run.store.root)
    assert caisson("rollback", run.spec_file, "--store", run.store.root) == (0, f"rollback: n/exports/{A} is current\n", "")


def test_table(caisson: Caisson, run: SmallRun) -> None:
    put(run, A, C, D, E)
    for export in (A, C, D):
        caisson("promote", run.spec_file, export, "--store", run.store.root)
    put_back(run.store, "n", D, C, "serve: parity: golden prompt 1 of 6\n  more")
    code, out, _ = caisson("exports", run.spec_file, "--store", run.store.root)
    assert code == 0
    lines = [line.rstrip() for line in out.splitlines()]
    assert [line.split() for line in lines[:5]] == [
        ["export", "state", "kind", "made", "(UTC)", "MB", "parity"],
        [E, "safetensors", "2026-01-04", "10:00", "0.0", "5/6", "~1"],
        [D, "refused", "safetensors", "2026-01-03", "10:00", "0.0", "5/6", "~1"],
        [C, "current", "safetensors", "2026-01-02", "10:00", "0.0", "5/6", "~1"],
        [A, "previous", "safetensors", "2026-01-01", "10:00", "0.0", "5/6", "~1"],
    ]
    assert lines[5:] == [f"{D}: serve: parity: golden prompt 1 of 6"]
    assert max(map(len, lines)) <= 80


def test_json(caisson: Caisson, run: SmallRun) -> None:
    put(run, A)
    (found,) = json.loads(caisson("exports", run.spec_file, "--store", run.store.root, "--json")[1])
    assert found == {
        "id": A,
        "kind": "safetensors",
        "made": "2026-01-01 10:00",
        "megabytes": 0.0,
        "parity": "5/6 ~1",
        "state": "",
        "why": "",
        "gate": "",
        "forced": "",
    }


def test_prune_removes_what_was_served_long_ago_and_says_so(caisson: Caisson, run: SmallRun) -> None:
    run.write("serve: {keep: 1}\n")
    put(run, A, B, C, D, E)
    for export in (A, B, C, D):
        caisson("promote", run.spec_file, export, "--store", run.store.root)
    assert caisson("exports", run.spec_file, "--store", run.store.root)[1].count("safetensors") == 5, "never by itself"
    code, out, _ = caisson("exports", run.spec_file, "--store", run.store.root, "--prune")
    assert code == 0
    assert out.splitlines()[:2] == [f"removed n/exports/{B}, 0.0 MB", f"removed n/exports/{A}, 0.0 MB"]
    left = sorted(path.name for path in (run.store.root / "n" / "exports").iterdir())
    assert left == [C, D, E], "what never served may be waiting for its promotion"
    assert current(run).previous == (C,)
    assert "removed" not in caisson("exports", run.spec_file, "--store", run.store.root, "--prune")[1]
