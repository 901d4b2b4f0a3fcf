"""Where the trained weights lie inside the artifact of train: written there, read by export."""

WEIGHTS = "weights"
"""Folder of the trained adapter or model, with tokenizer and template."""
