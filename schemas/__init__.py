"""The documents that cross a process boundary: spec, facts, plan, job, manifest."""

SPEC_VERSION = 1
"""The version of the spec's format that this program reads."""
