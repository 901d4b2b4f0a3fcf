"""A folder that carries images, model and data to a machine without a network: docs/decisions/015-bundle.md."""
