"""Sealed, stale with the reason, damaged, started, absent, cannot."""

from pathlib import Path

import pytest
from small_run import SmallRun, write_checkpoint

from entrypoint.status import State, states
from schemas.facts import Accelerator
from schemas.manifest import Manifest
from schemas.plan import Stage


def found(run: SmallRun) -> dict[str, State]:
    """By stage; fetch has one line for the model and one for the rows."""
    lines = states(run.chain("export"), run.store)
    assert [s.stage for s in lines] == ["fetch", "fetch", "prepare", "train", "export"]
    return {"rows": lines[1], **{s.stage: s for s in reversed(lines) if s is not lines[1]}}


def folder(run: SmallRun, stage: Stage) -> Path:
    return run.store.final(run.chain("export").plan(stage).steps[0])


def test_absent(run: SmallRun) -> None:
    assert {(s.stage, s.state, s.why) for s in found(run).values()} == {
        ("fetch", "absent", "has not run"),
        ("prepare", "absent", "waits for an earlier stage"),
        ("train", "absent", "waits for an earlier stage"),
        ("export", "absent", "waits for an earlier stage"),
    }


def test_sealed(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train", "export", finished_at="2026-01-02T03:04:05+00:00")
    lines = found(run)
    assert {s.state for s in lines.values()} == {"sealed"}
    assert lines["train"].folder == f"n/train/{folder(run, 'train').name}"
    assert lines["train"].why == "2026-01-02 03:04:05 UTC, 0.0 MB"


def test_next_stage_has_not_run(run: SmallRun) -> None:
    run.seal("fetch")
    assert (found(run)["prepare"].state, found(run)["prepare"].why) == ("absent", "has not run")


def test_stale_with_the_value_that_moved(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    run.write("train: {learning_rate: 0.5}\n")
    line = found(run)["train"]
    assert (line.state, line.why) == ("stale", "learning_rate: 0.0002 -> 0.5")
    assert line.folder.startswith("n/train/")
    assert found(run)["prepare"].state == "sealed"


def test_stale_with_several_values(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    run.write("train: {epochs: 2.0, weight_decay: 0.1, checkpoint: {keep: 3}}\n")
    why = found(run)["train"].why
    assert "epochs: 1.0 -> 2.0" in why
    assert "weight_decay: 0.0 -> 0.1" in why
    assert "keep" not in why, "decides no content"


def test_long_values_are_cut(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    run.write("adapter: {kind: lora, rank: 4, targets: [q_proj, k_proj, v_proj, o_proj, gate_proj]}\n")
    why = found(run)["train"].why
    assert why.startswith("adapter: ")
    assert all(len(part) <= len("adapter: ") + 84 for part in why.split("; "))


def test_stale_by_an_input(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train", "export")
    run.rows.write_text(run.rows.read_text() * 2)
    run.seal("fetch", content="y")
    run.seal("prepare", content="y")
    lines = found(run)
    assert (lines["train"].state, lines["train"].why) == ("stale", "prepared is another")


def test_stale_by_a_changed_source(run: SmallRun) -> None:
    run.seal("fetch")
    run.rows.write_text(run.rows.read_text() * 2)
    line = found(run)["rows"]
    assert (line.state, line.why) == ("stale", "the source's files changed")


def test_stale_by_other_packages(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    folder(run, "train").rename(folder(run, "train").with_name("0" * 16))
    path = run.store.root / "n/train" / ("0" * 16) / "manifest.json"
    lock = run.chain("export").plans["train"].steps[0].image_lock
    path.write_text(path.read_text().replace(lock, "e" * 64))
    line = found(run)["train"]
    assert (line.state, line.why) == ("stale", "the image's packages changed")


def test_stale_by_the_program(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    folder(run, "train").rename(folder(run, "train").with_name("0" * 16))
    assert (found(run)["train"].state, found(run)["train"].why) == ("stale", "the program's version changed")


def test_stale_and_waiting(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    run.rows.write_text(run.rows.read_text() * 2)
    line = found(run)["train"]
    assert line.state == "stale"
    assert line.why == "an earlier stage has to run first", "what is assumed until then is no reason"


FLIPPED = "content was altered after it was sealed; the next stage that reads it sets it aside, then {} makes it again"


def flip(folder: Path) -> None:
    """Another byte, the same size."""
    path = folder / "content"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("stage", ["fetch", "prepare", "train", "export"])
def test_every_byte_is_read_where_asked_for(run: SmallRun, stage: Stage) -> None:
    run.seal("fetch", "prepare", "train", "export")
    flip(folder(run, stage))
    assert {s.state for s in found(run).values()} == {"sealed"}, "names and sizes are as they were"
    lines = states(run.chain("export"), run.store, hashes=True)
    assert [(s.stage, s.part, s.why) for s in lines if s.state == "damaged"] == [(stage, "model" if stage == "fetch" else "", FLIPPED.format(stage))]
    assert len(lines) == 5


def test_several_damaged_files_are_counted(run: SmallRun) -> None:
    run.seal("fetch")
    target = folder(run, "fetch")
    manifest = target / "manifest.json"
    sealed = Manifest.model_validate_json(manifest.read_text())
    (entry,) = [f for f in sealed.files if f.path == "content"]
    more = tuple(entry.model_copy(update={"path": f"{n}", "sha256": "0" * 64}) for n in range(5))
    for file in more:
        (target / file.path).write_bytes((target / "content").read_bytes())
    manifest.write_text(sealed.model_copy(update={"files": (*sealed.files, *more)}).model_dump_json())
    why = states(run.chain("export"), run.store, hashes=True)[0].why
    assert why.startswith("0 was altered after it was sealed, 1 was altered after it was sealed, 2 was altered after it was sealed and 2 more; ")


def test_what_was_trained_on_another_machine_is_read_too(run: SmallRun) -> None:
    gpu = Accelerator(name="H100", memory_gib=79.6, compute_capability="9.0")
    run.seal("fetch", "prepare", "train", facts=run.facts().model_copy(update={"device": "cuda", "accelerators": (gpu,)}))
    flip(run.store.root / run.chain("export", run.facts().model_copy(update={"device": "cuda"})).folder("trained"))
    lines = states(run.chain("export", run.facts().model_copy(update={"device": "cuda"})), run.store, hashes=True)
    assert [(s.stage, s.state) for s in lines] == [
        ("fetch", "sealed"), ("fetch", "sealed"), ("prepare", "sealed"), ("train", "cannot"), ("export", "absent"), ("train", "damaged"),
    ]  # fmt: skip


def test_model_and_rows_are_told_apart(run: SmallRun) -> None:
    assert [(s.stage, s.part) for s in states(run.chain("export"), run.store)][:3] == [("fetch", "model"), ("fetch", "data"), ("prepare", "")]


@pytest.mark.parametrize("harm", [lambda f: (f / "content").unlink(), lambda f: (f / "content").write_text("longer than it was")], ids=["missing", "longer"])
def test_damaged(run: SmallRun, harm) -> None:
    run.seal("fetch", "prepare", "train", "export")
    target = folder(run, "export")
    harm(target)
    line = found(run)["export"]
    assert (line.state, line.folder) == ("damaged", f"n/exports/{target.name}")
    assert line.why == "files do not match the manifest; the stage makes it again"


@pytest.mark.parametrize("content", [None, "{"])
def test_artifact_without_its_manifest_is_damaged(run: SmallRun, content: str | None) -> None:
    """A folder under its final name was sealed once."""
    run.seal("fetch", "prepare", "train")
    manifest = folder(run, "train") / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    line = found(run)["train"]
    assert (line.state, line.why) == ("damaged", "its manifest is gone or cannot be read; the stage makes it again")


def test_started(run: SmallRun) -> None:
    run.seal("fetch", "prepare")
    step = run.chain("export").plan("train").steps[0]
    run.store.partial(step).mkdir(parents=True)
    line = found(run)["train"]
    assert (line.state, line.folder, line.why) == ("started", f"n/train/.partial-{step.work_id}", "not finished; the same command goes on")


def test_started_names_the_newest_checkpoint(run: SmallRun) -> None:
    started(run, 4, 10)
    assert found(run)["train"].why == "not finished; the same command goes on from step 10"


def test_verification_reads_the_checkpoints_of_an_unfinished_run(run: SmallRun) -> None:
    four, ten = started(run, 4, 10)
    path = ten / "rank-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    lines = [s for s in states(run.chain("export"), run.store, hashes=True) if s.stage == "train"]
    assert [(s.part, s.state) for s in lines] == [("", "started"), ("step-10", "damaged"), ("step-4", "sealed")]
    assert lines[1].why.startswith("rank-00000.safetensors was altered after it was sealed; ")
    assert lines[2].why == "every byte of 3 files read"
    assert lines[2].folder == str(four.relative_to(run.store.root))


def test_verification_says_what_it_read(run: SmallRun) -> None:
    run.seal("fetch", finished_at="2026-01-02T03:04:05+00:00")
    model, rows, *_ = states(run.chain("export"), run.store, hashes=True)
    assert model.why == "2026-01-02 03:04:05 UTC, 0.0 MB, every byte of 2 files read"
    assert rows.why == "2026-01-02 03:04:05 UTC, 0.0 MB, every byte of 1 file read"


def started(run: SmallRun, *steps: int) -> list[Path]:
    """A training with checkpoints, not finished."""
    run.seal("fetch", "prepare")
    step = run.chain("export").plan("train").steps[0]
    return [write_checkpoint(run.store.partial(step) / "checkpoints", at, step.work_id, step.job.model_dump(mode="json")) for at in steps]


def test_cannot(run: SmallRun) -> None:
    run.write("train: {precision: fp16}\n")
    run.seal("fetch", "prepare")
    line = found(run)["train"]
    assert (line.state, line.folder, line.why) == ("cannot", "", "train.precision: a CPU does not train in fp16")


def test_models_of_other_specs_are_not_older_versions(run: SmallRun) -> None:
    run.seal("fetch")
    other = run.folder / "other.jsonl"
    other.write_text(run.rows.read_text())
    run.spec_file.write_text(run.spec_file.read_text().replace(str(run.rows), str(other)))
    assert (found(run)["rows"].state, found(run)["rows"].why) == ("absent", "has not run")
    assert found(run)["fetch"].state == "sealed"
