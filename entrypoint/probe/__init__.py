"""The only reader of machine and environment: a module a subject, all answers as facts."""

from entrypoint.probe.container_engine import Engine, engine
from entrypoint.probe.containers import containers, last_lines
from entrypoint.probe.environment import door, image, in_container, key_file, node_rank, project
from entrypoint.probe.machine import disk_write_gib, is_writable, nearest_folder, usable_cores
from entrypoint.probe.sources import look, read_model
from entrypoint.probe.survey import find_device, probe

__all__ = [
    "Engine",
    "containers",
    "disk_write_gib",
    "door",
    "engine",
    "find_device",
    "image",
    "in_container",
    "is_writable",
    "key_file",
    "last_lines",
    "look",
    "nearest_folder",
    "node_rank",
    "probe",
    "project",
    "read_model",
    "usable_cores",
]
