"""How ranks are launched and what DeepSpeed is told."""

from typing import Any

from entrypoint.plan.memory import Load
from schemas.facts import Facts

BUCKET = 200_000_000
"""Elements of one communication bucket: large enough to fill NVLink, 0.4 GiB in bf16."""

MAX_THREADS = 16
"""Beyond this OpenMP slows the small kernels of a training step down."""


def launcher(load: Load) -> tuple[str, ...]:
    """Plain Python for a single process, torchrun on this machine for every other strategy: DeepSpeed and DDP want its variables even for one rank."""
    if load.strategy == "single":
        return ("python", "-m")
    # A container without a network cannot look up its own host name, which torchrun would do to find its address.
    return ("python", "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={load.ranks}", "-m")


def environment(facts: Facts, load: Load, deterministic: bool = False) -> dict[str, str]:
    """Threads by what a rank has to itself; offline, since training has no network."""
    threads = max(1, min(MAX_THREADS, facts.cpu_cores // load.ranks))
    found = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if load.strategy != "single":  # on one machine; `lo` is there even without a network
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


def deepspeed(strategy: str, precision: str, micro_batch: int, accumulation: int, max_grad_norm: float) -> dict[str, Any]:
    """DeepSpeed's JSON for a zero strategy; empty for the others."""
    if not strategy.startswith("zero"):
        return {}
    stage = int(strategy[-1])
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": True, "contiguous_gradients": True, "reduce_bucket_size": BUCKET}
    if stage == 3:
        # Gathers whole weights at a save, so that what is saved is a plain model or adapter.
        zero |= {"stage3_prefetch_bucket_size": BUCKET // 4, "stage3_gather_16bit_weights_on_model_save": True}
    else:
        zero |= {"allgather_partitions": True, "allgather_bucket_size": BUCKET}
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": precision == "bf16"},
        "fp16": {"enabled": precision == "fp16"},
        "zero_allow_untested_optimizer": True,
        "gradient_clipping": max_grad_norm,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulation,
    }
