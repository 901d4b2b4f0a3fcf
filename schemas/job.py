"""What a leaf is told: one document a stage, everything decided, nothing left to look up in the spec."""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.answers_job import Answered, AnswersJob
from schemas.base import Recompute, Record
from schemas.data import Format, NamedTemplate, TooLong
from schemas.evaluate_job import EvaluateJob
from schemas.expected import Predicted, Raising
from schemas.export_job import ExportJob
from schemas.method import LossOn, Method, RowKind
from schemas.plugins import PluginKind
from schemas.serve_job import ServeJob
from schemas.track import TrackerJob

TEMPLATE = "chat_template.jinja"
"""In the artifacts of rows, where the spec names a file, and of shards: what training and serving use."""


PART_TOKENS = 2_000_000
"""10 MB, so that writing holds little in memory and a stopped prepare loses little."""


class FetchJob(Record):
    """Bring one source into the store."""

    stage: Literal["fetch"] = "fetch"
    role: Literal["model", "data", "preprocessor", "plugins", "suites"]
    """preprocessor: the code that prepare runs; plugins: that of train; suites: the questions of an evaluation."""

    sources: tuple[str, ...]
    """For data and suites: one a list entry of the spec, in order."""

    trust_remote_code: bool = False
    template: str | None = None
    """For data: a Jinja file that goes with the rows, as TEMPLATE."""


class PluginJob(Record):
    """A user's code, as fetched."""

    source: str
    """File or module, as the spec names it."""

    name: str
    file: str
    """Inside the artifact of its stage's plug-ins."""

    options: dict[str, Any] = {}


class RowsJob(Record):
    """Rows of one source, as fetched."""

    path: str
    """Folder inside the data artifact."""

    source: str
    """As the spec names it, for messages."""

    format: Format
    columns: dict[str, str] = {}
    """Key that the format wants -> key that the rows have."""

    weight: float = 1.0
    max_rows: int | None = None


class PrepareJob(Record):
    """Rows to token shards."""

    stage: Literal["prepare"] = "prepare"
    method: str = "sft"
    """For messages."""

    rows: RowKind = "text"
    raw: bool = False
    """Rows of kind text are raw text: no template, the end-of-text token behind each."""

    train: tuple[RowsJob, ...]
    validation: tuple[RowsJob, ...] = ()
    validation_share: float = 0.0
    loss_on: LossOn
    max_length: int
    """Tokens."""

    too_long: TooLong
    max_rejected: float
    deduplicate: bool = False
    template: Literal["auto", "given"] | NamedTemplate = "auto"
    """given: the file TEMPLATE beside the rows."""

    preprocessor: PluginJob | None = None
    part_tokens: int = PART_TOKENS
    """Tokens of both splits after which a part is sealed."""

    streaming: Literal["head", "rest"] | None = None
    """head: the validation, and training rows up to the first part that has some; rest: what is behind it, while a training is under way."""

    seed: int


class AdapterJob(Record):
    """Which weights are trained."""

    kind: Literal["full", "freeze", "lora", "qlora", "dora", "rslora", "lora+", "pissa", "olora"]
    rank: int | None = None
    alpha: float | None = None
    dropout: float | None = None
    targets: tuple[str, ...] | Literal["all-linear"] | None = None
    modules_to_save: tuple[str, ...] = ()
    trainable_tokens: tuple[str, ...] = ()
    experts: bool = False
    ratio: float | None = None
    """Of lora+: how many times the learning rate the second matrix gets."""

    layers: int = 0
    """Of freeze: decoder layers that are trained, from the last one."""

    patterns: tuple[str, ...] = ()
    """Of freeze: weights that are trained beside them."""


class OptimisationJob(Record):
    """How gradients become updates."""

    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "muon"] = "adamw"
    schedule: Literal["linear", "cosine", "constant", "wsd", "inverse_sqrt"] = "linear"
    warmup: float = 0.0
    """Share of the steps."""

    warmup_steps: int | None = None
    """In place of the share."""

    decay: float = 0.0
    """Share of the steps, of wsd."""

    min_rate: float = 0.0
    """Share of the peak that is left at the end."""

    neftune: float | None = None
    label_smoothing: float = 0.0
    group_by_length: bool = False


class ValidationJob(Record):
    """How a run is judged while it trains."""

    every: int | None = None
    """Optimizer steps. None: at the end of each epoch."""

    metric: str = "loss"
    patience: int | None = None
    min_delta: float = 0.0
    best: bool = False


class TrainJob(Record):
    """One optimisation, fully decided."""

    stage: Literal["train"] = "train"
    method: Annotated[Method | Answered, Field(discriminator="kind")]
    """As the spec has it; ipo is dpo with its loss, and distil from an endpoint what its teacher answered."""

    adapter: AdapterJob
    device: Literal["cpu", "cuda"]
    strategy: Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"]
    ranks: int
    """Processes over all nodes."""

    nodes: int = 1
    """Machines that train together, with as many processes on each."""

    engine: dict[str, Any] = {}
    """DeepSpeed's settings, or what `fully_shard` is told; empty for single and ddp."""

    offload: Literal["none", "cpu", "nvme"] = "none"
    """nvme: what DeepSpeed keeps in the host's memory lies in files beside the checkpoints."""

    precision: Literal["bf16", "fp16", "fp32"]
    epochs: float
    max_steps: int | None
    learning_rate: float
    optimisation: OptimisationJob = OptimisationJob()
    validation: ValidationJob = ValidationJob()
    weight_decay: float
    max_grad_norm: float
    micro_batch: int
    """Rows a rank computes at once."""

    validation_rows: int = 1
    """Rows a rank computes at once in a validation."""

    accumulation: int
    """Micro-batches a rank adds up before an optimizer step."""

    pack_length: int | None = None
    """Tokens of a pack, which then stands for a row here; None: rows are padded to the longest of a micro-batch."""

    gradient_checkpointing: Recompute
    kernels: Literal["torch", "liger"] = "torch"
    """Who computes norms, rotary embeddings and the MLP's gate."""

    checkpoint_every: int
    """Optimizer steps."""

    checkpoint_seconds: float | None = None
    """Also save when this much time has passed since the last."""

    checkpoint_apart: float | None = None
    """Seconds that lie between two checkpoints at least, whatever the steps say, and never two at once. None: by steps alone."""

    deterministic: bool = False
    """Only kernels that give the same bits each time."""

    max_bad_steps: int = 5
    """Steps in a row whose gradients are not numbers before the run ends."""

    watchdog_times: float = 30.0
    """Median steps without one before the run is ended as hung."""

    watchdog_seconds: float = 300.0
    """But never before this."""

    keep: int
    seed: int
    stream: PrepareJob | None = None
    """Prepares the rows behind the first part while this trains; None: all are prepared."""

    plugins: dict[PluginKind, PluginJob] = {}
    predicted: Predicted = Predicted()
    """In no identity: it decides nothing."""

    raising: Raising | None = None
    """In no identity: the rows of a step stay the same. None: the plan's rows at once stay as they are."""

    track: tuple[TrackerJob, ...]
    """In no identity: where curves go decides no weight."""


HOW = (
    "device",
    "strategy",
    "nodes",
    "ranks",
    "engine",
    "offload",
    "precision",
    "micro_batch",
    "validation_rows",
    "accumulation",
    "gradient_checkpointing",
    "kernels",
    "deterministic",
)
"""Fields of a TrainJob that another machine may decide otherwise and still go on from its checkpoints, if not bit for bit."""


Job = Annotated[FetchJob | PrepareJob | AnswersJob | TrainJob | ExportJob | ServeJob | EvaluateJob, Field(discriminator="stage")]


class Task(Record):
    """A job with its places on this machine; written by the executor, read by the leaf."""

    name: str
    """Of the run."""

    job: Job
    inputs: dict[str, str]
    """Absolute folder of each sealed input, by role."""

    image_lock: str = ""
    """Digest of the image's locked packages."""

    output: str
    """Absolute folder to fill; kept between attempts until it is sealed."""

    events: str
    """JSON Lines file to append to."""

    summary: str
    """JSON file that the leaf leaves for the manifest."""
