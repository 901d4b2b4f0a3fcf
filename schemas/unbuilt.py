"""What the design names and this version does not have: refused by name, never accepted in silence."""

VALUES: dict[str, tuple[str, ...]] = {
    "method.kind": ("grpo", "rloo", "ppo"),
    "adapter.kind": ("adalora", "ia3", "vera", "loha", "lokr", "oft", "boft", "bone"),
    "export.*.kind": ("gguf",),
}
"""Values by their place; `*` stands for a place in a list."""

KEYS: dict[str, tuple[str, ...]] = {
    "method": ("on_policy", "precompute", "reference"),
    "train": ("compile",),
    "hardware": ("offload_path",),
    "serve": ("replicas", "parity"),
}
"""Keys by the section that will hold them."""


def is_unbuilt_value(where: str, value: object) -> bool:
    """Whether the value is planned for that place; `where` has `*` for list positions."""
    return value in VALUES.get(where, ())


def is_unbuilt_key(section: str, key: str) -> bool:
    """Whether the key is planned for that section; `section` has `*` for list positions."""
    return key in KEYS.get(section, ())
