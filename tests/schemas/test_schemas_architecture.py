"""Which architectures are known, and what is said of one that is not."""

import pytest

from schemas.architecture import check_known
from schemas.errors import UsageError

KNOWN = ["llama", "qwen3"]


def test_a_known_one_passes() -> None:
    check_known({"model_type": "llama", "transformers_version": "99.0"}, "m", KNOWN, "5.17.0")


@pytest.mark.parametrize("name", [None, "", 7, ["llama"]])
def test_no_name(name: object) -> None:
    with pytest.raises(UsageError, match="names no model_type"):
        check_known({"model_type": name}, "m", KNOWN, "5.17.0")


@pytest.mark.parametrize(("written", "fix"), [("5.18.0.dev0", "with transformers 5.18.0.dev0 or later"), ("5.17.0", "qwen3"), ("odd", "qwen3"), (5, "qwen3")])
def test_a_later_version_is_named_before_a_slip(written: object, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_known({"model_type": "qwen33", "transformers_version": written}, "m", KNOWN, "5.17.0")
    assert fix in (caught.value.fix or "")
