"""What other trainers call a key points at a key that is there."""

from schemas.other_names import BY_NAME, OTHER_NAMES
from schemas.shape import has_path
from schemas.spec import Spec


def test_targets_are_there() -> None:
    assert [path for path in OTHER_NAMES if not has_path(path)] == []


def test_each_name_once() -> None:
    assert len(BY_NAME) == sum(map(len, OTHER_NAMES.values()))


def test_no_section_is_shadowed() -> None:
    assert not set(BY_NAME) & set(Spec.model_fields)
