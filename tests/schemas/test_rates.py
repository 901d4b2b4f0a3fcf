"""What is refused as a rate."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.rates import Rates

GOOD: dict[str, Any] = {"device": "cpu", "matmul_tflops": {"fp32": 0.1}, "memory_gib": 10.0, "launch_us": 5.0, "source": "torch 2.13"}


def test_good_ones_come_back() -> None:
    found = Rates.model_validate(GOOD)
    assert found.matmul_tflops == {"fp32": 0.1}
    assert Rates.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    "changes", [{"memory_gib": 0.0}, {"memory_gib": float("inf")}, {"matmul_tflops": {"int4": 1.0}}, {"matmul_tflops": {"bf16": -1.0}}, {"rate": 1.0}]
)
def test_impossible_ones_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rates.model_validate(GOOD | changes)
