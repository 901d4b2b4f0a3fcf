"""Both hub clients, as they are, against a small server on loopback."""

import json
import socket
import time

import pytest
from hub_server import COMMIT, HubServer, Repository
from leaf_process import run, start, task
from model_folder import model_files, safetensors, tensor

from entrypoint.run.events import Events
from entrypoint.run.fetch import fetch
from schemas.errors import GateRefused, MachineError, UsageError

pytestmark = pytest.mark.timeout(60)

SECRET = "hf_ThisIsTheTokenOfTheTest"
BIG = safetensors({"w": tensor(0, 14 * 2**20)})
"""More than the piece of 10 MiB that huggingface_hub holds back before it writes (constants.DOWNLOAD_CHUNK_SIZE)."""

HUBS = pytest.mark.parametrize("hub", ["hf", "ms"])


def repository(**changes):
    files = {**model_files(), "pytorch_model.bin": b"\x80\x02pickle", "README.md": b"# x", ".gitattributes": b"", "model.safetensors": BIG}
    return Repository(files, large=("model.safetensors",), **changes)


def environment(url):
    return {"HF_ENDPOINT": url, "MODELSCOPE_ENDPOINT": url}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Runs the leaf's work in this process, with the clients pointed to a server."""
    import huggingface_hub.constants

    from entrypoint.run import hub_shared

    monkeypatch.setattr(hub_shared, "SECRETS", tmp_path / "secrets")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secrets").mkdir()

    def fetch_here(url, *sources, **job):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", url)
        return fetch(task(tmp_path, *sources, **job), Events(tmp_path / "events.jsonl"))

    return fetch_here


@HUBS
def test_download_in_a_process(tmp_path, hub):
    with HubServer({"models/org/tiny": repository()}) as server:
        code, out, err = run(tmp_path, task(tmp_path, f"{hub}://org/tiny"), **environment(server.url))
    assert code == 0, err
    assert err == ""
    assert {p.name for p in (tmp_path / "out").rglob("*")} == set(model_files())
    assert (tmp_path / "out/model.safetensors").read_bytes() == BIG
    summary = json.loads((tmp_path / "summary.json").read_text())["summary"]
    assert summary["commit"] == (COMMIT if hub == "hf" else None)
    assert summary["files"] == len(model_files())
    assert summary["bytes"] == sum(len(c) for c in model_files().values()) - len(model_files()["model.safetensors"]) + len(BIG)
    assert not server.fetched("pytorch_model.bin")
    assert "left 1 pickled file(s) behind" in out


@HUBS
def test_revision_reaches_the_hub(here, hub):
    with HubServer({"models/org/tiny": repository(revisions=("v1.0", COMMIT))}) as server:
        here(server.url, f"{hub}://org/tiny@v1.0")
    assert any("v1.0" in a.path for a in server.asked)


@HUBS
def test_unknown_revision(here, hub):
    with HubServer({"models/org/tiny": repository()}) as server, pytest.raises(UsageError, match="revision"):
        here(server.url, f"{hub}://org/tiny@v9")


@HUBS
def test_unknown_repository(here, hub):
    with HubServer({}) as server, pytest.raises(UsageError, match=f"{hub}://org/none: the hub has no such repository"):
        here(server.url, f"{hub}://org/none")


@HUBS
def test_token_from_its_file_and_nowhere_else(tmp_path, hub):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / f"{hub}_token").write_text(SECRET + "\n")
    left = {"HF_TOKEN": "hf_left_behind", "MODELSCOPE_API_TOKEN": "ms_left_behind"}
    with HubServer({"models/org/tiny": repository(token=SECRET)}) as server:
        code, out, err = run(tmp_path, task(tmp_path, f"{hub}://org/tiny"), secrets, **environment(server.url), **left)
    assert code == 0, err
    assert {a.authorization for a in server.asked} == {f"Bearer {SECRET}"}
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.parent != secrets]
    assert not any(SECRET.encode() in text for text in [*written, out.encode(), err.encode()])


@HUBS
def test_no_token(here, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_left_behind")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms_left_behind")
    with HubServer({"models/org/tiny": repository(token=SECRET)}) as server, pytest.raises(MachineError) as refused:
        here(server.url, f"{hub}://org/tiny")
    assert "answers 401 without a token" in refused.value.what
    assert f"{hub}_token" in refused.value.fix
    assert {a.authorization for a in server.asked} == {None}


@HUBS
def test_wrong_token_is_not_shown(here, hub, tmp_path):
    (tmp_path / f"secrets/{hub}_token").write_text("hf_wrong")
    with HubServer({"models/org/tiny": repository(token=SECRET)}) as server, pytest.raises(MachineError, match="is not valid or may not read") as refused:
        here(server.url, f"{hub}://org/tiny")
    assert "hf_wrong" not in str(refused.value)


@HUBS
def test_malformed_token_is_not_shown(here, hub, tmp_path):
    (tmp_path / f"secrets/{hub}_token").write_text("hf_one\nhf_two")
    with pytest.raises(UsageError, match="not a token") as refused:
        here("http://127.0.0.1:9", f"{hub}://org/tiny")
    assert "hf_one" not in str(refused.value)


@HUBS
def test_dropped_connection_goes_on_where_it_was(here, hub, tmp_path):
    with HubServer({"models/org/tiny": repository(drops={"model.safetensors": 11 * 2**20})}) as server:
        here(server.url, f"{hub}://org/tiny")
    first, second = server.fetched("model.safetensors")
    assert first.range is None
    assert int(second.range.removeprefix("bytes=").rstrip("-")) >= 10 * 2**20
    assert (tmp_path / "out/model.safetensors").read_bytes() == BIG


@HUBS
def test_kill_9_then_the_same_command_goes_on(tmp_path, hub):
    wanted = task(tmp_path, f"{hub}://org/tiny")
    tiny = repository(slow=0.01)
    with HubServer({"models/org/tiny": tiny}) as server:
        with start(tmp_path, wanted, **environment(server.url)) as process:
            deadline = time.monotonic() + 30
            while not any(p.stat().st_size > 2**18 for p in (tmp_path / "out").glob("*model.safetensors.*")):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
            process.kill()
        assert not (tmp_path / "out/model.safetensors").exists()
        tiny.slow, server.asked = 0.0, []
        code, _, err = run(tmp_path, wanted, **environment(server.url))
    assert code == 0, err
    (again,) = server.fetched("model.safetensors")
    assert int(again.range.removeprefix("bytes=").rstrip("-")) > 2**18
    assert not server.fetched("config.json")
    assert {p.name for p in (tmp_path / "out").rglob("*")} == set(model_files())


@HUBS
def test_altered_content_never_gets_the_name(here, hub, tmp_path, monkeypatch):
    monkeypatch.setattr("modelscope_hub._download.DOWNLOAD_INTEGRITY_RETRY_BACKOFF", 0.01)  # seconds
    altered = BIG[:-1] + b"\1"
    with HubServer({"models/org/tiny": repository(altered={"model.safetensors": altered})}) as server, pytest.raises(MachineError, match="alter"):
        here(server.url, f"{hub}://org/tiny")
    assert not (tmp_path / "out/model.safetensors").exists()


def test_draft_of_another_content_is_thrown_away(here, tmp_path):
    from hashlib import sha256

    (tmp_path / "out").mkdir()
    (tmp_path / f"out/.model.safetensors.{sha256(BIG).hexdigest()[:16]}.draft").write_bytes(b"x" * 100)
    (tmp_path / "out/stray.json").write_bytes(b"not json")
    with HubServer({"models/org/tiny": repository()}) as server:
        here(server.url, "hf://org/tiny")
    assert (tmp_path / "out/model.safetensors").read_bytes() == BIG
    assert {p.name for p in (tmp_path / "out").rglob("*")} == set(model_files())


@pytest.mark.parametrize("hub", ["hf", "ms"])
def test_nothing_listens(tmp_path, hub):
    with socket.socket() as taken:  # bound, never listening
        taken.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        code, _, err = run(tmp_path, task(tmp_path, f"{hub}://org/tiny"), **environment(f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert code == 3
    assert len(err.splitlines()) == 2
    assert "the hub does not answer" in err and "model.source: /models/tiny" in err
    assert time.monotonic() - begin < 8


@HUBS
def test_name_that_does_not_resolve(here, hub):
    with pytest.raises(MachineError, match="does not answer"):
        here("http://hub.invalid", f"{hub}://org/tiny")


@HUBS
def test_another_service_at_the_address(here, hub):
    with HubServer({}) as server:
        server.server.RequestHandlerClass.do_GET = lambda self: (
            self.send_response(200),
            self.send_header("Content-Length", "6"),
            self.end_headers(),
            self.wfile.write(b"<html>"),
        )
        with pytest.raises((MachineError, UsageError, GateRefused)):
            here(server.url, f"{hub}://org/tiny")


@HUBS
@pytest.mark.parametrize("path", ["../evil.json", "/etc/evil.json", "a/../../evil.jsonl", "a//evil.json", "a\\evil.json"])
def test_listing_that_leaves_the_folder(here, hub, path, tmp_path):
    rows = Repository({"rows.jsonl": b"{}\n", path: b"{}"})
    with HubServer({"datasets/org/rows": rows}) as server, pytest.raises(GateRefused, match="leaves the folder"):
        here(server.url, f"{hub}://org/rows", role="data")
    assert not list(tmp_path.rglob("evil*"))


@HUBS
def test_refused_before_the_weights_come(here, hub):
    tiny = repository()
    tiny.files["config.json"] = b'{"auto_map": {"AutoModel": "m.M"}}'
    tiny.files["m.py"] = b"class M: ..."
    with HubServer({"models/org/tiny": tiny}) as server, pytest.raises(GateRefused, match=r"config\.json names Python code"):
        here(server.url, f"{hub}://org/tiny")
    assert not server.fetched("model.safetensors") and not server.fetched("m.py")


@HUBS
def test_pickles_only_is_refused_before_anything_comes(here, hub):
    tiny = repository()
    del tiny.files["model.safetensors"]
    with HubServer({"models/org/tiny": tiny}) as server, pytest.raises(GateRefused, match=r"pytorch_model\.bin: the weights are pickled"):
        here(server.url, f"{hub}://org/tiny")
    assert not server.fetched("config.json")


@HUBS
def test_rows(here, hub, tmp_path):
    rows = Repository({"data/train.jsonl": b'{"a": 1}\n', "README.md": b"#", "load.py": b"import os", "t.parquet": b"PAR1", "dataset_infos.json": b"{}"})
    with HubServer({"datasets/org/rows": rows}) as server:
        summary = here(server.url, f"{hub}://org/rows", role="data")
    assert taken(tmp_path) == ["00/data/train.jsonl", "00/t.parquet"]
    assert summary["commits"] == {f"{hub}://org/rows": COMMIT if hub == "hf" else None}


def taken(tmp_path):
    """Files in the output."""
    return sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())


@HUBS
@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("/data/train-*.parquet", ["00/data/train-0.parquet", "00/data/train-1.parquet"]),
        ("/data/test.csv.gz", ["00/data/test.csv.gz"]),
        ("/data", ["00/data/test.csv.gz", "00/data/train-0.parquet", "00/data/train-1.parquet"]),
        ("/notes", ["00/notes/a.txt"]),
    ],
)
def test_some_rows_of_a_repository(here, hub, inside, expected, tmp_path):
    names = ("data/train-0.parquet", "data/train-1.parquet", "data/test.csv.gz", "data/readme.txt", "notes/a.txt", "notes/state.json")
    with HubServer({"datasets/org/rows": Repository(dict.fromkeys(names, b"x"))}) as server:
        here(server.url, f"{hub}://org/rows{inside}", role="data")
    assert taken(tmp_path) == expected


def test_a_path_that_a_repository_does_not_have(here):
    rows = Repository({"t.parquet": b"PAR1"})
    with HubServer({"datasets/org/rows": rows}) as server, pytest.raises(UsageError, match=r"org/rows/\*.csv matches no file; it holds \.parquet"):
        here(server.url, "hf://org/rows/*.csv", role="data")


def test_rows_in_another_form(here):
    with HubServer({"datasets/org/rows": Repository({"t.xlsx": b"PK"})}) as server, pytest.raises(UsageError, match=r"it holds \.xlsx"):
        here(server.url, "hf://org/rows", role="data")
