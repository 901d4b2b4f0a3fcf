"""Which architectures are known, and what is said of one that is not."""

from pathlib import Path

import pytest

from entrypoint.plan.tables import ARCHITECTURES
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


def test_the_table_of_architectures_is_of_the_locked_transformers() -> None:
    for device in ("cpu", "cuda"):
        assert (
            f"\ntransformers=={ARCHITECTURES['transformers']} " in (Path(__file__).parents[2] / "images" / "train" / f"requirements.{device}.txt").read_text()
        )
