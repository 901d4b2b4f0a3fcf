"""Docker, Compose and the NVIDIA container toolkit, as a host has them."""

from entrypoint import probe
from entrypoint.doctor.finding import Finding
from schemas.facts import Facts

ENGINE_AT_LEAST = (26, 0)
COMPOSE_AT_LEAST = (2, 26)


def engine_findings(facts: Facts) -> list[Finding]:
    """One of the engine where it does not answer; else engine, Compose and, for a GPU, the toolkit."""
    said = probe.engine()
    if said.error:
        return [Finding("D101", "engine", "fail", said.error, "start Docker, or install it: `make engine` does both on Debian 12 and 13")]
    findings = [_version("D101", "engine", said.version, ENGINE_AT_LEAST), _version("D102", "compose", said.compose, COMPOSE_AT_LEAST)]
    if facts.device == "cuda" and "nvidia" not in said.runtimes:
        fix = "install the NVIDIA container toolkit and run `nvidia-ctk runtime configure`, then restart Docker"
        findings.append(Finding("D103", "container GPU", "fail", f"runtimes: {', '.join(said.runtimes)}", fix))
    return findings


def _version(code: str, check: str, said: str, least: tuple[int, int]) -> Finding:
    wanted = ".".join(map(str, least))
    numbers = tuple(int(part) for part in said.lstrip("v").split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= least:
        return Finding(code, check, "ok", said)
    return Finding(code, check, "fail", f"{said}, {wanted} needed", f"upgrade to {wanted} or later")
