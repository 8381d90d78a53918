"""Writes one answer of every kind that the official SDKs know, with every member filled: the places that masking has to know.

    target/py/bin/python tests/sdk/answers.py policy-compiler/tests/recorded/sdk

Each line of a file is one JSON text, made from the SDK's own types. Run it when the SDKs are updated.
"""

import collections.abc
import json
import sys
import types
import typing
from pathlib import Path

import anthropic.types
import openai.types
import openai.types.chat
import openai.types.responses
import pydantic
import typing_extensions

DEPTH_MAX = 9

FILES = {
    "chat.jsonl": [openai.types.chat.ChatCompletion],
    "chat.events.jsonl": [openai.types.chat.ChatCompletionChunk],
    "completions.jsonl": [openai.types.Completion],
    "responses.jsonl": [openai.types.responses.Response],
    "responses.events.jsonl": [openai.types.responses.ResponseStreamEvent],
    "messages.jsonl": [anthropic.types.Message],
    "messages.events.jsonl": [anthropic.types.RawMessageStreamEvent],
}


def values(kind, depth=0):
    """Values of a type: one for each way that it can be."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, typing_extensions.TypeAliasType):
        return values(kind.__value__, depth)
    if origin is typing.Annotated:
        return values(arguments[0], depth)
    if origin in (typing.Union, types.UnionType):
        return [value for own in arguments if own is not type(None) for value in values(own, depth)]
    if origin is typing.Literal:
        return [arguments[0]]
    if origin in (list, collections.abc.Iterable, collections.abc.Sequence):
        return [values(arguments[0], depth)]
    if origin is dict:
        return [{"k": values(arguments[1], depth)[0]}]
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return models(kind, depth) if depth < DEPTH_MAX else []
    if kind is str:
        return ["text"]
    if kind is bool:
        return [True]
    if kind in (int, float):
        return [1]
    return [{"k": "text"}]


def models(kind, depth):
    """One with the first way of each member, and one more for each other way of a member."""
    ways = {}
    for name, field in kind.model_fields.items():
        ways[field.alias or name] = values(field.annotation, depth + 1) or [None]
    first = {name: own[0] for name, own in ways.items()}
    # What says which kind it is, with the one member that is another: the rest is in the first.
    fixed = {name: own[0] for name, own in ways.items() if name in ("type", "object")}
    others = [{**fixed, name: value} for name, own in ways.items() for value in own[1:]]
    return [first, *others]


def main(directory):
    for name, kinds in FILES.items():
        lines = [json.dumps(value, separators=(",", ":")) for kind in kinds for value in values(kind)]
        (Path(directory) / name).write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)))
        print(name, len(lines))


if __name__ == "__main__":
    main(sys.argv[1])
