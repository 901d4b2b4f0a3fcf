"""The fixtures of tests that train."""

from tiny_fixtures import fetched, few_prepared, few_sources, prepared, sources, store

__all__ = ["fetched", "few_prepared", "few_sources", "prepared", "sources", "store"]
