"""Recorded machines that ship, one a JSON file beside this one: for `--facts NAME`."""

from importlib.resources import files


def machine_names() -> list[str]:
    """Names of all, sorted."""
    return sorted(entry.name.removesuffix(".json") for entry in files(__name__).iterdir() if entry.name.endswith(".json"))


def machine_text(name: str) -> str:
    """The file of one; `name` is one of machine_names()."""
    return files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
