"""Benchmarks by name, put and scored by EvalScope's adapters in a process of its own; `asking` is the way in."""
