"""The other APIs of the same server: completions and responses (openai), messages (anthropic), and both SDKs on Node.

Every answer says the same synthetic number, one byte per streamed chunk; through the gateway each SDK has to put together
the masked text, the same from pieces, repeats and final objects, with usage and finish reasons as without a gateway.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import anthropic
import openai

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = "tiny-random"
SPOKEN = "SSN 536-22-8145 ok"
MASKED = "SSN [US_SSN] ok"
GRAMMAR = {"grammar": f'root ::= "{SPOKEN}"'}
QUESTION = [{"role": "user", "content": "What is the number on file?"}]


# ---- straight to llama.cpp: the ground is firm


def direct_apis_say_the_number(llama):
    oai, claude = openai_client(llama, "none"), anthropic_client(llama, "none")
    assert completion(oai).choices[0].text == SPOKEN
    assert response(oai).output_text == SPOKEN
    assert message(claude).content[0].text == SPOKEN
    with claude.messages.stream(model=MODEL, max_tokens=100, messages=QUESTION) as stream:
        pieces = list(stream.text_stream)
    assert "".join(pieces) == SPOKEN and all(len(piece) == 1 for piece in pieces), pieces


# ---- through the gateway


def completion_is_masked(gateway):
    answer = completion(openai_client(gateway.url, gateway.token()))
    assert answer.choices[0].text == MASKED, answer
    assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens >= len(SPOKEN)


def completion_stream_is_masked(gateway):
    chunks = list(completion(openai_client(gateway.url, gateway.token()), stream=True, logprobs=2))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == MASKED
    raw = json.dumps([chunk.model_dump() for chunk in chunks])
    # Tokens of what was masked, one digit each, would spell it too.
    spelled = "".join(part for chunk in chunks for part in tokens(chunk.model_dump()))
    assert "8145" not in raw and "536" not in spelled, raw


def response_is_masked(gateway):
    answer = response(openai_client(gateway.url, gateway.token()))
    assert answer.output_text == MASKED, answer
    assert answer.status == "completed" and answer.usage.output_tokens >= len(SPOKEN)


def response_stream_is_masked(gateway):
    events = list(response(openai_client(gateway.url, gateway.token()), stream=True))
    pieces = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert pieces == MASKED, pieces
    done = [event.text for event in events if event.type == "response.output_text.done"]
    assert done == [MASKED], done
    assert events[-1].type == "response.completed"
    assert events[-1].response.output[0].content[0].text == MASKED, events[-1]
    assert events[-1].response.usage.total_tokens > 0
    assert "8145" not in json.dumps([event.model_dump(warnings=False) for event in events])


def message_is_masked(gateway):
    answer = message(anthropic_client(gateway.url, gateway.token()))
    assert answer.content[0].text == MASKED, answer
    assert answer.stop_reason == "end_turn" and answer.usage.output_tokens >= len(SPOKEN)


def message_stream_is_masked(gateway):
    claude = anthropic_client(gateway.url, gateway.token())
    with claude.messages.stream(model=MODEL, max_tokens=100, messages=QUESTION) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == MASKED, pieces
    assert final.content[0].text == MASKED and final.stop_reason == "end_turn"
    assert final.usage.output_tokens >= len(SPOKEN), final


def tokens_are_counted(gateway):
    claude = anthropic_client(gateway.url, gateway.token())
    assert claude.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens > 0


def anthropic_errors_are_its_own(gateway):
    claude = anthropic_client(gateway.url, gateway.token())
    for streaming in (False, True):
        try:
            claude.messages.create(model="large-1", max_tokens=10, messages=QUESTION, stream=streaming)
        except anthropic.PermissionDeniedError as error:
            assert error.status_code == 403
            assert error.body["error"]["type"] == "permission_error", error.body
            assert error.body["error"]["message"] == "Only tiny models are served here.", error.body
        else:
            raise AssertionError("a large model was served")
    try:
        message(anthropic_client(gateway.url, "nonsense"))
    except anthropic.AuthenticationError as error:
        assert error.body["type"] == "error", error.body
    else:
        raise AssertionError("a bad token was taken")


def node_sdks_read_the_same(gateway):
    """openai and @anthropic-ai/sdk on Node: what each put together, as JSON."""
    if not shutil.which("npm"):
        print("note: Node and npm are not installed, so its SDKs were left out")
        return
    modules = ROOT / "target" / "node"
    modules.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "suite.mjs"):
        shutil.copy(HERE / "node" / name, modules / name)
    if not (modules / "node_modules" / "openai").exists():
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=modules, check=True, timeout=300)
    environment = {**os.environ, "BASE_URL": gateway.url, "TOKEN": gateway.token(), "MODEL": MODEL, "GRAMMAR": GRAMMAR["grammar"]}
    done = subprocess.run(["node", "suite.mjs"], cwd=modules, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    read = json.loads(done.stdout)
    for name in ("chat", "chat stream", "completion", "completion stream", "response", "response stream", "message", "message stream"):
        assert read[name] == MASKED, f"{name}: {read}"
    assert read["denied"] == [403, "permission_error"], read


# ---- helpers


def openai_client(url, token):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0, timeout=30)


def anthropic_client(url, token):
    return anthropic.Anthropic(base_url=url, api_key=token, max_retries=0, timeout=30)


def completion(client, **changes):
    return client.completions.create(model=MODEL, prompt="hi", max_tokens=100, extra_body=GRAMMAR, **changes)


def response(client, **changes):
    return client.responses.create(model=MODEL, input="hi", max_output_tokens=100, extra_body=GRAMMAR, **changes)


def message(client):
    return client.messages.create(model=MODEL, max_tokens=100, messages=QUESTION)


def tokens(value):
    """Every `token` below a value."""
    if isinstance(value, dict):
        if isinstance(value.get("token"), str):
            yield value["token"]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from tokens(inner)


DIRECT = [direct_apis_say_the_number]
THROUGH = [
    completion_is_masked,
    completion_stream_is_masked,
    response_is_masked,
    response_stream_is_masked,
    message_is_masked,
    message_stream_is_masked,
    tokens_are_counted,
    anthropic_errors_are_its_own,
    node_sdks_read_the_same,
]
