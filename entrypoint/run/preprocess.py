"""A user's function between the files of rows and the data gate: a row in; a row, rows or a rejection out."""

from pathlib import Path
from typing import Any

from entrypoint.run.plugin_code import PluginCode
from entrypoint.run.rejection import Rejected, first_words
from entrypoint.run.row_files import Place, read_files
from entrypoint.run.text_files import Records


class Preprocessor:
    """Reads as `read_files` does, with each row handed to the plug-in."""

    def __init__(self, code: PluginCode):
        self.code, self.function, self.options = code, code.get("preprocessor"), code.options("preprocessor")

    def __call__(self, folder: Path, source: str, place: Place | None = None) -> Records:
        """Every row that comes out; `place` is moved along in steps of such rows, so that a stop between two rows of one loses neither."""
        place = place or Place()
        behind = place.part
        if behind:  # its row is read again
            place.row -= 1
        for record in read_files(folder, source, place):
            found = [record] if isinstance(record, Rejected) else self._rows(*record)
            for number, row in enumerate(found[behind:], behind + 1):
                place.part = number if number < len(found) else 0
                yield row
            behind = 0

    def _rows(self, where: str, value: Any) -> list[tuple[str, Any] | Rejected]:
        if not isinstance(value, dict):  # the gate says that it is no row
            return [(where, value)]
        words = first_words(value)
        given = self.function(value, **self.options)
        if isinstance(given, str):
            return [Rejected(where, f"preprocessor: {given or 'no reason given'}", "", words)]
        if isinstance(given, dict):
            return [(where, given)]
        if isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
            return [(f"{where} ({at})", row) for at, row in enumerate(given, 1)]
        kind = "an empty list" if given == [] else type(given).__name__
        self.code.wrong(
            "preprocessor",
            f"returned {kind} for {where}",
            "return a dict, a list of dicts, or a text: why the row is rejected; no row is dropped without a reason",
        )
