"""Suites of the user's own rows, asked of a served model as a user's client asks it; `asking.run_suite` is the way in."""
