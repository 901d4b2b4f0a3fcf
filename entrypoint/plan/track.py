"""Where the curves of a training go: names and mappings of the spec made whole, servers refused where nothing can be reached."""

from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.spec import Spec
from schemas.track import Mlflow, Swanlab, Tensorboard, TrackerJob, Wandb

OVERLAY = "docker compose -f compose.yaml -f compose/track.yaml run --rm train"
LATER = {"wandb": "`wandb sync` uploads it later", "swanlab": "`swanlab sync` uploads it later", "mlflow": "`upload_mlflow` sends it later"}
BARE: dict[str, type[Wandb] | type[Swanlab] | type[Mlflow] | type[Tensorboard]] = {
    "tensorboard": Tensorboard, "wandb": Wandb, "swanlab": Swanlab, "mlflow": Mlflow,
}  # fmt: skip


def plan_track(spec: Spec, facts: Facts, decisions: list[Decision]) -> tuple[TrackerJob, ...]:
    """One job a tracker. Raises MachineError for one that wants a server where there is no network."""
    jobs = tuple(_job(BARE[t](kind=t) if isinstance(t, str) else t, spec.name) for t in spec.track)  # type: ignore[arg-type]
    for job in jobs:
        if job.online and not facts.network:
            offline = "take its uri out" if job.kind == "mlflow" else "write mode: offline"
            raise MachineError(f"track: {job.kind} wants its server, and train has no network here", f"run `{OVERLAY}`, or {offline}")
        if job.kind != "tensorboard":
            decisions.append(_decision(job, spec.name))
    return jobs


def _job(tracker: Tensorboard | Wandb | Swanlab | Mlflow, name: str) -> TrackerJob:
    if isinstance(tracker, Tensorboard):
        return TrackerJob(kind=tracker.kind)
    if isinstance(tracker, Mlflow):
        online, project, owner, server = tracker.uri is not None, tracker.experiment, None, tracker.uri
    elif isinstance(tracker, Wandb):
        online, project, owner, server = tracker.mode == "online", tracker.project, tracker.entity, tracker.base_url
    else:
        online, project, owner, server = tracker.mode == "online", tracker.project, tracker.workspace, tracker.host
    return TrackerJob(kind=tracker.kind, online=online, project=project or name, owner=owner, server=server, key_file=tracker.key_file if online else None)


def _decision(job: TrackerJob, name: str) -> Decision:
    word = "experiment" if job.kind == "mlflow" else "project"
    whose = ", the spec's name" if job.project == name else ""
    if job.online:
        return Decision(field=f"track: {job.kind}", value="online", why=f"to {job.server or 'the public service'}, {word} {job.project}{whose}")
    return Decision(
        field=f"track: {job.kind}",
        value="offline",
        why=f"written into the train artifact, {LATER[job.kind]}; {word} {job.project}{whose}",
        source="docs/track.md",
    )
