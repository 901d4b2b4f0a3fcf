"""What tells in a chat template how a model writes tool calls and thinking."""

MARKS = (
    "<tool_call>", "<function=", "<|python_tag|>", "[TOOL_CALLS]", "<arg_key>", "<|channel|>", "<|tool_call|>", "<|tool_calls_section_begin|>", "<|plugin|>",
    "<seed:tool_call>", "<think>", "<seed:think>", "[THINK]",
)  # fmt: skip
"""Looked for by entrypoint.served; entrypoint/plan/tables/parsers.json says what each means for which model."""


def marks_in(template: str) -> tuple[str, ...]:
    """Those that stand in a template, in the order of MARKS."""
    return tuple(mark for mark in MARKS if mark in template)
