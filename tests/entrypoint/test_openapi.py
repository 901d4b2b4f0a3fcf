"""The published document says what nginx lets in, and no more."""

import json
import re
from pathlib import Path

import jsonschema

from entrypoint.openapi import PAGE, SCHEMAS, document
from entrypoint.run.nginx_config import POSTS, SCRIPTS


def test_it_is_current() -> None:
    assert json.loads(PAGE.read_text(encoding="utf-8")) == json.loads(json.dumps(document())), "make generate"


def test_it_lists_the_endpoints_of_the_gateway() -> None:
    listed = {path: set(methods) for path, methods in document()["paths"].items()}
    assert listed == {**{path: {"post"} for path in POSTS}, **{path: {"get"} for path in listed if path not in POSTS}}
    health = set(re.findall(r"location = (/health\S*) ", (SCRIPTS / "nginx.conf").read_text(encoding="utf-8")))
    assert {path for path in listed if path.startswith("/health")} == health
    assert set(listed) - set(POSTS) - health == {"/v1/models", "/v1/models/{model}"}


def test_every_status_that_the_gateway_makes_is_documented() -> None:
    made = set(re.findall(r"return (\d{3})", (SCRIPTS / "nginx.conf").read_text(encoding="utf-8")))
    for path in POSTS:
        assert made - {"500"} <= set(document()["paths"][path]["post"]["responses"])


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    text = Path(PAGE).read_text(encoding="utf-8")
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) == set(SCHEMAS)
