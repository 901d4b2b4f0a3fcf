"""The only reader of machine and environment: a module a subject, all answers as facts."""

from entrypoint.probe.container_engine import Engine, engine
from entrypoint.probe.environment import in_container, key_file, node_rank
from entrypoint.probe.machine import disk_write_gib, is_writable, usable_cores
from entrypoint.probe.sources import look, read_model
from entrypoint.probe.survey import find_device, probe

__all__ = [
    "Engine",
    "disk_write_gib",
    "engine",
    "find_device",
    "in_container",
    "is_writable",
    "key_file",
    "look",
    "node_rank",
    "probe",
    "read_model",
    "usable_cores",
]
