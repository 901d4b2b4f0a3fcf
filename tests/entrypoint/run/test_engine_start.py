"""How an engine's process hears what it must do, and ends with whoever told it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TASK = {"served_name": "n", "model": "/m", "port": 8001, "arguments": ["--a"], "served_keys": ["00" * 32], "own_key": "11" * 32}
PROGRAM = """
import json, time
from entrypoint.run import door
from entrypoint.run.engine_start import receive
task = receive()
print(json.dumps([task.model, task.port, list(task.arguments), [k.hex() for k in door._served], [k.hex() for k in door._own]]), flush=True)
time.sleep(30)
"""


def started() -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(json.dumps(TASK).encode() + b"\n")
    process.stdin.flush()
    return process


def test_the_door_has_its_keys_before_the_engine_starts() -> None:
    with started() as process:
        assert process.stdout
        assert json.loads(process.stdout.readline()) == ["/m", 8001, ["--a"], ["00" * 32], ["11" * 32]]
        process.kill()


def test_it_ends_when_its_supervisor_has_gone() -> None:
    """Also where that was killed: the pipe closes."""
    with started() as process:
        assert process.stdout and process.stdin
        process.stdout.readline()
        process.stdin.close()
        process.stdin = None
        assert process.wait(10) == -signal.SIGTERM


def test_what_the_supervisor_asks_stands_in_no_access_log() -> None:
    program = """
import logging, sys
from entrypoint.run.engine_start import receive
receive()
log = logging.getLogger("uvicorn.access")
log.addHandler(logging.StreamHandler(sys.stdout))
log.setLevel("INFO")
for path in ("/v1/completions?caisson-canary", "/metrics", "/health", "/v1/completions"):
    log.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "POST", path, "1.1", 200)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program + "print('end', flush=True)"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout  # open until it has been read: it ends with its supervisor
        process.stdin.write(json.dumps(TASK) + "\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ['127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 200\n', "end\n"]
        process.kill()
