"""Two nodes on one machine: the second computes half of each layer for the first, which answers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from entrypoint.run.serve_follower import task_of
from schemas.job import Task
from schemas.serve_job import AdapterPlace, ServeJob

ROOT = Path(__file__).resolve().parents[3]


def test_it_has_no_key_and_the_first_node_s_arguments() -> None:
    job = ServeJob(served_name="n", arguments=("--x",), node=1, engine="lmdeploy", generation={"top_k": 3})
    found = task_of(job, {"exported": "/e", "model": "/m"})
    assert (found.model, found.tokenizer, found.node, found.arguments, found.generation) == ("/e", "", 1, ("--x",), {"top_k": 3})
    assert (found.served_keys, found.own_key) == ((), "")
    with_adapters = task_of(job.model_copy(update={"adapters": (AdapterPlace(name="a", path="/a"),)}), {"exported": "/e", "model": "/m"})
    assert (with_adapters.model, with_adapters.tokenizer) == ("/m", "/e")


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    job = ServeJob(served_name="n", arguments=(), node=1, engine="lmdeploy")
    task = Task(name="n", job=job, inputs={"exported": "/e"}, output="", events="", summary="")
    (tmp_path / "task.json").write_text(task.model_dump_json())
    done = subprocess.run([sys.executable, "-m", "entrypoint.run.serve_follower", str(tmp_path / "task.json")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "this image has no LMDeploy" in done.stderr and "caisson: serve: the engine of node 1 ended with exit code 3" in done.stderr


@pytest.mark.image
@pytest.mark.serving
@pytest.mark.timeout(600)
def test_two_nodes(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    from served_model import ARGUMENTS, ENVIRONMENT, USER_KEY, Served, Store, free_ports

    store = Store(tmp_path / "store")
    exported = store.export("aaaa")
    spread = ("--tensor-parallel-size", "2", "--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(free_ports()[0]))
    job = ServeJob(served_name="tiny", arguments=(*ARGUMENTS, *spread, "--node-rank", "1"), node=1, on_cpu=True)
    task = Task(name="tiny", job=job, inputs={"exported": str(exported)}, output="", events="", summary="")
    (tmp_path / "task.json").write_text(task.model_dump_json())
    local = {"GLOO_SOCKET_IFNAME": "lo", "VLLM_HOST_IP": "127.0.0.1", "TORCHDYNAMO_DISABLE": "1"}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "entrypoint.run.serve_follower", str(tmp_path / "task.json")]
        follower = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT, **local}, stdout=log, stderr=log)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in local.items():
            patch.setenv(name, value)
        first = Served(store.root, exported, tmp_path / "first", more=(*spread, "--node-rank", "0"))
    try:
        first.wait_for("ready", 400)
        assert [gate["verdict"] for gate in first.events("parity")] == ["passed"]
        assert first.ask("/v1/completions", {"model": "tiny", "prompt": "word of", "max_tokens": 4}, USER_KEY)[0] == 200
        assert follower.poll() is None, (tmp_path / "log").read_text()[-2000:]
        follower.send_signal(signal.SIGTERM)
        assert follower.wait(60) == 0
    except AssertionError:
        print((tmp_path / "log").read_text(errors="replace")[-6000:])
        raise
    finally:
        first.remove()
        if follower.poll() is None:
            follower.kill()
