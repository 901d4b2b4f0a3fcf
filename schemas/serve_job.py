"""What the leaf of the stage serve is told, and what that tells each engine."""

from typing import Literal

from schemas.base import Record


class AdapterPlace(Record):
    """An adapter on the base model that is served, and where it is found."""

    name: str
    """The model name that requests ask for."""

    run: str | None = None
    """The run whose newest sealed adapter it is; None for a folder of the user's."""

    path: str | None = None
    """The folder as it was found when this was planned; None where nobody has looked."""


class ServeJob(Record):
    """One served model: the engine's command line without address, model, name and keys, and how its supervisor treats it."""

    stage: Literal["serve"] = "serve"
    engine: str = "vllm"
    """The process is `entrypoint.run.serve_ENGINE`."""

    served_name: str
    arguments: tuple[str, ...]
    """For the engine's own parser."""

    adapters: tuple[AdapterPlace, ...] = ()
    """Where there are some, the engine loads the input `model` instead of `exported`; template and tokenizer stay those of `exported`."""

    generation: dict[str, int | float] = {}
    """Over the model's generation_config.json, for an engine that reads it from a folder alone."""

    key_file: str = "/run/secrets/api_key"
    """Where the users' keys are, one a line, where no gateway keeps them; the keys themselves are in no plan, argument or environment."""

    control_folder: str = "/run/caisson"
    """Shared with the gateway: its key, what is active, what it has taken over."""

    host_name: str = "serve"
    """Under which the gateway reaches the engines."""

    ports: tuple[int, int] = (8001, 8002)
    """The second is for an engine that starts beside the first."""

    parity: Literal["refuse", "warn"] = "refuse"
    handover: Literal["overlap", "restart"] = "restart"
    """Whether a new export's engine starts beside the old one."""

    keep: int = 3
    """Former exports that stay for a rollback; what is older is named, and left to the user."""

    on_cpu: bool = False
    """The engine computes on the CPU: there, work that moves no counter for long shows as CPU time."""

    headless: bool = False
    """One of several nodes, and not the one that answers: its engine has no port, so it only has to live."""

    drain_seconds: int = 60
    """For requests in flight, after SIGTERM."""

    load_seconds: int = 3600
    """For an engine to load its model."""

    silent_seconds: float = 20.0
    """Without a sign of life after which an engine counts as hung."""

    restarts: int = 3
    """Of engines that died or hung, within restart_seconds, before serve ends with 1."""

    restart_seconds: float = 600.0


class EngineTask(Record):
    """What an engine's process reads from its standard input: one line of JSON. The pipe then stays open as long as its supervisor lives."""

    served_name: str
    model: str
    """Absolute folder."""

    tokenizer: str = ""
    """Absolute folder of tokenizer, template and generation config where they are not the model's own."""

    adapters: dict[str, str] = {}
    """Absolute folders by name, for an engine that loads them only when it starts."""

    headless: bool = False
    generation: dict[str, int | float] = {}
    drain_seconds: int = 60
    host: str = "0.0.0.0"
    port: int
    arguments: tuple[str, ...]
    served_keys: tuple[str, ...]
    """sha256 in hex of each key that opens the OpenAI endpoints; the keys themselves never leave the supervisor."""

    own_key: str
    """sha256 in hex of the supervisor's key, which opens the control endpoints too."""
