"""What each tracker is told, what is said of it, and who is refused."""

import pytest
from known import facts, inputs, spec, why

from entrypoint.plan import plan_train
from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.track import TrackerJob


def jobs(track: str, **machine: object) -> tuple[TrackerJob, ...]:
    (step,) = plan_train(spec(f"track: {track}"), facts(**machine), inputs()).steps
    assert step.job.stage == "train"
    return step.job.track


def test_the_default_is_tensorboard_and_no_news() -> None:
    plan = plan_train(spec(), facts(), inputs())
    (step,) = plan.steps
    assert step.job.stage == "train" and step.job.track == (TrackerJob(kind="tensorboard"),)
    assert not [d for d in plan.decisions if d.field.startswith("track")]
    assert jobs("[]") == ()


@pytest.mark.parametrize("kind", ["wandb", "swanlab", "mlflow"])
def test_a_name_means_offline_and_needs_no_network_and_no_key(kind: str) -> None:
    bare, mapping = jobs(f"[{kind}, tensorboard]", network=False), jobs(f"[{{kind: {kind}}}, {{kind: tensorboard}}]", network=False)
    assert bare == mapping == (TrackerJob(kind=kind, project="n"), TrackerJob(kind="tensorboard"))  # type: ignore[arg-type]
    value, reason = why(plan_train(spec(f"track: [{kind}]"), facts(), inputs()), f"track: {kind}")
    assert value == "offline"
    assert reason.startswith("written into the train artifact") and reason.endswith("n, the spec's name")


ONLINE = {
    "{kind: wandb, mode: online}": TrackerJob(kind="wandb", online=True, project="n", key_file="/run/secrets/wandb_key"),
    "{kind: wandb, mode: online, project: p, entity: team, base_url: 'https://w.example', key_file: /k}": TrackerJob(
        kind="wandb", online=True, project="p", owner="team", server="https://w.example", key_file="/k"
    ),
    "{kind: swanlab, mode: online, project: p, workspace: team, host: 'https://s.example'}": TrackerJob(
        kind="swanlab", online=True, project="p", owner="team", server="https://s.example", key_file="/run/secrets/swanlab_key"
    ),
    "{kind: mlflow, uri: 'http://m:5000', experiment: p}": TrackerJob(
        kind="mlflow", online=True, project="p", server="http://m:5000", key_file="/run/secrets/mlflow_key"
    ),
}


@pytest.mark.parametrize("tracker", ONLINE)
def test_online(tracker: str) -> None:
    assert jobs(f"[{tracker}]") == (ONLINE[tracker],)
    value, reason = why(plan_train(spec(f"track: [{tracker}]"), facts(), inputs()), f"track: {ONLINE[tracker].kind}")
    assert value == "online"
    assert (ONLINE[tracker].server or "the public service") in reason


@pytest.mark.parametrize("tracker", ONLINE)
def test_online_without_a_network_is_refused_with_both_ways_out(tracker: str) -> None:
    with pytest.raises(MachineError) as caught:
        jobs(f"[tensorboard, {tracker}]", network=False)
    assert caught.value.what == f"track: {ONLINE[tracker].kind} wants its server, and train has no network here"
    assert caught.value.fix and "-f compose/track.yaml run --rm train" in caught.value.fix
    assert caught.value.fix.endswith("take its uri out" if ONLINE[tracker].kind == "mlflow" else "write mode: offline")


def test_recorded_machines_count_as_connected() -> None:
    assert Facts.model_fields["network"].default is True
