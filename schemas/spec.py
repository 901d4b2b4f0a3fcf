"""The root of spec.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.adapter import Adapter, AutoAdapter
from schemas.base import Section
from schemas.data import Data
from schemas.evaluate import Evaluate
from schemas.export import Exports, Safetensors
from schemas.gateway import Gateway
from schemas.method import Method
from schemas.model import Model
from schemas.plugins import Plugins
from schemas.serve import Serve
from schemas.track import Track
from schemas.train import Hardware, Train


class Spec(Section):
    """One model, one set of rows, one method, one server."""

    spec: Literal[1]
    """Version of this format."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    """Names the run and the served model: lower-case letters, digits, dots, dashes and underscores."""

    model: Model
    """The base model."""

    data: Data
    """The rows."""

    method: Method
    """What is optimised."""

    adapter: Adapter = AutoAdapter()
    """Which weights move."""

    train: Train = Train()
    """How the optimisation runs."""

    hardware: Hardware = Hardware()
    """How it is spread over the machine."""

    export: Exports = (Safetensors(kind="safetensors"),)
    """The forms in which the tuned model is written. Each is an artifact of its own, and those with fewer bits are made from the merged one."""

    serve: Serve = Serve()
    """The server."""

    gateway: Gateway = Gateway()
    """The published port in front of it."""

    evaluate: Evaluate = Evaluate()
    """The evaluation."""

    plugins: Plugins = Plugins()
    """A user's own code."""

    track: Track = ("tensorboard",)
    """Where the curves go, beside the run's own events: names, or mappings with `kind` and more."""
