"""Section `track`: where the curves of a run go, beside its own events."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Record, Section

Name = Literal["tensorboard", "wandb", "swanlab", "mlflow"]
Mode = Literal["offline", "online"]

CLOSE_SECONDS = 120
"""How long the end of a training waits for its trackers together, and once more for what the artifact gets in their place."""


def check_address(value: str) -> str:
    """Return the address of a server unchanged or say what is wrong with its form; a key in it would end up in plans and manifests."""
    found = re.fullmatch(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[^\s/@?#:\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?:/[^\s@?#]*)?", value)
    if not found or not 0 < int(found["port"] or 80) < 65536:
        raise PydanticCustomError("address", "must be http://HOST or https://HOST, with a port or a path where it has one, and without a user, key or query")
    return value


def check_key_file(value: str) -> str:
    """Return the path unchanged; the value is in no message, as it may be the key itself."""
    if not value.startswith("/") or not value.isprintable():
        raise PydanticCustomError(
            "key_file", "must be the absolute path of a file that holds the key, such as /run/secrets/NAME; the key itself never stands in a spec"
        )
    return value


def check_label(value: str) -> str:
    """Return the name unchanged or say what the trackers would not take."""
    if not re.fullmatch(r"[^/\\#?%:\s](?:[^/\\#?%:\x00-\x1f]{0,98}[^/\\#?%:\s])?", value) or not value.isprintable():
        raise PydanticCustomError("label", "must be 1 to 100 characters, without / \\ # ? % : and without blanks at its ends")
    return value


Address = Annotated[str, AfterValidator(check_address)]
KeyFile = Annotated[str, AfterValidator(check_key_file)]
Label = Annotated[str, AfterValidator(check_label)]


class Tensorboard(Section):
    """Event files in the train artifact."""

    kind: Literal["tensorboard"]
    """tensorboard: event files in the train artifact, read with `tensorboard --logdir`."""


class Wandb(Section):
    """Weights & Biases."""

    kind: Literal["wandb"]
    """wandb: Weights & Biases, its service or a server of your own."""

    mode: Mode = "offline"
    """offline: everything is in the train artifact, `wandb sync` uploads it later; online: sent while training, which needs a network and a key."""

    project: Auto[Label] = None
    """The project that the run belongs to. auto: the spec's name."""

    entity: Auto[Label] = None
    """The user or team that owns the project. auto: the default of the key's account."""

    base_url: Auto[Address] = None
    """A server of your own. auto: the public service."""

    key_file: KeyFile = "/run/secrets/wandb_key"
    """File with the API key, read when online."""


class Swanlab(Section):
    """SwanLab."""

    kind: Literal["swanlab"]
    """swanlab: SwanLab, its service or a server of your own."""

    mode: Mode = "offline"
    """offline: everything is in the train artifact, `swanlab sync` uploads it later; online: sent while training, which needs a network and a key."""

    project: Auto[Label] = None
    """The project that the run belongs to. auto: the spec's name."""

    workspace: Auto[Label] = None
    """The user or organisation that owns the project. auto: the default of the key's account."""

    host: Auto[Address] = None
    """A server of your own. auto: the public service."""

    key_file: KeyFile = "/run/secrets/swanlab_key"
    """File with the API key, read when online."""


class Mlflow(Section):
    """MLflow."""

    kind: Literal["mlflow"]
    """mlflow: MLflow, a folder in its own format or a tracking server."""

    uri: Auto[Address] = None
    """A tracking server; the run is sent to it while training, which needs a network. auto: none, everything is in the train artifact."""

    experiment: Auto[Label] = None
    """The experiment that the run belongs to. auto: the spec's name."""

    key_file: KeyFile = "/run/secrets/mlflow_key"
    """File with TOKEN or USER:PASSWORD, read where there is a server; a server without authentication needs none."""


def _form(value: Any) -> str:
    return "section" if isinstance(value, dict | Section) else "name"


Tracker = Annotated[
    Annotated[Name, Tag("name")] | Annotated[Tensorboard | Wandb | Swanlab | Mlflow, Discriminator("kind"), Tag("section")],
    Discriminator(_form),
]
"""A name, which means its defaults, or a mapping with `kind`."""


def check_once(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the list unchanged or name the tracker that stands in it twice."""
    kinds = [tracker if isinstance(tracker, str) else tracker.kind for tracker in value]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise PydanticCustomError("twice", "names {kind} twice", {"kind": kind})
    return value


Track = Annotated[Many[Tracker], AfterValidator(check_once)]


class TrackerJob(Record):
    """One tracker, everything decided."""

    kind: Name
    online: bool = False
    """Whether it is sent to a server while training; else it is written into the artifact."""

    project: str = ""
    """Of MLflow: the experiment."""

    owner: str | None = None
    """wandb's entity, SwanLab's workspace; None is the key's own."""

    server: str | None = None
    """None is the public service."""

    key_file: str | None = None
    """None where no key is read."""
