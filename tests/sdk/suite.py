"""The official OpenAI and Anthropic SDKs, unchanged, through the gateway to a real inference server.

The server is llama.cpp's with a tiny random model. A `grammar` in the request makes it say an exact text, one byte per
streamed chunk: as badly fragmented as a text can be. The first half runs straight against it and shows that the number
really comes out that way; the second half runs through the gateway and expects the mask.
"""

import argparse
import asyncio
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai

import apis
import servers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = "tiny-random"
SSN = "536-22-8145"  # synthetic
CARD = "4111 1111 1111 1111"  # synthetic
SPOKEN = f"SSN {SSN} ok"
MASKED = "SSN [US_SSN] ok"
QUESTION = [{"role": "user", "content": "What is the number on file?"}]
GRAMMAR = {"grammar": f'root ::= "{SPOKEN}"'}


# ---- the SDK straight to llama.cpp


def direct_answer(llama):
    answer = ask(client(llama, "none"))
    assert answer.choices[0].message.content == SPOKEN, answer


def direct_stream_is_one_byte_per_chunk(llama):
    pieces = [piece for piece in stream(client(llama, "none")) if piece]
    assert "".join(pieces) == SPOKEN, pieces
    assert all(len(piece) == 1 for piece in pieces), pieces


def direct_models(llama):
    assert [model.id for model in client(llama, "none").models.list()] == [MODEL]


def direct_examples_run(llama):
    run_examples(llama, "none")


# ---- through the gateway


def answer_is_masked(gateway):
    answer = ask(client(gateway))
    assert answer.choices[0].message.content == MASKED, answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL


def stream_is_masked(gateway):
    pieces = stream(client(gateway))
    assert "".join(pieces) == MASKED, pieces
    assert not re.search(r"\d", "".join(pieces)), pieces


def stream_ends_as_the_api_says(gateway):
    chunks = list(create(client(gateway), stream=True))
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert reasons == ["stop"], reasons
    assert all(chunk.choices for chunk in chunks), "a usage chunk that nobody asked for"
    assert len({chunk.id for chunk in chunks}) == 1


def stream_with_usage(gateway):
    chunks = list(create(client(gateway), stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens >= len(SPOKEN), chunks[-1]
    assert text_of(chunks) == MASKED


def nothing_on_the_wire_spells_the_number(gateway):
    """What the SDK ignores must not leak either: every string in every event, joined."""
    body = {"model": MODEL, "messages": QUESTION, "stream": True, **GRAMMAR}
    headers = {"authorization": f"Bearer {gateway.token()}", "content-type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["x-sallyport-request-id"], "answers carry the request id"
        raw = answer.read().decode()
    events = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]", raw
    spelled = "".join(text for event in events[:-1] for text in strings(json.loads(event)))
    assert SSN not in spelled and SSN.replace("-", "") not in spelled and "8145" not in spelled, raw


def async_stream_is_masked(gateway):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.token(), max_retries=0) as caller:
            chunks = await create(caller, stream=True)
            return text_of([chunk async for chunk in chunks])

    assert asyncio.run(run()) == MASKED


def many_streams_at_once(gateway):
    caller = client(gateway)
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: "".join(stream(caller)), range(24)))
    assert set(texts) == {MASKED}, texts


def other_text_is_left_alone(gateway):
    text = "grüße, order 12345 is on its way"
    answer = ask(client(gateway), extra_body={"grammar": f'root ::= "{text}"'})
    assert answer.choices[0].message.content == text, answer
    pieces = stream(client(gateway), extra_body={"grammar": f'root ::= "{text}"'})
    assert "".join(pieces) == text, pieces


def models_are_listed(gateway):
    assert [model.id for model in client(gateway).models.list()] == [MODEL]


def denied_model(gateway):
    for streaming in (False, True):
        error = expect(openai.PermissionDeniedError, lambda: create(client(gateway), model="large-1", stream=streaming))
        assert error.status_code == 403
        assert "Only tiny models are served here." in str(error), error
        assert error.body["message"] == "Only tiny models are served here.", error.body


def stranger_is_denied(gateway):
    caller = client(gateway, gateway.token(user="mallory", group="visitors"))
    expect(openai.PermissionDeniedError, lambda: ask(caller))


def bad_tokens(gateway):
    token = gateway.token()
    head, payload, signature = token.split(".")
    forged = ".".join([head, payload, signature[:-8] + "AAAAAAAA"])
    for bad in ("nonsense", forged, f"{head}.{payload}."):
        expect(openai.AuthenticationError, lambda: ask(client(gateway, bad)))


def unknown_route(gateway):
    expect(openai.APIStatusError, lambda: client(gateway).post("/made-up", body={}, cast_to=object))


def examples_run(gateway):
    run_examples(gateway.url, gateway.token())


def card_in_the_prompt(gateway):
    """For `evidence_is_sound`: a card number goes in, although no rule masks requests."""
    messages = [{"role": "user", "content": f"Charge {CARD} please"}]
    ask(client(gateway), messages=messages)


# ---- afterwards, on the data directory of the stopped gateway


def evidence_is_found(gateway):
    found = gateway.command("audit", "search").stdout
    assert found.strip(), "the search found nothing"
    assert MODEL in found, found
    assert SSN not in found and CARD not in found


def evidence_is_sound(gateway):
    gateway.command("audit", "verify")


def no_raw_number_on_disk(gateway):
    needles = [SSN.encode(), CARD.encode(), CARD.replace(" ", "").encode()]
    for path in gateway.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), f"{path} holds a raw number"


# ---- helpers


def client(server, token=None):
    """The SDK with nothing but a base URL and a key, as its users configure it."""
    url = server if isinstance(server, str) else server.url
    key = token or server.token()
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


def create(caller, **changes):
    request = {"model": MODEL, "messages": QUESTION, "extra_body": GRAMMAR, "max_tokens": 200}
    return caller.chat.completions.create(**{**request, **changes})


def ask(caller, **changes):
    return create(caller, **changes)


def stream(caller, **changes):
    """The pieces of content, as the SDK hands them out."""
    chunks = create(caller, stream=True, **changes)
    return [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]


def run_examples(url, key):
    """Starts every client of examples/client as a user would."""
    environment = {**os.environ, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key, "MODEL": MODEL}
    runners = {".py": [sys.executable], ".sh": ["bash"]}
    examples = sorted((ROOT / "examples" / "client").glob("*"))
    assert examples
    for example in examples:
        if example.suffix == ".sh" and not shutil.which("curl"):
            print(f"note: {example.name} was left out, curl is not installed")
            continue
        command = [*runners[example.suffix], str(example)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", timeout=60)
        assert done.returncode == 0 and done.stdout.strip(), f"{example.name}: {done.stdout}{done.stderr}"


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def strings(value):
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(inner)


def expect(kind, call):
    try:
        result = call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


# ---- the runner

DIRECT = [
    direct_answer,
    direct_stream_is_one_byte_per_chunk,
    direct_models,
    direct_examples_run,
    *apis.DIRECT,
]
AFTERWARDS = [evidence_is_found, evidence_is_sound, no_raw_number_on_disk]


def through_gateway():
    """Every case above whose parameter is the gateway, in the order they are written."""
    functions = [f for f in globals().values() if inspect.isfunction(f) and f.__module__ == __name__]
    cases = [f for f in functions if list(inspect.signature(f).parameters) == ["gateway"]]
    return [case for case in cases if case not in AFTERWARDS] + apis.THROUGH


class Score:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def run(self, cases, server):
        for case in cases:
            begun = time.monotonic()
            try:
                case(server)
            except Exception:
                self.failed += 1
                print(f"FAIL {case.__name__}\n{traceback.format_exc()}", flush=True)
            else:
                self.passed += 1
                print(f"ok   {case.__name__} ({time.monotonic() - begun:.2f} s)", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--direct", action="store_true", help="only the SDK straight to llama.cpp")
    options = arguments.parse_args()
    program = os.environ.get("SALLYPORT", str(ROOT / "target/debug/sallyport"))
    score = Score()
    with tempfile.TemporaryDirectory(prefix="sdk-test-") as directory:
        directory = Path(directory)
        policies = directory / "policies"
        policies.mkdir()
        shutil.copy(HERE / "sdk.policy", policies)
        with servers.llama(directory, MODEL, GRAMMAR["grammar"]) as llama:
            score.run(DIRECT, llama)
            if not options.direct:
                with servers.gateway(directory, program, llama, policies) as gateway:
                    score.run(through_gateway(), gateway)
                score.run(AFTERWARDS, gateway)
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


if __name__ == "__main__":
    sys.exit(main())
