"""The store's disk, and who may read and write what is mounted."""

import os
from pathlib import Path

from entrypoint import probe
from entrypoint.doctor.finding import Finding
from schemas.facts import Facts

DISK_GIB = {"cpu": 15, "cuda": 60}
"""Images, one small model and its checkpoints; sizes are in docs/images.md."""

INODES = 100_000
"""A training writes some hundreds of files, an unpacked image tens of thousands."""

USER = 10001
"""Who the containers run as."""


def disk_finding(facts: Facts) -> Finding:
    """Free space against what images and a small model take."""
    need = DISK_GIB["cuda" if facts.device == "cuda" else "cpu"]
    if facts.disk_free_gib >= need:
        return Finding("D401", "disk", "ok", f"{facts.disk_free_gib:.0f} GiB free")
    fix = "make room on the store's file system; `docker builder prune` frees build caches"
    return Finding("D401", "disk", "warn", f"{facts.disk_free_gib:.1f} GiB free, {need} GiB advised", fix)


def inode_finding(store: Path) -> Finding:
    """Files that can still be made; some file systems (btrfs, zfs) have no limit and say 0 of 0."""
    room = os.statvfs(probe.nearest_folder(store))
    if not room.f_files or room.f_favail >= INODES:
        return Finding("D402", "inodes", "ok", f"{room.f_favail} free" if room.f_files else "no limit")
    return Finding("D402", "inodes", "warn", f"{room.f_favail} free, {INODES} advised", "remove small files: build caches, old logs, old checkpoints")


def spec_finding(facts: Facts, needs: dict[str, int]) -> Finding:
    """Room for what a spec will write: bytes by stage, checkpoints included, of what is not there yet."""
    if needs.get("train") == 0:
        return Finding("D403", "disk for spec", "ok", "checkpoints cannot be counted before the model is fetched")
    total = sum(needs.values()) / 2**30
    parts = ", ".join(f"{stage} {size / 2**30:.1f}" for stage, size in needs.items() if size)
    found = f"{total:.1f} GiB to come{f' ({parts})' if parts else ''}, {facts.disk_free_gib:.1f} free"
    if total <= facts.disk_free_gib:
        return Finding("D403", "disk for spec", "ok", found)
    return Finding("D403", "disk for spec", "fail", found, "make room on the store's file system, or keep fewer checkpoints: train.checkpoint.keep")


def store_finding(store: Path) -> Finding:
    """Whether this process may write there."""
    if probe.is_writable(store):
        return Finding("D404", "store", "ok", str(store))
    return Finding("D404", "store", "fail", f"{store} is not writable", f"give it to uid {USER}: chown -R {USER}:{USER}, or name another with --store")


def owner_findings(store: Path, me: int) -> list[Finding]:
    """Whose the mounted folders are, where this runs as the containers' user: an artifact of another user cannot be replaced."""
    findings = []
    if store.is_dir() and me == USER:
        strangers = sorted(path.name for path in store.iterdir() if path.lstat().st_uid != USER)
        if strangers:
            found = f"{store / strangers[0]} belongs to uid {(store / strangers[0]).lstat().st_uid}" + (
                f", and {len(strangers) - 1} more" * (len(strangers) > 1)
            )
            findings.append(Finding("D405", "owner", "warn", found, f"chown -R {USER}:{USER} the store from the host"))
        else:
            findings.append(Finding("D405", "owner", "ok", f"{store}: uid {USER}"))
    for folder in (Path("/models"), Path("/data")):
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
            findings.append(Finding("D406", "mounts", "fail", f"{folder} cannot be read by uid {me}", "chmod -R a+rX the folder on the host"))
    return findings
