"""What planning is told about artifacts that exist."""

from dataclasses import dataclass

from schemas.manifest import Sealed


@dataclass(frozen=True)
class Inputs:
    """The upstream artifacts of a spec that are sealed; None is not there yet."""

    model: Sealed | None = None
    data: Sealed | None = None
    teacher: Sealed | None = None
    preprocessor: Sealed | None = None
    plugins: Sealed | None = None
    suites: Sealed | None = None
    prepared: Sealed | None = None
    answers: Sealed | None = None
    trained: Sealed | None = None
    merged: Sealed | None = None
    """The merged bf16 model, from which exports with fewer bits are made."""

    exported: Sealed | None = None
    """What is served."""

    def of(self, *roles: str) -> tuple[dict[str, str], dict[str, str]]:
        """Folders and content digests of these roles, for those that are there."""
        found = {role: sealed for role in roles if (sealed := getattr(self, role)) is not None}
        return {r: s.folder for r, s in found.items()}, {r: s.manifest.content for r, s in found.items()}
