"""Several machines in the plan: how many processes, how they are launched, and what is refused."""

import pytest
from known import H100, LLAMA_8B, card, facts, inputs, spec, why

from entrypoint.plan import plan_train
from entrypoint.plan.nodes import is_loopback
from entrypoint.plan.train import trained_elsewhere
from schemas.errors import MachineError
from schemas.job import TrainJob
from schemas.plan import Plan

TWO = "hardware: {nodes: 2, rendezvous: node-a}"


def job_of(plan: Plan) -> TrainJob:
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    return job


@pytest.mark.parametrize(("cards", "nodes", "ranks", "here"), [((H100,) * 8, 2, 16, 8), ((H100,), 3, 3, 1), ((), 2, 2, 1), ((), 4, 4, 1)])
def test_every_node_has_a_process_a_device(cards: tuple, nodes: int, ranks: int, here: int) -> None:  # type: ignore[type-arg]
    plan = plan_train(spec(f"hardware: {{nodes: {nodes}, rendezvous: node-a}}"), facts(*cards), inputs())
    job = job_of(plan)
    assert (job.nodes, job.ranks, job.strategy) == (nodes, ranks, "ddp")
    argv = plan.steps[0].argv
    assert {f"--ranks={here}", f"--nodes={nodes}", "--rendezvous=node-a:29400", "--name=n"} <= set(argv)
    assert not {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"} & set(plan.steps[0].environment), "the launcher finds the interface"
    assert why(plan, "hardware.nodes") == (str(nodes), "set in the spec; they meet at node-a:29400")


def test_what_several_machines_share_fits_where_one_is_too_small() -> None:
    full = "adapter: {kind: full}\ntrain: {batch_tokens: 4096}\nhardware: {strategy: zero3"
    big = {**LLAMA_8B, "vocab_size": 32000, "max_position_embeddings": 4096}
    machine = facts(*(card(24.0),) * 4, config=big)
    with pytest.raises(MachineError, match="does not fit"):
        plan_train(spec(full + "}"), machine, inputs())
    assert job_of(plan_train(spec(full + ", nodes: 4, rendezvous: node-a}"), machine, inputs())).ranks == 16


def test_memory_of_a_machine_is_shared_by_its_own_processes_only() -> None:
    """Two nodes of one process each have all of it, where two processes of one machine have half."""
    alone = why(plan_train(spec("hardware: {strategy: ddp}"), facts(ram_gib=8.0), inputs()), "memory")[0]
    apart = why(plan_train(spec(TWO), facts(ram_gib=8.0), inputs()), "memory")[0]
    assert (alone.partition(" of ")[2], apart.partition(" of ")[2]) == ("4.0 GiB", "8.0 GiB")


def test_threads_are_those_of_one_machine() -> None:
    assert plan_train(spec(TWO), facts(cpu_cores=6), inputs()).steps[0].environment["OMP_NUM_THREADS"] == "6"


@pytest.mark.parametrize("line", [TWO, "hardware: {nodes: 2, rendezvous: 10.0.0.1}"])
def test_a_node_without_a_network_is_refused(line: str) -> None:
    with pytest.raises(MachineError, match="2 nodes speak over a network, and train has none here\n    run `docker compose "):
        plan_train(spec(line), facts(network=False), inputs())


@pytest.mark.parametrize(
    ("rendezvous", "found"), [("localhost:1", True), ("127.0.0.1:29400", True), ("[::1]:5", True), ("node-a:29400", False), ("10.127.0.1:29400", False)]
)
def test_a_rehearsal_on_one_machine_needs_no_network(rendezvous: str, found: bool) -> None:
    assert is_loopback(rendezvous) is found


def test_another_address_of_the_rendezvous_trains_nothing_anew() -> None:
    one, other = spec(TWO), spec("hardware: {nodes: 2, rendezvous: '10.0.0.7:29500'}")
    assert plan_train(one, facts(), inputs()).steps[0].identity == plan_train(other, facts(), inputs()).steps[0].identity
    assert trained_elsewhere(one, inputs()) == trained_elsewhere(other, inputs())
    assert trained_elsewhere(one, inputs()) != trained_elsewhere(spec(), inputs())
