"""Leaf of the stage serve: the supervisor of the engines, which are processes of their own. `python -m entrypoint.run.serve TASK`."""

import signal
import sys
from pathlib import Path

from entrypoint.run.control import Control
from entrypoint.run.door import read_keys
from entrypoint.run.engine import EndedItself, Engine, Place
from entrypoint.run.events import Events
from entrypoint.run.followed import Followed
from entrypoint.run.store import Store
from entrypoint.run.supervisor import Supervisor
from schemas.errors import TOLD, CaissonError, StepFailed
from schemas.job import Task
from schemas.serve_job import ServeJob


def serve(task: Task, events: Events) -> None:
    """Until SIGTERM, which lets requests in flight finish. Raises why nothing is served."""
    job = task.job
    assert isinstance(job, ServeJob)
    exported = Path(task.inputs["exported"])  # STORE/NAME/exports/ID
    store = Store(exported.parents[2])
    control = Control(Path(job.control_folder))
    control.open()
    key_file = Path(job.key_file)
    base = Path(task.inputs["model"]) if "model" in task.inputs else None
    place = Place(store, control, read_keys(key_file) if key_file.exists() else [], task.image_lock, base)

    def start(folder: Path, port: int) -> Engine:
        return Engine(job, folder, port, place, events)

    supervisor = Supervisor(job, events, control, start, Followed(store, exported.parents[1].name))
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: supervisor.stopping.set())
    supervisor.run(exported)


def main() -> None:
    """End with 0 when told to stop, else with the code of what went wrong."""
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    events = Events(Path(task.events))
    try:
        serve(task, events)
    except EndedItself as ended:
        if ended.code in TOLD:
            sys.exit(ended.code)
        _end(StepFailed(f"serve: the engine of {task.job.stage} did not start: {ended}", "why is in its output above; the same command tries again"), events)
    except CaissonError as error:
        _end(error, events)


def _end(error: CaissonError, events: Events) -> None:
    print(f"caisson: {error}", file=sys.stderr, flush=True)
    events.write("failed", what=error.what, fix=error.fix, exit_code=error.exit_code)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
