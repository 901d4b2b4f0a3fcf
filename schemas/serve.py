"""The section `serve` of a spec."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Section

EngineName = Literal["vllm", "lmdeploy"]
CacheType = Literal["bf16", "fp8", "int8", "int4"]

MASTER_PORT = 29501
"""vLLM's own."""


def check_master(value: str) -> str:
    """Return HOST:PORT, with the default port where none was written; raises PydanticCustomError for what is no address."""
    found = re.fullmatch(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?", value)
    if not found or not 1 <= int(found["port"] or MASTER_PORT) <= 65_535:
        raise PydanticCustomError("master", "must be HOST or HOST:PORT, the port from 1 to 65535")
    return f"{found['host']}:{found['port'] or MASTER_PORT}"


def check_folder(value: str) -> str:
    """Return a folder's path; raises PydanticCustomError for an address: serving has no way out to fetch from one."""
    if "://" in value or not value.startswith("/"):
        raise PydanticCustomError("folder", "must be a folder such as /models/draft", {"fix": "serving fetches nothing: put it below models/"})
    return value.rstrip("/") or "/"


Folder = Annotated[str, AfterValidator(check_folder)]


class ServedAdapter(Section):
    """One more adapter on the same base."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    """The model name that requests ask for."""

    run: Auto[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]] = None
    """Name of the run that made it, in the same store: the newest sealed one is served. auto: none, a path is given."""

    path: Auto[Folder] = None
    """A folder with adapter_config.json and adapter_model.safetensors. auto: none, a run is given."""

    @model_validator(mode="after")
    def _one_source(self) -> "ServedAdapter":
        if (self.run is None) == (self.path is None):
            fix = "write `run: NAME` for a run of this store, or `path: /models/FOLDER`"
            raise PydanticCustomError("adapter", "needs one of run and path, not {count}", {"count": "both" if self.run else "none", "fix": fix})
        return self


class Lookup(Section):
    """Guesses from the prompt's own words."""

    kind: Literal["ngram"]
    """ngram: what followed the last words where they stood before; pays where answers repeat their prompt."""

    tokens: Annotated[int, Field(ge=1, le=16)] = 4
    """Tokens guessed at a time."""

    longest: Annotated[int, Field(ge=1, le=16)] = 4
    """Tokens that are looked up at most."""

    shortest: Annotated[int, Field(ge=1, le=16)] = 2
    """Tokens that are looked up at least."""

    @model_validator(mode="after")
    def _in_order(self) -> "Lookup":
        if self.shortest > self.longest:
            raise PydanticCustomError("lookup", "shortest is greater than longest", {"fix": f"write shortest: {self.longest} or less"})
        return self


class Drafted(Section):
    """Guesses from other weights."""

    model: Folder
    """Its folder, as in /models/draft."""

    tokens: Annotated[int, Field(ge=1, le=16)] = 3
    """Tokens guessed at a time."""


class Draft(Drafted):
    """Guesses from a smaller model."""

    kind: Literal["draft"]
    """draft: a smaller model of the same vocabulary."""


class Eagle(Drafted):
    """Guesses from a head."""

    kind: Literal["eagle"]
    """eagle: a head trained for this very model."""


class Eagle3(Drafted):
    """Guesses from a head of the third kind."""

    kind: Literal["eagle3"]
    """eagle3: a head that was trained for this very model over several of its layers."""


Speculative = Lookup | Draft | Eagle | Eagle3


class Generation(Section):
    """What a request gets that does not say otherwise."""

    temperature: Auto[Annotated[float, Field(ge=0, le=2)]] = None
    """0 is greedy. auto: as generation_config.json of the model says."""

    top_p: Auto[Annotated[float, Field(gt=0, le=1)]] = None
    """Share of probability that is sampled from. auto: as the model says."""

    top_k: Auto[Annotated[int, Field(ge=1, le=1000)]] = None
    """Tokens that are sampled from. auto: as the model says."""

    min_p: Auto[Annotated[float, Field(ge=0, le=1)]] = None
    """Least probability, as a share of the greatest. auto: as the model says."""

    repetition_penalty: Auto[Annotated[float, Field(gt=0, le=2)]] = None
    """Above 1 makes repetition less likely. auto: as the model says."""

    max_tokens: Auto[Annotated[int, Field(ge=1, le=1_048_576)]] = None
    """Longest answer of any request, whatever it asks for. auto: what max_length leaves."""


class Serve(Section):
    """The OpenAI-compatible server."""

    engine: Auto[EngineName] = None
    """The inference engine: docs/engines.md. auto: vllm."""

    backend: Auto[Literal["turbomind", "pytorch"]] = None
    """Of LMDeploy. turbomind: its own CUDA kernels; pytorch: more models, adapters, fp8 cache and drafts. auto: turbomind where it has the model and the rest of this section."""

    max_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Longest conversation in tokens, answer included. auto: the model's positions, less where memory is short."""

    memory_share: Auto[Annotated[float, Field(gt=0, le=0.98)]] = None
    """Share of each accelerator's memory that the engine may take. auto: 0.9."""

    max_running: Auto[Annotated[int, Field(ge=1, le=4096)]] = None
    """Requests that are computed at once; others wait. auto: as the engine decides."""

    tensor_parallel: Auto[Annotated[int, Field(ge=1, le=64)]] = None
    """GPUs that share each layer. auto: as few as hold the weights and a cache."""

    pipeline_parallel: Auto[Annotated[int, Field(ge=1, le=64)]] = None
    """Groups of GPUs that hold one part of the layers each. auto: 1; one a node where there are several."""

    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Machines that serve one model together: docs/engines.md."""

    master: Auto[Annotated[str, AfterValidator(check_master)]] = None
    """HOST or HOST:PORT of the first of several nodes as the others reach it, port 29501 unless written."""

    kv_cache: Auto[CacheType] = None
    """How keys and values are kept. fp8, int8 and int4 hold two to four times as many tokens, a little less exactly. auto: as the weights compute."""

    prefix_caching: Auto[bool] = None
    """Whether what requests begin with alike is computed once. auto: true."""

    speculative: Auto[Annotated[Speculative, Discriminator("kind")]] = None
    """Guess several tokens and check them at once: same answers, sooner while few requests run. auto: none."""

    tool_parser: Auto[str] = None
    """Reads tool calls out of answers: a name that the engine knows, or none. auto: by the model's type and template."""

    reasoning_parser: Auto[str] = None
    """Takes thinking out of answers: a name that the engine knows, or none. auto: by the model's type and template."""

    structured_output: Auto[Literal["xgrammar", "guidance", "outlines", "lm-format-enforcer"]] = None
    """What holds answers to a JSON schema or grammar where a request gives one. auto: the engine's choice."""

    seed: Auto[Annotated[int, Field(ge=0, le=4_294_967_295)]] = None
    """Of sampling, for requests without one. auto: train.seed."""

    generation: Generation = Generation()
    """Defaults of requests."""

    adapters: Many[ServedAdapter] = ()
    """Further adapters on the same base, each by its name; then this run's own is served beside the base instead of merged into it."""

    parity: Literal["refuse", "warn"] = "refuse"
    """What happens to an export that does not read and answer the golden prompts as the tuned model did. warn: it is said, and served."""

    promote: Literal["auto", "manual"] = "auto"
    """Whether a new export of this spec is served as soon as it is sealed. manual: only once `caisson promote` says so; the first one always is."""

    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """How many exports that were served before stay for `caisson rollback`. Older ones go with `caisson exports --prune`, never by themselves."""

    handover: Auto[Literal["overlap", "restart"]] = None
    """How a new export takes over. overlap: its engine starts beside the old one, which answers until the new one has passed its gates. restart: the
    old one stops first, and comes back if the new one fails. auto: overlap where memory holds both."""

    @model_validator(mode="after")
    def _go_together(self) -> "Serve":
        if self.nodes > 1 and self.master is None:
            fix = "add `master: HOST:PORT`, the address of the first node as the others reach it"
            raise PydanticCustomError("nodes", "{nodes} nodes need a master to find each other", {"nodes": self.nodes, "fix": fix})
        if self.nodes == 1 and self.master is not None:
            raise PydanticCustomError("nodes", "a master is for more than one node", {"fix": "add `nodes: N`, or take the master out"})
        names = [adapter.name for adapter in self.adapters]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise PydanticCustomError("adapters", "two adapters are named {name}", {"name": twice, "fix": "requests choose by the name: give each its own"})
        return self
