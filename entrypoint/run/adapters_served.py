"""Adapters beside each other on one engine: loaded when it starts, followed while it serves, each through the parity gate first."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from entrypoint.run.adapter_folder import newest_adapter
from entrypoint.run.engine_client import EngineClient, EngineError
from entrypoint.run.events import Events, say
from entrypoint.run.serve_parity import ANSWERS
from entrypoint.run.store import Store
from schemas.errors import CaissonError, MachineError, StepFailed
from schemas.serve_job import AdapterPlace

LOOK_SECONDS = 10.0
CANDIDATE = "{name}.candidate"
"""Under which a new adapter is loaded until it has passed: requests for its name meet the old one meanwhile."""

Gate = Callable[[EngineClient, Path], None]


@dataclass(frozen=True)
class Known:
    """What is known of adapters, for as long as serve runs: an engine that comes back loads what was good."""

    good: dict[str, Path] = field(default_factory=dict)
    refused: set[Path] = field(default_factory=set)


class AdaptersServed:
    """`gate` asks a model the golden prompts of a folder, and raises what it refuses. `fallback` holds golden answers of the run's own adapter,
    for one that training left and no export has answers of. `at_start`: the engine has been started with them, and takes none later."""

    def __init__(
        self,
        client: EngineClient,
        store: Store,
        places: tuple[AdapterPlace, ...],
        gate: Gate,
        events: Events,
        fallback: tuple[str, Path],
        known: Known,
        *,
        at_start: bool = False,
    ):
        self.at_start = at_start
        self.client, self.store, self.places, self.events = client, store, places, events
        self._gate, self._fallback, self._known = gate, fallback, known
        self._loaded: dict[str, Path] = {}
        self._stopped = threading.Event()

    def load(self) -> None:
        """All of them. Raises MachineError for one that is not there, StepFailed for one that the engine does not take, and what the gate does."""
        for place in self.places:
            folder = self.folder(place)
            try:
                if not self.at_start:
                    self.client.load_adapter(place.name, str(folder), again=False)
            except EngineError as error:
                raise StepFailed(f"serve.adapters: the engine does not load {place.name}: {error}", f"look at {folder}") from None
            self._pass(place.name, place.name, folder)
            self._loaded[place.name] = self._known.good[place.name] = folder

    def folder(self, place: AdapterPlace) -> Path:
        """The newest, or where that was refused the last that was good. Raises MachineError for one that is not there."""
        folder = self._newest(place)
        if folder in self._known.refused:
            folder = self._known.good.get(place.name)
        if folder is None:
            raise MachineError(f"serve.adapters: {place.name} is not there", "train it first, or take the entry out")
        return folder

    def follow(self) -> None:
        """Look for newer ones from now on, where the engine can take one while it serves."""
        if self.at_start:
            return
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            for place in self.places:
                folder = self._newest(place)
                if folder and folder != self._loaded.get(place.name) and folder not in self._known.refused:
                    self._exchange(place.name, folder)

    def _exchange(self, name: str, folder: Path) -> None:
        """The new one under another name first; under its own once it has passed."""
        candidate = CANDIDATE.format(name=name)
        try:
            self.client.load_adapter(candidate, str(folder), again=False)
            try:
                self._pass(candidate, name, folder)
            finally:
                self.client.unload_adapter(candidate)
            self.client.load_adapter(name, str(folder), again=True)
        except (CaissonError, EngineError) as error:
            if self._stopped.is_set():
                return
            self._known.refused.add(folder)
            self.events.write("adapter_refused", stage="serve", model=name, folder=str(folder), what=str(error))
            say(f"serve: the new adapter {name} is not served, the old one is: {error}")
            return
        self._loaded[name] = self._known.good[name] = folder
        self.events.write("adapter_loaded", stage="serve", model=name, folder=str(folder))
        say(f"serve: {name}: {folder} is served from now on")

    def _pass(self, model: str, name: str, folder: Path) -> None:
        own, exported = self._fallback
        golden = next((f for f in (folder, *([exported] if name == own else [])) if any((f / answers).is_file() for answers in ANSWERS)), None)
        if golden is None:
            say(f"serve: {name}: {folder} has no golden answers: it is served without a comparison; `export: [{{kind: adapter}}]` makes one that has them")
            return
        self._gate(self.client.named(model), golden)

    def _newest(self, place: AdapterPlace) -> Path | None:
        if place.run is None:
            return Path(place.path) if place.path else None
        found = newest_adapter(self.store, place.run)
        return found[0] if found else None
