"""What may be in a model folder. Reads names, configs and headers; runs nothing and opens no pickle.

A pickle can run any code when it is loaded, so weights pass only as safetensors; what a file is decides its content, not its name.
"""

import json
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from entrypoint.run.gguf_header import BadGguf, check_gguf_header
from entrypoint.run.safetensors_header import BadHeader, check_safetensors
from entrypoint.run.sniff import sniff
from schemas.errors import GateRefused, MachineError

SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken")
"""Of files that transformers and the engines read from a model folder."""

PAPERS = ("license", "notice", "copying", "use_policy")
"""Starts of names that the terms of use come under; they stay with the weights."""

TEMPLATES = "additional_chat_templates"
"""The one sub-folder that transformers reads (transformers.utils.hub, CHAT_TEMPLATE_DIR)."""

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill")
"""Endings under which pickles are known to travel."""

VOCABULARIES = ("tokenizer.json", "tekken.json", "vocab.json", "vocab.txt")
VOCABULARY_SUFFIXES = (".model", ".tiktoken")
"""What a tokenizer's words are in, by name and by ending."""

SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size")
"""Of a config: how many there are of something. null leaves it to the architecture, a list has one for each layer."""

CONFIG_BYTES = 64 * 2**20
"""No config is larger; tokenizer.json and vocabularies are not held to it."""

AS_PUBLISHED = "bring the whole folder as it was published"
"""The fix for a file that is not what it was."""

READ_CODE = "read that code, then write model.trust_remote_code: true, or use a model without code"
"""The fix for a model that brings code."""

INDEX = "model.safetensors.index.json"
"""Which shard holds which tensor."""

GGUF_VERSIONS = (2, 3)
"""Versions that the gguf package reads (gguf.constants, READER_SUPPORTED_VERSIONS)."""


@dataclass(frozen=True)
class Found:
    """What a scan lets through, and what it leaves behind; paths inside the folder."""

    files: tuple[str, ...]
    pickles: tuple[str, ...] = ()
    others: int = 0


def scan_model(folder: Path, shown: str, trust_remote_code: bool) -> Found:
    """The files of a model folder that belong to the model. Raises GateRefused for the first that must not pass; `shown` stands for the folder in its text."""
    every = tuple(walk(folder, shown))
    found = choose(every, shown, trust_remote_code, (p for p in every if _holds_pickle(folder / p)))
    for path in found.files:
        if path.endswith(".json"):
            check_json(folder / path, f"{shown}/{path}", trust_remote_code)
        elif not path.endswith(".safetensors") and (what := sniff(folder / path)):
            raise GateRefused(f"{shown}/{path} is {what}, whatever its name says", "remove it, or get the file from where the model was published")
    check_weights(folder, found.files, shown)
    return found


def choose(names: Iterable[str], shown: str, trust_remote_code: bool, pickled: Iterable[str] = ()) -> Found:
    """Which of these names belong to the model, by name alone; for a hub's listing, before a byte is fetched. Raises GateRefused."""
    names = tuple(sorted(names))
    files = tuple(n for n in names if belongs(n, trust_remote_code))
    content = frozenset(pickled)
    pickles = tuple(n for n in names if n not in files and (n in content or n.lower().endswith(PICKLED)))
    if "config.json" not in names:
        raise GateRefused(f"{shown}: no config.json", _fix_without_config(names, shown))
    if code := [n for n in names if n.endswith(".py") and not trust_remote_code]:
        raise GateRefused(f"{shown}/{code[0]} is Python code that loading the model would run", READ_CODE)
    if not any(is_weight(f) for f in files):
        if pickles:
            raise GateRefused(
                f"{shown}/{pickles[0]}: the weights are pickled, and loading a pickle can run any code",
                "convert them to safetensors first, or take a revision that has them",
            )
        raise GateRefused(f"{shown}: no weights: neither model.safetensors nor model.safetensors.index.json", AS_PUBLISHED)
    if not trust_remote_code and not any(f in VOCABULARIES or f.endswith(VOCABULARY_SUFFIXES) for f in files):  # code may bring a tokenizer of its own
        raise GateRefused(f"{shown}: no tokenizer: neither {', '.join(VOCABULARIES)} nor a file *{' or *'.join(VOCABULARY_SUFFIXES)}", AS_PUBLISHED)
    return Found(files, pickles, len(names) - len(files) - len(pickles))


def belongs(path: str, trust_remote_code: bool) -> bool:
    """Whether a model's loader reads a file of this name."""
    parts = PurePosixPath(path).parts
    if any(part.startswith(".") for part in parts) or path.endswith(".bin.index.json"):
        return False
    if path.endswith(".py"):
        return trust_remote_code
    if len(parts) == 1 and path.lower().startswith(PAPERS):
        return not path.lower().endswith(PICKLED)
    return path.endswith(SUFFIXES) and (len(parts) == 1 or parts[0] == TEMPLATES)


def is_weight(path: str) -> bool:
    """Whether a loader starts from this file."""
    return path in ("model.safetensors", INDEX)


def unreadable(error: OSError) -> NoReturn:
    """For os.walk, which passes over a folder that it cannot list unless it is told not to: whole folders of rows would be missing in silence."""
    raise MachineError(f"{error.filename} cannot be read: {error.strerror}", "give uid 10001 the right to read it: chmod -R a+rX")


def walk(folder: Path, shown: str) -> Iterator[str]:
    """Regular files below `folder`, without hidden ones. Raises GateRefused for links that leave it and for pipes, sockets and devices."""
    root = folder.resolve()
    for base, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted([*names, *(f for f in folders if (Path(base) / f).is_symlink())]):
            path = Path(base) / name
            inside = path.relative_to(root).as_posix()
            check_name(inside, shown)
            if name.startswith("."):
                continue
            if check_inside(path, root, f"{shown}/{inside}"):
                yield inside


def check_name(inside: str, shown: str) -> None:
    """Raise GateRefused for unprintable names, also those that are not UTF-8: they could not be written into a manifest."""
    if not inside.isprintable():
        raise GateRefused(f"{shown}/{inside!a} has unprintable characters in its name", "rename or remove it")


def check_inside(path: Path, root: Path, shown: str) -> bool:
    """Whether a path is a file, after links; False for a folder. Raises GateRefused where a link leaves `root` or nothing ordinary is behind it."""
    try:
        target = path.resolve()
    except RuntimeError:  # so pathlib calls a loop
        raise GateRefused(f"{shown} is a link that leads back to itself", "remove it") from None
    if not target.is_relative_to(root):
        raise GateRefused(f"{shown} is a link that leaves its folder", "copy the folder with its links followed: cp -rL")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        raise GateRefused(f"{shown} is a link to a file that is not there", AS_PUBLISHED) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise GateRefused(f"{shown} is a pipe, socket or device", "remove it")
    return stat.S_ISREG(mode)


def check_json(path: Path, shown: str, trust_remote_code: bool) -> None:
    """Raise GateRefused where a file is not JSON, a config no object, or names code that loading would run."""
    is_config = "config" in path.name or path.name.endswith(".index.json")
    if is_config and path.stat().st_size > CONFIG_BYTES:
        raise GateRefused(f"{shown} has {path.stat().st_size} bytes, a config has at most {CONFIG_BYTES}", AS_PUBLISHED)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise GateRefused(f"{shown} is {sniff(path) or f'not valid JSON: {error}'}", AS_PUBLISHED) from None
    if is_config and not isinstance(content, dict):
        raise GateRefused(f"{shown} is not a JSON object", AS_PUBLISHED)
    if not trust_remote_code and _names_code(content):
        raise GateRefused(f"{shown} names Python code that loading the model would run (auto_map)", READ_CODE)
    if path.name == "config.json":
        _check_sizes(content, shown)
    if path.name == "tokenizer.json" and not (isinstance(content, dict) and isinstance(content.get("model"), dict)):
        raise GateRefused(f"{shown} describes no tokenizer: it has no `model`", AS_PUBLISHED)


def _check_sizes(config: dict[str, Any], shown: str) -> None:
    """Raise GateRefused where a config, or the part of it for text, has a size that nothing can have."""
    sections = {"": config, "text_config.": config.get("text_config")}
    for section, key in product(sections, SIZES):
        values = sections[section]
        if isinstance(values, dict):
            given = values.get(key)
            for value in given if isinstance(given, list) else [given]:
                if value is not None and (type(value) is not int or not 0 < value < 2**31):  # bool is an int too, and true is no size
                    raise GateRefused(f"{shown}: {section}{key} is {str(value)[:40]}, which no model has", AS_PUBLISHED)


def check_weights(folder: Path, files: tuple[str, ...], shown: str) -> None:
    """Raise GateRefused where an index names what is not there, or a safetensors file is not what its header says."""
    shards = _check_index(folder, files, shown) if INDEX in files else {}
    for path in (f for f in files if f.endswith(".safetensors")):
        try:
            held = check_safetensors(folder / path)
        except BadHeader as error:
            what = sniff(folder / path)
            raise GateRefused(
                f"{shown}/{path}: {f'this is {what}' if what else error}",
                "copy or download the file again; its size and hash are on the page it was published on",
            ) from None
        if lost := sorted(name for name, shard in shards.items() if shard == path and name not in held):
            raise GateRefused(f"{shown}/{path} does not hold {lost[0][:100]!r}, though {INDEX} says so", AS_PUBLISHED)


def _check_index(folder: Path, files: tuple[str, ...], shown: str) -> dict[str, str]:
    """Tensor -> shard. Its total_size is not compared: publishers count tied weights once or twice; that it is a size is."""
    index = json.loads((folder / INDEX).read_bytes())
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(s, str) for s in shards.values()):
        raise GateRefused(f"{shown}/{INDEX} has no weight_map", AS_PUBLISHED)
    said = index.get("metadata")
    size = said.get("total_size", 1) if isinstance(said, dict) else 1
    if type(size) not in (int, float) or not 0 < size < 2**63:
        raise GateRefused(f"{shown}/{INDEX}: total_size is {str(size)[:40]}, which no model has", AS_PUBLISHED)
    for shard in sorted(set(shards.values())):
        if "/" in shard or "\\" in shard or shard.startswith("."):
            raise GateRefused(f"{shown}/{INDEX} names {shard!r}, which is not a file of this folder", AS_PUBLISHED)
        if shard not in files:
            raise GateRefused(f"{shown}/{shard} is missing; {INDEX} names it", "bring every shard of the model")
    return shards


def check_gguf(path: Path) -> None:
    """Raise GateRefused where a file is not a GGUF of a version that can be read."""
    with path.open("rb") as stream:
        head = stream.read(24)
    if head[:4] != b"GGUF":
        raise GateRefused(
            f"{path} does not start with GGUF: it is {sniff(path) or 'something else'}",
            "download the file again; a page of HTML or a Git LFS pointer is often saved in its place",
        )
    if len(head) < 24:
        raise GateRefused(f"{path} ends after {len(head)} bytes", "download the file again")
    version, tensors, _ = struct.unpack("<IQQ", head[4:])
    if version not in GGUF_VERSIONS or not tensors:
        raise GateRefused(
            f"{path} is GGUF version {version} with {tensors} tensors; versions {GGUF_VERSIONS[0]} and {GGUF_VERSIONS[1]} can be read",
            "download a current file of this model",
        )
    try:
        check_gguf_header(path)
    except BadGguf as error:
        raise GateRefused(f"{path}: {error}", "download the file again; its size and hash are on the page it was published on") from None


def _names_code(content: Any) -> bool:
    """Whether `auto_map` is anywhere in a config: sub-configs are looked up by it too."""
    waiting = [content]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if found.get("auto_map"):
                return True
            waiting += [v for v in found.values() if isinstance(v, dict | list)]
        elif isinstance(found, list):
            waiting += [v for v in found if isinstance(v, dict | list)]
    return False


def _holds_pickle(path: Path) -> bool:
    return not path.name.endswith(".safetensors") and "pickle" in sniff(path)


def _fix_without_config(names: tuple[str, ...], shown: str) -> str:
    if ggufs := [n for n in names if n.endswith(".gguf")]:
        return f"for the GGUF in it write model.source: {ggufs[0] if '://' in shown else f'{shown}/{ggufs[0]}'}" + (
            " after downloading it" if "://" in shown else ""
        )
    if "adapter_config.json" in names:
        return "this is an adapter: write the model that it belongs to"
    if nested := [n for n in names if n.endswith("/config.json")]:
        return f"there is one in {PurePosixPath(nested[0]).parent}: write {shown}/{PurePosixPath(nested[0]).parent}"
    return AS_PUBLISHED
