"""The leaf of the stage fetch with local sources."""

import json
import os
import time
from types import SimpleNamespace

import pytest
from leaf_process import run, start, task
from model_folder import model_files, safetensors, tensor, write

from entrypoint.run import transfer
from entrypoint.run.events import Events
from entrypoint.run.fetch import fetch
from schemas.errors import GateRefused, MachineError, UsageError

ROWS = b'{"messages": []}\n'


@pytest.fixture
def here(tmp_path):
    def fetch_here(*sources, **job):
        return fetch(task(tmp_path, *map(str, sources), **job), Events(tmp_path / "events.jsonl"))

    return fetch_here


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_model_folder_in_a_process(tmp_path):
    source = write(tmp_path / "models/m", {**model_files(), "pytorch_model.bin": b"\x80\x02p", "img.png": b"png"})
    code, out, err = run(tmp_path, task(tmp_path, str(source)))
    assert (code, err) == (0, "")
    assert contents(tmp_path / "out") == model_files()
    assert "left 1 pickled file(s) behind, the safetensors are there: pytorch_model.bin" in out
    assert "left 1 file(s) behind that no loader reads" in out
    left = json.loads((tmp_path / "summary.json").read_text())["summary"]
    assert left == {"role": "model", "sources": [str(source)], "bytes": sum(map(len, model_files().values())), "files": len(model_files())}


def test_refusal_in_a_process_is_two_lines_and_exit_4(tmp_path):
    source = write(tmp_path / "models/m", {**model_files(), "m.py": b"import os"})
    code, out, err = run(tmp_path, task(tmp_path, str(source)))
    assert (code, out) == (4, "")
    assert err.splitlines()[0] == f"caisson: {source}/m.py is Python code that loading the model would run"
    assert len(err.splitlines()) == 2
    assert not contents(tmp_path / "out")


def test_missing_model_names_its_neighbours(here, tmp_path):
    write(tmp_path / "models/smollm2-135m-instruct", model_files())
    with pytest.raises(UsageError) as refused:
        here(tmp_path / "models/smollm2-135m-instuct")
    assert refused.value.what == f"model.source: {tmp_path}/models/smollm2-135m-instuct is not there"
    assert refused.value.fix == f"did you mean {tmp_path}/models/smollm2-135m-instruct?"


def test_missing_model_without_neighbours(here, tmp_path):
    (tmp_path / "models").mkdir()
    with pytest.raises(UsageError, match=r"is not there\n.*models is empty; compose.yaml says"):
        here(tmp_path / "models/m")


def test_empty_model_folder(here, tmp_path):
    (tmp_path / "models/m").mkdir(parents=True)
    with pytest.raises(UsageError, match="is empty"):
        here(tmp_path / "models/m")


def test_model_that_is_another_file(here, tmp_path):
    with pytest.raises(UsageError, match="is a file"):
        here(write(tmp_path, {"m.safetensors": b""}) / "m.safetensors")


def test_second_run_copies_only_what_is_missing(here, tmp_path):
    source = write(tmp_path / "m", model_files())
    here(source)
    kept = (tmp_path / "out/model.safetensors").stat().st_ino
    (tmp_path / "out/config.json").unlink()
    write(tmp_path / "out", {".tokenizer.json.draft": b"half", "stray/old.json": b"{}"})
    here(source)
    assert (tmp_path / "out/model.safetensors").stat().st_ino == kept
    assert contents(tmp_path / "out") == model_files()
    assert not (tmp_path / "out/stray").exists()


def test_changed_file_is_copied_again(here, tmp_path):
    source = write(tmp_path / "m", model_files())
    here(source)
    write(source, {"tokenizer_config.json": b'{"eos_token": "<s>!"}'[: len(model_files()["tokenizer_config.json"])]})
    here(source)
    assert contents(tmp_path / "out") == contents(source)


def test_kill_9_leaves_no_half_file(tmp_path):
    files = {**model_files(), "model.safetensors": safetensors({"w": tensor(0, 2**25)})}
    source = write(tmp_path / "m", files)
    with start(tmp_path, task(tmp_path, str(source))) as process:
        while process.poll() is None and not any((tmp_path / "out").glob("*model.safetensors*")):
            time.sleep(0.001)
        process.kill()
    assert all(len(content) == len(files[name]) for name, content in contents(tmp_path / "out").items() if not name.startswith("."))
    code, _, err = run(tmp_path, task(tmp_path, str(source)))
    assert (code, err) == (0, "")
    assert contents(tmp_path / "out") == files


def test_file_that_changes_meanwhile(tmp_path, monkeypatch):
    source = write(tmp_path, {"a": b"one"}) / "a"
    monkeypatch.setattr(transfer.shutil, "copyfile", lambda s, t: (t.write_bytes(b"one"), s.write_bytes(b"three")))
    with pytest.raises(MachineError, match="changed while it was copied"):
        transfer.copy_file(source, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_copies_of_links_are_files(here, tmp_path):
    source = write(tmp_path / "m", {**model_files(), "blobs/1": b"{}"})
    (source / "added_tokens.json").symlink_to("blobs/1")
    here(source)
    assert not (tmp_path / "out/added_tokens.json").is_symlink()


def test_no_room(here, tmp_path, monkeypatch):
    source = write(tmp_path / "m", model_files())
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(MachineError, match=r"needs 0.0 MiB more on the store, 0.0 MiB are free"):
        here(source)


def test_progress_says_bytes_and_time_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transfer, "INTERVAL_SECONDS", 0.02)
    seen = iter([0, 2**20])
    events = Events(tmp_path / "events.jsonl")
    watched = transfer.Progress("m", 4 * 2**20, lambda: next(seen, 2**20), events)
    with watched:
        while not (tmp_path / "events.jsonl").exists():
            time.sleep(0.001)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("fetch: m: 1.0 MiB of 4.0 MiB, ") and line.endswith("left")
    event = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])
    assert (event["event"], event["bytes"], event["total"]) == ("progress", 2**20, 4 * 2**20)


@pytest.mark.parametrize(("seconds", "said"), [(4, "4 s"), (65, "1 min 05 s"), (7260, "2 h 01 min")])
def test_seconds_for_people(seconds, said):
    assert transfer.describe_seconds(seconds) == said


def test_rows_in_order(here, tmp_path):
    data = write(
        tmp_path / "data",
        {"a.jsonl": ROWS, "d/x/b.json": b"[]", "d/c.JSONL": ROWS, "d/notes.md": b"#", "d/.hid/e.jsonl": ROWS, "g/1.txt": b"1", "g/h/2.txt": b"2"},
    )
    summary = here(data / "a.jsonl", data / "d", data / "g/**/*.txt", role="data")
    assert contents(tmp_path / "out") == {"00/a.jsonl": ROWS, "01/x/b.json": b"[]", "01/c.JSONL": ROWS, "02/1.txt": b"1", "02/h/2.txt": b"2"}
    assert summary["files"] == 5 and summary["commits"] == {}


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("trian.jsonl", UsageError, "is not there\n    did you mean {data}/train.jsonl?"),
        ("empty", UsageError, "holds no file of rows"),
        ("*.csv", UsageError, "matches no file"),
        ("no/such/*.jsonl", UsageError, "matches no file"),
        ("out.jsonl", GateRefused, "is a link that leaves its folder"),
        ("gone.jsonl", GateRefused, "is a link to a file that is not there"),
        ("links", GateRefused, "links/out.jsonl is a link that leaves its folder"),
        ("o*.jsonl", GateRefused, "is a link that leaves its folder"),
        ("pipe", GateRefused, "is a pipe, socket or device"),
    ],
)
def test_bad_rows_are_refused_before_anything_is_copied(here, tmp_path, source, error, said):
    data = write(tmp_path / "data", {"train.jsonl": ROWS, "empty/notes.md": b"#", "links/a.jsonl": ROWS})
    write(tmp_path, {"secret.jsonl": ROWS})
    (data / "out.jsonl").symlink_to("../secret.jsonl")
    (data / "gone.jsonl").symlink_to("nowhere")
    (data / "links/out.jsonl").symlink_to("../train.jsonl")
    os.mkfifo(data / "pipe")
    with pytest.raises(error) as refused:
        here(data / "train.jsonl", data / source, role="data")
    assert str(refused.value).startswith(f"data: {data}/")
    assert said.format(data=data) in str(refused.value)
    assert not contents(tmp_path / "out")


def test_a_template_lies_beside_the_rows(here, tmp_path):
    data = write(tmp_path / "data", {"a.jsonl": ROWS, "t.jinja": "{{ messages }} ü".encode()})
    here(data / "a.jsonl", role="data", template=str(data / "t.jinja"))
    assert contents(tmp_path / "out") == {"00/a.jsonl": ROWS, "chat_template.jinja": "{{ messages }} ü".encode()}
    here(data / "a.jsonl", role="data")
    assert contents(tmp_path / "out") == {"00/a.jsonl": ROWS}


@pytest.mark.parametrize(("content", "said"), [(None, "is not there"), (b"\xff", "is not UTF-8 text"), (b"{{ x }}", "does not use `messages`")])
def test_a_template_that_is_none(here, tmp_path, content, said):
    data = write(tmp_path / "data", {"a.jsonl": ROWS} | ({"t.jinja": content} if content else {}))
    with pytest.raises(UsageError, match=f"data.template: .* {said}"):
        here(data / "a.jsonl", role="data", template=str(data / "t.jinja"))
    assert not contents(tmp_path / "out")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_unreadable_rows(here, tmp_path):
    data = write(tmp_path / "data", {"a.jsonl": ROWS})
    (data / "a.jsonl").chmod(0)
    with pytest.raises(MachineError, match="may not be read"):
        here(data / "a.jsonl", role="data")


def test_code_is_copied_in_order_and_a_package_with_its_version(here, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("def f(row): return row\n")
    summary = here(own, "pydantic.version", role="plugins")
    assert (tmp_path / "out" / "00.py").read_bytes() == own.read_bytes()
    assert b"VERSION" in (tmp_path / "out" / "01.py").read_bytes()
    import pydantic

    assert summary["versions"] == json.loads((tmp_path / "out" / "versions.json").read_text()) == {"pydantic.version": f"pydantic {pydantic.VERSION}"}
    with pytest.raises(UsageError, match=r"own\.py: line 1: invalid syntax"):
        own.write_text("def f(:")
        here(own, role="preprocessor")
