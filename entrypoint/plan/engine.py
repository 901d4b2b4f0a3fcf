"""How ranks are launched."""

from entrypoint.plan.load import Load
from schemas.facts import Facts

MAX_THREADS = 16
"""Beyond this OpenMP slows the small kernels of a training step down."""


KILL_SECONDS = 30
"""Before the container's grace ends: what kills ranks that do not end must still be there."""

RESTARTS = 10
"""Failures of ranks that a node's launcher answers with new ones before it ends: each is a neighbour that died, or a mistake that comes again."""


def launcher(load: Load, stop_seconds: int, rendezvous: str | None = None, name: str = "") -> tuple[str, ...]:
    """Plain Python for a single process, the launcher of ranks for every other strategy: DeepSpeed and DDP want its variables even for one rank.

    `stop_seconds` is what the container is given to stop.
    """
    if load.strategy == "single":
        return ("python", "-m")
    found = ("python", "-m", "entrypoint.run.launch", f"--ranks={load.ranks_per_node}", f"--grace={stop_seconds - KILL_SECONDS}")
    if load.nodes == 1:
        return found
    # Nodes meet under the run's name, not its identity: those whose plans differ must meet to be told so.
    return (*found, f"--nodes={load.nodes}", f"--rendezvous={rendezvous}", f"--name={name}", f"--restarts={RESTARTS}")


def environment(facts: Facts, load: Load, deterministic: bool = False) -> dict[str, str]:
    """Threads by what a rank has to itself; offline, since training has no network."""
    threads = max(1, min(MAX_THREADS, facts.cpu_cores // load.ranks_per_node))
    found = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if load.strategy != "single":
        found["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # a warning for each socket whose peer has no host name
    if load.strategy != "single" and load.nodes == 1:  # `lo` is there even without a network; for several the launcher knows the interface
        found |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    if load.strategy.startswith("zero") and not load.on_gpu:
        found["DS_ACCELERATOR"] = "cpu"
    if deterministic and load.on_gpu:
        found["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # torch refuses to be deterministic without it
    if load.on_gpu:
        found["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    if load.strategy == "single" and len(facts.accelerators) > 1:
        found["CUDA_VISIBLE_DEVICES"] = "0"  # transformers would spread a single process over every GPU that it sees
    return found
