"""The one program: spec and facts in, a plan, its execution."""

__version__ = "0.1.0"
