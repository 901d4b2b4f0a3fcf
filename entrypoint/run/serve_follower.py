"""Leaf of the stage serve on every node but the first: an engine that computes for it and answers nobody. `python -m entrypoint.run.serve_follower TASK`."""

import signal
import sys
import threading
from pathlib import Path

from entrypoint.run.child import describe_exit
from entrypoint.run.engine_process import EngineProcess
from schemas.errors import StepFailed
from schemas.job import Task
from schemas.serve_job import EngineTask, ServeJob

LOOK_SECONDS = 0.5


def task_of(job: ServeJob, inputs: dict[str, str]) -> EngineTask:
    """As the first node's, but without a key that opens anything."""
    exported = inputs["exported"]
    return EngineTask(
        served_name=job.served_name,
        model=inputs["model"] if job.adapters else exported,
        tokenizer=exported if job.adapters else "",
        port=job.ports[0],
        arguments=job.arguments,
        node=job.node,
        generation=job.generation,
        drain_seconds=job.drain_seconds,
        served_keys=(),
        own_key="",
    )


def main() -> None:
    """End with 0 when told to stop, with 1 when the engine ends by itself: as the first node's does, it then has to be started again."""
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    assert isinstance(task.job, ServeJob)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    engine = EngineProcess(task.job.engine, task_of(task.job, task.inputs), {})
    while not stopping.wait(LOOK_SECONDS):
        if (code := engine.code()) is not None:
            error = StepFailed(f"serve: the engine of node {task.job.node} ended with {describe_exit(code)}", "its output is above; look at the first node too")
            print(f"caisson: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
    engine.kill()  # what it computes for is the first node's to finish


if __name__ == "__main__":
    main()
