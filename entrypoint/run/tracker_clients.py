"""The four trackers behind one form, each through its own official library.

transformers' callbacks are not used: they send within the training step, know no resume, and let through what a library raises.
What a client writes for itself lies in `folder`. Where the artifact is written to, a run is begun anew there under the same id and told from its
first row: what a killed process left half written needs no repair.
"""

import base64
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrypoint.run.seal import write_durably
from entrypoint.run.tracker_worker import Client, Row, kind_of, named
from schemas.track import TrackerJob

END_SECONDS = 60
"""How long a library may go on sending after the last row."""


@dataclass
class Run:
    """What every client is told of the run."""

    name: str
    job: TrackerJob
    online: bool
    folder: Path
    config: dict[str, Any]
    """The resolved job and the versions of the packages."""

    id: str
    """Of the run, the same after a resume; MLflow gives its own."""

    key: str | None = field(default=None, repr=False)


def make_client(run: Run) -> Client:
    """The client of a tracker."""
    makers: dict[str, type[Client]] = {"tensorboard": TensorboardClient, "wandb": WandbClient, "swanlab": SwanlabClient, "mlflow": MlflowClient}
    return makers[run.job.kind](run)  # type: ignore[call-arg]


class TensorboardClient:
    """Event files."""

    def __init__(self, run: Run):
        self.run = run

    def open(self) -> dict[str, int]:
        """Begin the files anew."""
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(self.run.folder, ignore_errors=True)
        self.writer = SummaryWriter(str(self.run.folder))
        self.writer.add_text("config", f"```json\n{json.dumps(self.run.config, indent=1)}\n```")
        return {}

    def log(self, rows: Sequence[Row]) -> None:
        """Scalars with the time of their step."""
        for row in rows:
            for name, value in named(row).items():
                self.writer.add_scalar(name, value, row["step"], walltime=row.get("time"))
        self.writer.flush()

    def close(self, finished: bool) -> None:
        """Flush and close."""
        self.writer.close()


class WandbClient:
    """Weights & Biases."""

    def __init__(self, run: Run):
        self.run = run

    def open(self) -> dict[str, int]:
        """A new run, offline; online the run of this id, where the server has it already."""
        import wandb

        told = self.run
        shutil.rmtree(told.folder, ignore_errors=True)  # also of an attempt that was online: what the server lacks is told again
        settings = wandb.Settings(
            api_key=told.key, silent=True, console="off", symlink=False, disable_git=True, disable_code=True, save_code=False, x_disable_meta=True,
            x_save_requirements=False, init_timeout=END_SECONDS, finish_timeout=END_SECONDS, **({"base_url": told.job.server} if told.job.server else {}),
        )  # fmt: skip
        self.wandb = wandb
        self.handle: Any = None
        wandb.setup(settings=wandb.Settings(silent=True))  # the login speaks before the run's own settings count
        try:
            self.handle = wandb.init(
                mode="online" if told.online else "offline", project=told.job.project, entity=told.job.owner, name=told.name, id=told.id,
                resume="allow" if told.online else None, dir=str(told.folder.parent), config=told.config, settings=settings,
            )  # fmt: skip
        finally:
            if self.handle is None:  # else its process keeps the id, and the run could not be begun offline
                wandb.teardown()
        self.handle.define_metric("train/global_step")
        self.handle.define_metric("*", step_metric="train/global_step", step_sync=True)
        had = {kind: self.handle.summary.get(f"{kind}/global_step") for kind in ("train", "eval")} if told.online else {}
        return {kind: int(step) for kind, step in had.items() if step is not None}

    def log(self, rows: Sequence[Row]) -> None:
        """Rows over train/global_step, as people know them from transformers; the totals of the end into the summary."""
        for row in rows:
            if kind_of(row) == "end":
                self.handle.summary.update({k: v for k, v in row.items() if k not in ("step", "time", "epoch")})
                continue
            steps = {"train/global_step": row["step"], f"{kind_of(row)}/global_step": row["step"]}
            self.handle.log(named(row) | steps | ({"_timestamp": row["time"]} if "time" in row else {}))

    def close(self, finished: bool) -> None:
        """Finish the run and end the library's own process: its logs must not grow while the artifact is sealed."""
        self.handle.finish()
        self.wandb.teardown()
        for logs in self.run.folder.glob("*/logs"):
            shutil.rmtree(logs, ignore_errors=True)


class SwanlabClient:
    """SwanLab."""

    def __init__(self, run: Run):
        self.run = run
        self.ear = _Ear()

    def open(self) -> dict[str, int]:
        """As wandb's; a step that the server has already is dropped by the library itself."""
        import swanlab
        from swanlab.sdk.internal.pkg import console

        # After its start the library raises nothing: what goes wrong is only said on the terminal.
        console.c.file = self.ear
        told = self.run
        shutil.rmtree(told.folder, ignore_errors=True)
        told.folder.mkdir(parents=True)
        where = {"api_key": told.key, **({"api_host": told.job.server} if told.job.server else {})} if told.online else {}
        settings = swanlab.Settings(
            interactive=False, terminal=swanlab.Settings.Terminal(proxy_type="none"),
            probe=swanlab.Settings.Probe(git=False, runtime=False, requirements=False, swanlab=False), **where,
        )  # fmt: skip
        self.handle = swanlab.init(
            mode="online" if told.online else "offline", project=told.job.project, workspace=told.job.owner, name=told.name, id=told.id,
            resume="allow" if told.online else None, log_dir=str(told.folder), config=told.config, settings=settings,
        )  # fmt: skip
        return {}

    def log(self, rows: Sequence[Row]) -> None:
        """Rows by their step."""
        for row in rows:
            self.handle.log(named(row), step=row["step"])
        self.ear.raise_first()

    def close(self, finished: bool) -> None:
        """Finish the run."""
        self.handle.finish(state="success" if finished else "aborted")
        self.ear.raise_first()


class _Ear:
    """Takes what the library prints: its errors are kept, its notices are not shown."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def write(self, text: str) -> int:
        if "| ERROR" in text:
            self.errors.append(" ".join(text.partition("| ERROR")[2].strip(" |").split()))
        return len(text)

    def flush(self) -> None:
        pass

    def raise_first(self) -> None:
        if self.errors:
            first, self.errors = self.errors[0], []
            raise RuntimeError(first)


class MlflowClient:
    """MLflow: a tracking server, or a folder in the same format."""

    def __init__(self, run: Run):
        self.run = run
        self.had: dict[str, int] | None = None
        """The last step that the run has of each number; None where that has to be asked."""

    @property
    def id_file(self) -> Path:
        """MLflow names its runs itself: the name is kept for a resume."""
        return self.run.folder.with_name(f"mlflow-{'online' if self.run.online else 'offline'}.id")

    def open(self) -> dict[str, int]:
        """The run of an earlier attempt, else a new one with its parameters."""
        import mlflow
        from mlflow import environment_variables as switch

        switch.MLFLOW_ALLOW_FILE_STORE.set(True)  # a folder needs no database beside it
        switch.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(2)
        switch.MLFLOW_HTTP_REQUEST_TIMEOUT.set(10)
        switch.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
        if self.run.key and self.run.online:
            _send_key(self.run.key)
        self.client = mlflow.MlflowClient(tracking_uri=self.run.job.server if self.run.online else self.run.folder.absolute().as_uri())
        self.mlflow = mlflow
        if self.id_file.is_file() and self._goes_on():
            return {}
        if not self.run.online:  # of an attempt that ended before its run was whole; the library has made its .trash already
            for path in self.run.folder.glob("[!.]*"):
                shutil.rmtree(path)
        experiment = self.client.get_experiment_by_name(self.run.job.project)
        number = experiment.experiment_id if experiment else self.client.create_experiment(self.run.job.project)
        self.run_id = self.client.create_run(number, run_name=self.run.name).info.run_id
        parameters = [mlflow.entities.Param(name, str(value)[:6000]) for name, value in _flat(self.run.config).items()]
        for at in range(0, len(parameters), 100):  # the server takes a hundred at once
            self.client.log_batch(self.run_id, params=parameters[at : at + 100])
        write_durably(self.id_file, self.run_id)
        self.had = {}
        return {}

    def _goes_on(self) -> bool:
        """Take the run of an earlier attempt; False for one in the artifact that a power cut has left unreadable: every row is told again."""
        try:
            self.run_id = self.id_file.read_text(encoding="utf-8")
            self.client.update_run(self.run_id, status="RUNNING")
            self.had = self._last_steps()
        except (OSError, ValueError, self.mlflow.MlflowException):  # what the library makes of half a file
            if self.run.online:
                raise
            return False
        # Half a line may read as a whole one, until the next stands behind it.
        return self.run.online or all(path.read_bytes().endswith(b"\n") for path in self.run.folder.glob("*/*/metrics/**/*") if path.is_file())

    def _last_steps(self) -> dict[str, int]:
        """Number by number: a kill in the middle of a row leaves some of them written and others not."""
        histories = {name: self.client.get_metric_history(self.run_id, name) for name in self.client.get_run(self.run_id).data.metrics}
        return {name: max(metric.step for metric in found) for name, found in histories.items()}

    def log(self, rows: Sequence[Row]) -> None:
        """Metrics with the time of their step, in one request; what the run has already is left out."""
        metric, had = self.mlflow.entities.Metric, self._last_steps() if self.had is None else self.had
        named_rows = [(row, name, value) for row in rows for name, value in named(row).items() if row["step"] > had.get(name, -1)]
        found = [metric(name, value, int(row.get("time", 0) * 1000), row["step"]) for row, name, value in named_rows]
        self.had = None  # asked again where this fails half way
        for at in range(0, len(found), 1000):
            self.client.log_batch(self.run_id, metrics=found[at : at + 1000])
        self.had = had

    def close(self, finished: bool) -> None:
        """Say how it ended."""
        self.client.set_terminated(self.run_id, "FINISHED" if finished else "KILLED")


def _send_key(key: str) -> None:
    """Through the library's own hook for headers: its other way is an environment variable, which the processes of other trackers would inherit."""
    from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
    from mlflow.tracking.request_header.registry import _request_header_provider_registry

    value = f"Basic {base64.b64encode(key.encode()).decode()}" if ":" in key else f"Bearer {key}"

    class Key(RequestHeaderProvider):
        def in_context(self) -> bool:
            return True

        def request_headers(self) -> dict[str, str]:
            return {"Authorization": value}

    _request_header_provider_registry.register(Key)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `train.adapter.rank`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
