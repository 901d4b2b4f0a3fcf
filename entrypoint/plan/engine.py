"""How ranks are launched."""

from entrypoint.plan.memory import Load
from schemas.facts import Facts

MAX_THREADS = 16
"""Beyond this OpenMP slows the small kernels of a training step down."""


def launcher(load: Load) -> tuple[str, ...]:
    """Plain Python for a single process, torchrun on this machine for every other strategy: DeepSpeed and DDP want its variables even for one rank."""
    if load.strategy == "single":
        return ("python", "-m")
    # A container without a network cannot look up its own host name, which torchrun would do to find its address.
    return ("python", "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={load.ranks}", "-m")


def environment(facts: Facts, load: Load, deterministic: bool = False, stop_seconds: int = 300) -> dict[str, str]:
    """Threads by what a rank has to itself; offline, since training has no network."""
    threads = max(1, min(MAX_THREADS, facts.cpu_cores // load.ranks))
    found = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if load.strategy != "single":  # on one machine; `lo` is there even without a network
        found |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    if load.strategy != "single":
        found["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(stop_seconds)  # torchrun would kill its processes after 30 s, in the middle of a save
    if load.strategy.startswith("zero") and not load.on_gpu:
        found["DS_ACCELERATOR"] = "cpu"
    if deterministic and load.on_gpu:
        found["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # torch refuses to be deterministic without it
    if load.on_gpu:
        found["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    if load.strategy == "single" and len(facts.accelerators) > 1:
        found["CUDA_VISIBLE_DEVICES"] = "0"  # transformers would spread a single process over every GPU that it sees
    return found
