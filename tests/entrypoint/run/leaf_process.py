"""Runs the leaf the way the executor does: a process of its own and a task file."""

import os
import subprocess
import sys
from pathlib import Path

from schemas.job import FetchJob, Task

ROOT = Path(__file__).resolve().parents[3]

WITH_SECRETS = """
import sys
from pathlib import Path
from entrypoint.run import hub_shared
from entrypoint.run.fetch import fetch
from entrypoint.run.leaf import run_leaf
hub_shared.SECRETS = Path(sys.argv.pop())
run_leaf(fetch)
"""
"""`python -m entrypoint.run.fetch TASK`, with the secrets in another folder than /run/secrets."""


def task(tmp_path, *sources, role="model", **fields):
    """A task below tmp_path; its output is tmp_path/out."""
    job = FetchJob(role=role, sources=sources, **fields)
    return Task(name="t", job=job, inputs={}, output=f"{tmp_path}/out", events=f"{tmp_path}/events.jsonl", summary=f"{tmp_path}/summary.json")


def start(tmp_path, wanted, secrets=None, **environment):
    """The leaf's process, started; HF_HUB_OFFLINE=1 as in the images."""
    path = tmp_path / "task.json"
    path.write_text(wanted.model_dump_json())
    command = ["-c", WITH_SECRETS, path, secrets] if secrets else ["-m", "entrypoint.run.fetch", path]
    given = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen([sys.executable, *map(str, command)], env=given, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(tmp_path, wanted, secrets=None, **environment):
    """Exit code, standard output and standard error."""
    process = start(tmp_path, wanted, secrets, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err
