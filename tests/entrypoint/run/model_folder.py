"""A model folder small enough to write in a test, whole as far as a scan can tell."""

import json
import struct

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def safetensors(tensors, hidden=b""):
    """Bytes of a file with these entries in its header; data as long as they say."""
    end = max((t["data_offsets"][1] for t in tensors.values() if isinstance(t, dict) and "data_offsets" in t), default=0)
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * end + hidden


def tensor(begin, end, dtype="F32", shape=None):
    """One entry of a header."""
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def model_files():
    """Name -> content."""
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b'{"model": {}}',
        "tokenizer_config.json": b'{"eos_token": "</s>"}',
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": safetensors({"w": tensor(0, 16), "v": tensor(16, 24), "__metadata__": {"format": "pt"}}),
        "LICENSE": b"free",
    }


def write(folder, files):
    """Write files below a folder and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
