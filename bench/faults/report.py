"""Rows to the table of README.md."""

import collections
import json
import sys
from pathlib import Path

from injector import KILLED
from judge import OUTCOMES

PARTS = {
    "faults": "a fault at every call of one save",
    "end": "a fault at every call that makes the final artifact",
    "full": "a disk that fills up",
    "damage": "a file of the newest checkpoint damaged",
    "kills": "killed at random moments, two processes",
    "control": "control",
}


def group(row: dict) -> str:
    """The line of the table that a row belongs to."""
    if row["part"] in ("faults", "end"):
        how = row["how"]
        return f"{row['call']}: {'killed' if 'kill' in how else 'power cut' if 'cut' in how else how}"
    if row["part"] == "damage":
        return "nothing damaged" if not row["file"] else row["how"]
    return row["id"].split("/", 2)[2] if row["part"] == "control" else PARTS[row["part"]]


def table(rows: list[dict]) -> str:
    """Markdown: one line a kind of trial, the outcomes of each column beside each other."""
    rows = [row for row in rows if "outcome" in row]
    columns = sorted({row["column"] for row in rows})
    lines = ["| trial | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for part, title in PARTS.items():
        groups = sorted({group(row) for row in rows if row["part"] == part})
        for name in [title, *(g for g in groups if g != title)] if groups else ():
            cells = [summary([r for r in rows if r["part"] == part and r["column"] == c and name in (title, group(r))]) for c in columns]
            lines.append(f"| {f'**{title}**' if name == title else name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(rows: list[dict]) -> str:
    """Counts of a cell."""
    if not rows:
        return "-"
    counts = collections.Counter(row["outcome"] for row in rows)
    trials = str(len(rows))
    if rows[0]["part"] == "kills":
        trials = f"{trials} runs, {sum(a['code'] == KILLED for row in rows for a in row['attempts'])} kills"
    return f"{trials}: " + ", ".join(f"{counts[o]} {o}" for o in OUTCOMES if counts[o]) + f"; at most {max(r['repeated'] for r in rows)} steps again"


def notes(rows: list[dict]) -> list[str]:
    """What the outcomes do not say: how a run ended that a fault left alive, and trials in which nothing happened."""
    found = []
    rows = [row for row in rows if "outcome" in row]
    for column in sorted({row["column"] for row in rows}):
        own = [row for row in rows if row["column"] == column]
        for title, chosen in (
            ("a full disk", [r for r in own if r.get("how") == "ENOSPC" or r["part"] == "full"]),
            ("EIO", [r for r in own if r.get("how") == "EIO"]),
        ):
            ends = collections.Counter(f"exit {a['code']}{', traceback' if a['traceback'] else ''}" for a in (r["attempts"][0] for r in chosen))
            found.append(f"{column}, {title}: " + ", ".join(f"{n} x {end}" for end, n in sorted(ends.items())))
        idle = [r["id"] for r in own if r.get("hit") == [] or (r["part"] == "kills" and r["attempts"][0]["code"] == 0)]
        found.append(f"{column}: {len(idle)} trials in which the fault was not reached or the kill came too late")
    return found


if __name__ == "__main__":
    read = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["rows"]
    print(table(read), *notes(read), sep="\n")
