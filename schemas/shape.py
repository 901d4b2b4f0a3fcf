"""What may stand where: the models that pydantic checked, walked along an error's place."""

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

from schemas.spec import Spec

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where an error is: the keys as the file has them, and the models that could hold the last one."""

    path: Loc
    holders: tuple[type[BaseModel], ...]
    """First the chosen one, then the other kinds of the same section."""

    field: FieldInfo | None = None

    @property
    def kinds(self) -> list[type[BaseModel]]:
        """The models that `kind` chooses from at this place."""
        return _models(_annotated(self.field)) if self.field else list(self.holders)

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
            holders = tuple(_models(chosen)) + tuple(m for m in _models(current) if m not in _models(chosen))
            current = chosen
            continue
        path.append(part)
        if isinstance(part, int):
            current = _item(current)
            holders = tuple(_models(current))
            field = None
            continue
        owner = next((m for m in _models(current) if part in m.model_fields), None)
        if not set(_models(current)) <= set(holders):
            holders = tuple(_models(current))
        field = owner.model_fields[str(part)] if owner else None
        current = _annotated(field) if field else None
    return Place(tuple(path), holders, field)


def sections_with(key: str) -> list[str]:
    """The sections of a spec that have this key, as dotted paths."""
    return [path for path, model in _sections(Spec, "") if key in model.model_fields]


def kind_words(model: type[BaseModel]) -> tuple[str, ...]:
    """The values of `kind` that choose this model."""
    field = model.model_fields.get("kind")
    return tuple(typing.get_args(field.annotation)) if field else ()


def accepts_auto(field: FieldInfo | None) -> bool:
    """Whether `auto` may stand there."""
    return field is not None and type(None) in typing.get_args(field.annotation)


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            path = f"{prefix}{name}"
            yield path, inner
            yield from _sections(inner, path + ".")


def _annotated(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for inner in typing.get_args(annotation):
        found += [m for m in _models(inner) if m not in found]
    return found


def _tagged(annotation: Any) -> dict[str, Any]:
    """Members of a union by the tag that pydantic puts into loc."""
    tags: dict[str, Any] = {}
    for inner in typing.get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            tags |= {word: inner for word in kind_words(inner)}
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
