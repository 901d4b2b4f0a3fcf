"""Suites of the user's own rows, asked of a served model as a user's client asks it."""

from entrypoint.run.suites.asking import run_suite

__all__ = ["run_suite"]
