"""The fixtures of tests that train, as inside the image."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "entrypoint" / "run"))

from tiny_fixtures import fetched, few_prepared, few_sources, prepared, sources

__all__ = ["fetched", "few_prepared", "few_sources", "prepared", "sources"]
