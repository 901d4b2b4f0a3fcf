"""What may stand where: the models that pydantic checked, walked along an error's place."""

import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

from schemas.spec import Spec

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where an error is: the keys as the file has them, and the models that could hold the last one."""

    path: Loc
    holders: tuple[type[BaseModel], ...] = ()
    """First the chosen one, then the other kinds of the same section."""

    field: FieldInfo | None = None
    """Of the key; None for an entry of a list."""

    annotation: Any = None
    """The type of the value."""

    @property
    def models(self) -> list[type[BaseModel]]:
        """The models that may stand at this place."""
        return models_in(self.annotation)

    @property
    def kinds(self) -> list[str]:
        """The values of `kind` that choose among them."""
        return [word for model in self.models for word in kind_words(model)]

    @property
    def accepts_auto(self) -> bool:
        """Whether `auto` may stand there."""
        return self.field is not None and type(None) in typing.get_args(self.field.annotation)

    @property
    def item(self) -> Any:
        """The type of the entries, if a list may stand there."""
        return _item(self.annotation)

    @property
    def words(self) -> list[str]:
        """The words of a choice, or of a list of choices."""
        return _words(self.annotation)

    @property
    def bounds(self) -> dict[str, float]:
        """The limits of a number: ge, gt, le, lt."""
        return _bounds(self.annotation)

    @property
    def undecided(self) -> "Place":
        """The same place before one of several forms was chosen for it."""
        return replace(self, annotation=_annotated(self.field)) if self.field else self

    @property
    def pattern(self) -> str:
        """The path with `*` for positions in lists."""
        return ".".join("*" if isinstance(part, int) else part for part in self.path)


def locate(loc: Loc) -> Place:
    """Turn pydantic's loc, which also names chosen union members, into the keys of the file."""
    path: list[str | int] = []
    holders: tuple[type[BaseModel], ...] = (Spec,)
    current: Any = Spec
    field: FieldInfo | None = None
    for part in loc:
        members = _tagged(current)
        if part in members:
            chosen = members[str(part)]
            holders = tuple(models_in(chosen)) + tuple(m for m in models_in(current) if m not in models_in(chosen))
            current = chosen
            continue
        path.append(part)
        if isinstance(part, int):
            current = _item(current)
            holders = tuple(models_in(current))
            field = None
            continue
        owner = next((m for m in models_in(current) if part in m.model_fields), None)
        if not set(models_in(current)) <= set(holders):
            holders = tuple(models_in(current))
        field = owner.model_fields[str(part)] if owner else None
        current = _annotated(field) if field else None
    return Place(tuple(path), holders, field, current)


def sections_with(key: str) -> list[str]:
    """The sections of a spec that have this key, as dotted paths."""
    return list(dict.fromkeys(path for path, model in _sections(Spec, "") if key in model.model_fields))


def paths_by_key() -> dict[str, str]:
    """Each key of a section with a place that has it, the first of several; `kind` has too many."""
    places = [(key, f"{path}.{key}") for path, model in _sections(Spec, "") for key in model.model_fields if key != "kind"]
    return dict(reversed(places))


def kind_words(model: type[BaseModel]) -> tuple[str, ...]:
    """The values of `kind` that choose this model."""
    field = model.model_fields.get("kind")
    return tuple(typing.get_args(field.annotation)) if field else ()


def write_as(annotation: Any, given: str | None = None) -> str | None:
    """How a plain value would be written in the form that this type wants; without one, the shortest valid form."""
    item, models = _item(annotation), models_in(annotation)
    if item is not None:
        inner = write_as(item, given)
        return f"[{inner}]" if inner else None
    plain = [word for form in _tagged(annotation).values() if not models_in(form) for word in _words(form)]
    if not models or given in plain:
        return given or (_words(annotation) or ["..."])[0]
    kinds = [word for model in models for word in kind_words(model)]
    if kinds:
        return f"{{kind: {given or kinds[0]}}}" if given is None or given in kinds else None
    required = {name: field for name, field in models[0].model_fields.items() if field.is_required()}
    if given is not None and len(required) != 1:
        return None
    return "{" + ", ".join(f"{name}: {write_as(_annotated(field), given)}" for name, field in required.items()) + "}"


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a type names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for inner in typing.get_args(annotation):
        found += [m for m in models_in(inner) if m not in found]
    return found


def has_path(path: str) -> bool:
    """Whether a spec can have this dotted path."""
    section, _, key = path.rpartition(".")
    return section in sections_with(key) if section else key in Spec.model_fields


def _bounds(annotation: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for meta in getattr(annotation, "__metadata__", ()):
        for limit in meta.metadata if isinstance(meta, FieldInfo) else (meta,):
            found |= {key: value for key in ("ge", "gt", "le", "lt") if (value := getattr(limit, key, None)) is not None}
    for inner in typing.get_args(annotation):
        found |= _bounds(inner)
    return found


def _words(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(word).lower() if isinstance(word, bool) else str(word) for word in typing.get_args(annotation)]
    return [word for inner in typing.get_args(annotation) if not models_in(inner) for word in _words(inner)]


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            path = f"{prefix}{name}"
            yield path, inner
            yield from _sections(inner, path + ".")


def _annotated(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _tagged(annotation: Any) -> dict[str, Any]:
    """Members of a union by the tag that pydantic puts into loc."""
    tags: dict[str, Any] = {}
    for inner in typing.get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            tags |= dict.fromkeys(kind_words(inner), inner)
        for meta in getattr(inner, "__metadata__", ()):
            if isinstance(meta, Tag):
                tags[meta.tag] = inner
        if typing.get_origin(inner) is not None and typing.get_origin(inner) is not tuple:
            tags = _tagged(inner) | tags
    return tags


def _item(annotation: Any) -> Any:
    """The type of a tuple's entries, however deep the tuple is wrapped."""
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0]
    return next((item for inner in typing.get_args(annotation) if (item := _item(inner)) is not None), None)
