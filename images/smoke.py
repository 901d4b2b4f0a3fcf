"""Last step of an image's build, and a check by hand: what it promises to import can be imported, with the right build of torch.

python smoke.py ACCELERATOR MODULE...
"""

import importlib
import importlib.metadata as metadata
import sys


def check_torch(accelerator: str) -> None:
    """It is built for this accelerator."""
    import torch

    cuda = torch.version.cuda
    if (accelerator == "cuda") != (cuda is not None):
        raise SystemExit(f"smoke: an image for {accelerator} holds a torch built for CUDA {cuda}")
    print(f"smoke: Python {sys.version.split()[0]}, torch {torch.__version__} (CUDA {cuda})")


def main(accelerator: str, modules: list[str]) -> None:
    """Import the modules and name their versions; ACCELERATOR is cpu, cuda, or none for an image without torch."""
    if accelerator != "none":
        check_torch(accelerator)
    names = metadata.packages_distributions()
    for module in modules:
        importlib.import_module(module)
        distribution = names[module.partition(".")[0]][0]
        print(f"smoke: {module} ({distribution} {metadata.version(distribution)})")


main(sys.argv[1], sys.argv[2:])
