"""What serving needs to know of files: the chat template that will be served, adapters, drafts."""

import json
from pathlib import Path

from entrypoint.probe import look
from entrypoint.run.adapter_folder import newest_adapter, read_adapter
from entrypoint.run.store import Store
from schemas.facts import AdapterFacts, Facts
from schemas.serve import Drafted
from schemas.spec import Spec
from schemas.template_marks import marks_in

TEMPLATE_BYTES = 64 * 2**20
"""tokenizer_config.json of a large vocabulary has some megabytes."""


def with_served(facts: Facts, spec: Spec, store: Store, model: Path | None) -> Facts:
    """Facts with what is at hand; `model` is the base's folder."""
    serve = spec.serve
    adapters: dict[str, AdapterFacts | None] = {}
    if serve.adapters:
        found = newest_adapter(store, spec.name)
        if found:  # this run's own may be trained later
            adapters[spec.name] = _adapter(*found)
    for one in serve.adapters:
        place = newest_adapter(store, one.run) if one.run else (Path(one.path or ""), "")
        adapters[one.name] = _adapter(*place) if place else None
    drafts = {serve.speculative.model: look(serve.speculative.model)} if isinstance(serve.speculative, Drafted) else {}
    update = {"template_marks": _marks(spec, store, model), "adapters": adapters, "sources": {**facts.sources, **drafts}}
    return facts.model_copy(update=update)


def _adapter(folder: Path, base: str) -> AdapterFacts | None:
    config = read_adapter(folder)
    return AdapterFacts(config=config, folder=str(folder), base=base) if config is not None else None


def _marks(spec: Spec, store: Store, model: Path | None) -> tuple[str, ...] | None:
    """Of the newest export, which has the training template in it; before there is one, of the model where its own template is kept."""
    exports = sorted(store.sealed(f"{spec.name}/exports"), key=lambda sealed: sealed.manifest.finished_at, reverse=True)
    template = next((found for sealed in exports if (found := read_template(store.root / sealed.folder)) is not None), None)
    if template is None and model and spec.data.template is None:
        template = read_template(model)
    return marks_in(template) if template is not None else None


def read_template(folder: Path) -> str | None:
    """The chat template of a model's folder: a file of its own, or a key of the tokenizer's config; the default one of several. None without."""
    try:
        own = folder / "chat_template.jinja"
        if own.is_file() and own.stat().st_size <= TEMPLATE_BYTES:
            return own.read_text(encoding="utf-8")
        config = folder / "tokenizer_config.json"
        if not config.is_file() or config.stat().st_size > TEMPLATE_BYTES:
            return None
        said = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    template = said.get("chat_template") if isinstance(said, dict) else None
    if isinstance(template, list):
        template = next((one.get("template") for one in template if isinstance(one, dict) and one.get("name") == "default"), None)
    return template if isinstance(template, str) else None
