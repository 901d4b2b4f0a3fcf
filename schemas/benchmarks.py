"""Benchmarks that have a name: which are asked, which are not and why, and where their questions come from."""

from typing import Any

from schemas.base import Record

BENCHMARK_DATA = "/data/benchmarks"
"""Where the questions of a benchmark lie that names no source, each in a folder of its name; in a container /data is ./data of the host."""

FETCHED_FROM = {
    "mmlu": "hf://cais/mmlu/all",
    "ceval": "hf://ceval/ceval-exam",
    "cmmlu": "ms://evalscope/cmmlu",
    "gsm8k": "hf://openai/gsm8k/main",
    "bbh": "hf://lukaemon/bbh",
    "truthful_qa": "hf://truthfulqa/truthful_qa/multiple_choice",
    "arc": "hf://allenai/ai2_arc",
    "hellaswag": "hf://Rowan/hellaswag",
}
"""Those that are asked, with a source that fetch knows: the data sets that EvalScope's adapters are written for."""

NOT_ASKED = {
    "ifeval": "its checks need langdetect, which has no wheel",
    "mmmu": "it asks about pictures, and no engine here is served with pictures",
    "humaneval": "it runs what a model writes, and there is no sandbox yet",
}
"""Those that are known, each with why it is refused."""

BENCHMARKS = (*FETCHED_FROM, *NOT_ASKED)


class BenchmarkAsked(Record):
    """What the process around EvalScope is told, on its standard input."""

    name: str
    folder: str
    """Of the fetched files."""

    source: str
    """As the spec names it, for messages."""

    subsets: tuple[str, ...]
    """Empty: all that the benchmark has."""

    limit: int | None
    """Questions of each part."""

    examples: int | None
    """In front of each question; None: as many as EvalScope puts there."""

    max_tokens: int
    seed: int
    requests: int
    url: str = ""
    """Empty: the questions are looked at, and none is asked."""

    key: str = ""
    model: str = ""


class BenchmarkTold(Record):
    """One line of what it answers: first how many questions there are, then each, then how often it asked again; or what is wrong with the data."""

    of: int | None = None
    tool: str = ""
    digest: str = ""
    settings: dict[str, Any] = {}
    question: dict[str, Any] | None = None
    retried: int | None = None
    given_up: int = 0
    """Requests so far that got no answer in all their tries, and why the last of them did not."""

    reason: str = ""
    wrong: str = ""
    fix: str = ""
