"""What makes libraries call out by themselves, and the switch of each that stops it. Images set them, docs/air-gap.md lists them, tests compare all three.

Found by reading the installed sources for telemetry, usage statistics, update checks and crash reports; `source` says where a switch is read.
"""

from dataclasses import dataclass

ALL = ("base",)
"""Set in the image that all others stand on."""


@dataclass(frozen=True)
class Switch:
    """One environment variable."""

    library: str
    name: str
    value: str
    images: tuple[str, ...]
    """Whose Dockerfile sets it."""

    stops: str
    source: str
    """Module, or file of the library, that reads it."""


SWITCHES = (
    Switch("huggingface_hub", "HF_HUB_OFFLINE", "1", ALL, "every request", "huggingface_hub/constants.py"),
    Switch("huggingface_hub", "HF_HUB_DISABLE_TELEMETRY", "1", ALL, "usage statistics, also those that TRL sends", "huggingface_hub/constants.py"),
    Switch(
        "huggingface_hub",
        "HF_HUB_DISABLE_UPDATE_CHECK",
        "1",
        ("train", "export", "serve-vllm", "evaluate"),
        "update checks of its `hf`",
        "huggingface_hub/constants.py",
    ),
    Switch("transformers", "TRANSFORMERS_OFFLINE", "1", ALL, "every request", "huggingface_hub/constants.py"),
    Switch("datasets", "HF_DATASETS_OFFLINE", "1", ALL, "every request", "datasets/config.py"),
    Switch("datasets", "HF_UPDATE_DOWNLOAD_COUNTS", "0", ("train", "export", "evaluate"), "counting of downloads", "datasets/config.py"),
    Switch("vLLM", "VLLM_NO_USAGE_STATS", "1", ALL, "usage statistics", "vllm/envs.py"),
    Switch("vLLM", "VLLM_DO_NOT_TRACK", "1", ALL, "usage statistics", "vllm/envs.py"),
    Switch(
        "FastAPI", "FASTAPI_CLOUD_DISABLE_VERSION_CHECK", "1", ("serve-vllm",), "update checks of its `fastapi`", "fastapi_cloud_cli/utils/version_check.py"
    ),
    Switch("wandb", "WANDB_ERROR_REPORTING", "false", ("train",), "crash reports", "wandb/env.py"),
    Switch("MLflow", "MLFLOW_DISABLE_TELEMETRY", "true", ("train",), "usage statistics; it takes no DO_NOT_TRACK=1", "mlflow/telemetry/utils.py"),
    Switch("those that heed it", "DO_NOT_TRACK", "1", ALL, "usage statistics", "consoledonottrack.com"),
)


def table() -> str:
    """The lines of the table in docs/air-gap.md."""
    rows = [f"| {s.library} | `{s.name}={s.value}` | {s.stops} | {'all' if s.images == ALL else ', '.join(s.images)} |" for s in SWITCHES]
    return "\n".join(["| library | switch | stops | set in |", "|---|---|---|---|", *rows])
