"""A pytest plugin for openai's own suite. It changes no test: it sets the key that the suite's clients present, and, while
OPENAPI_OUT is set, writes down what every test asks for instead of sending it.

The source distribution has no OpenAPI document, and no registry has one of this version. But each request of the SDK names the
type that its answer must have, and the suite calls every method of the SDK: together that is a document.
"""

import json
import os
import sys

from openai import _base_client
from pydantic import TypeAdapter

RECORDED = {}


class NotSent(Exception):
    """The request was written down only."""


def pytest_collection_modifyitems(items):
    conftest = sys.modules["tests.conftest"]
    conftest.api_key = conftest.admin_api_key = os.environ.get("TEST_API_KEY", conftest.api_key)


def pytest_configure():
    if "OPENAPI_OUT" not in os.environ:
        return
    def record(self, cast_to, options):
        cast_to = self._maybe_override_cast_to(cast_to, options)
        path = self._build_request(options).url.path
        RECORDED.setdefault((options.method.lower(), path), cast_to)
        raise NotSent

    def request(self, cast_to, options, **_):
        record(self, cast_to, options)

    async def request_async(self, cast_to, options, **_):
        record(self, cast_to, options)

    _base_client.SyncAPIClient.request, _base_client.AsyncAPIClient.request = request, request_async


def pytest_sessionfinish():
    if RECORDED:
        with open(os.environ["OPENAPI_OUT"], "w") as file:
            json.dump(document(), file)


def document():
    """What was asked for as an OpenAPI document: paths as they were sent, answers by their types."""
    adapters = {}
    for key, cast_to in RECORDED.items():
        try:
            adapters[key] = TypeAdapter(cast_to)
            adapters[key].json_schema()
        except Exception:  # noqa: BLE001: bytes and the like have no schema; any answer will do
            adapters[key] = TypeAdapter(object)
    named = [(f"{method} {path}", "validation", adapter) for (method, path), adapter in adapters.items()]
    schemas, definitions = TypeAdapter.json_schemas(named, ref_template="#/components/schemas/{model}")
    paths = {}
    for (name, _), schema in schemas.items():
        method, path = name.split(" ", 1)
        answer = {"200": {"description": "As the SDK's types say.", "content": {"application/json": {"schema": schema}}}}
        paths.setdefault(path, {})[method] = {"responses": answer}
    return {
        "openapi": "3.1.0",
        "info": {"title": "What the suite of the SDK asks for", "version": "1"},
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }
