"""Count what a model is made of. `python -m entrypoint.run.anatomy FOLDER STORE text|json`; the folder needs a config.json and nothing else."""

import sys
from importlib.util import find_spec
from pathlib import Path

from entrypoint.run.seal import write_durably
from schemas.anatomy import Anatomy, LinearMap, file_of
from schemas.errors import CaissonError, MachineError


def main(path: Path, store: Path, form: str) -> None:
    """Print it, and leave it in the store for later plans of the same config."""
    if find_spec("transformers") is None:
        raise MachineError(
            "transformers is not installed here", f"count in the image: docker compose run --rm train anatomy {path}, with the folder below MODELS"
        )
    folder = path.parent if path.name == "config.json" else path
    from entrypoint.run.anatomise import anatomise  # loads torch

    found = anatomise(folder, str(path))
    print(found.model_dump_json(indent=2, exclude_defaults=True) if form == "json" else "\n".join(describe(found)))
    kept = store / file_of((folder / "config.json").read_bytes())
    try:
        kept.parent.mkdir(exist_ok=True)
        write_durably(kept, found.model_dump_json(exclude_defaults=True))
    except OSError as error:
        print(f"caisson: not kept for later plans: {kept} cannot be written: {error.strerror}", file=sys.stderr)


def describe(body: Anatomy) -> list[str]:
    """Lines for people: sizes, and each kind of layer with its maps."""
    lines = [f"{body.class_name}, by transformers {body.transformers}: {body.parameters:,} weights, {body.dtype or 'no dtype in its config'}"]
    if body.heads:
        lines.append(
            f"attention: {body.heads} heads of {body.head_dim}, keys and values of {body.kv_heads}" + (f", window {body.window:,}" * bool(body.window))
        )
    if body.experts:
        lines.append(f"experts: {body.experts.active} of {body.experts.count} compute a token")
    lines += [f"table {table.name}: {table.rows:,} x {table.width:,}" for table in body.tables]
    lines.append(f"head: {_map(body.head)}" if body.head else "head: the input table")
    for kind in body.layers:
        lines.append(
            f"{kind.count} layers{f' of {kind.kind}' if kind.kind else ''}: {kind.parameters:,} weights each, {kind.others:,} of them in no linear map"
        )
        lines += [f"  {one.name}: {_map(one)}" for one in kind.maps]
        lines += [f"  keeps of a token: {kept.bytes:,.0f} bytes in {kept.precision} ({kept.trains})" for kept in kind.kept]
    lines += [f"outside of layers: {one.name}: {_map(one)}" for one in body.outside]
    return lines + [f"tower {tower.name}: {tower.parameters:,} weights, {tower.layers} layers" for tower in body.towers]


def _map(one: LinearMap) -> str:
    words = [f"{one.inputs:,} -> {one.outputs:,}", *([f"x {one.copies}"] if one.copies > 1 else []), *(["with bias"] if one.bias else [])]
    return " ".join([*words, *([f"({one.part}{', one tensor' if one.stacked else ''})"] if one.part != "plain" else [])])


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
