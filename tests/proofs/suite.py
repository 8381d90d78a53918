"""A real run, its log checked by code that is not ours: Go's x/mod/sumdb/tlog and sigstore-python. Both must accept the log as
it is and reject it after each single edit.

    suite.py GO-ORACLE        the gateway is the program named by $SALLYPORT
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import jsonschema

HERE = Path(__file__).resolve().parent
SALLYPORT = os.environ["SALLYPORT"]
CALLS = 120  # some 300 records: more than one full tile


def main(go_oracle):
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        data, exported, proofs = directory / "data", directory / "log", directory / "proofs.jsonl"
        ids = real_run(data)
        sallyport("audit", "verify", "--data", data)
        sallyport("audit", "export", "--format", "tlog", "--to", exported, "--data", data)
        validate(sallyport("audit", "export", "--format", "jsonl", "--data", data))
        proofs.write_text("".join(sallyport("audit", "prove", id, "--data", data) for id in ids))
        assert len(proofs.read_text().splitlines()) >= len(ids)
        key = directory / "trusted.vkey"
        key.write_text((exported / "log.vkey").read_text())
        go = [go_oracle, exported, key]
        sigstore = [sys.executable, HERE / "sigstore_check.py", proofs, key]
        expect(go, True, "Go: the log as it is")
        expect(sigstore, True, "sigstore-python: the proofs as they are")
        for path in sorted(path for path in exported.rglob("*") if path.is_file() and path.name != "log.vkey"):
            whole = path.read_bytes()
            changed = bytearray(whole)
            changed[len(whole) // 2] ^= 1
            path.write_bytes(changed)
            expect(go, False, f"Go: one bit of {path.relative_to(exported)}")
            path.write_bytes(whole)
        expect(go, True, "Go: everything put back")
        for field, edit in EDITS.items():
            lines = [json.loads(line) for line in proofs.read_text().splitlines()]
            lines[len(lines) // 2][field] = edit(lines[len(lines) // 2][field])
            edited = directory / "edited.jsonl"
            edited.write_text("".join(json.dumps(line) + "\n" for line in lines))
            expect([*sigstore[:2], edited, key], False, f"sigstore-python: {field} edited")


EDITS = {
    "leaf": lambda leaf: leaf.replace('"v":1', '"v":2'),
    "index": lambda index: index - 1,
    # sigstore-python takes the shape of the tree from it, but does not compare it with the checkpoint's: another shape.
    "tree_size": lambda size: size * 4,
    "root": lambda root: flipped(root),
    "hashes": lambda hashes: [flipped(hashes[0]), *hashes[1:]],
    "checkpoint": lambda note: re.sub(r"\n(\d+)\n", lambda size: f"\n{int(size[1]) + 1}\n", note, count=1),
}


def validate(lines):
    """Every leaf that the run wrote is what the published schema says."""
    schema = json.loads((HERE.parent.parent / "docs/evidence/leaf.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    kinds = set()
    for line in lines.splitlines():
        whole = json.loads(line)
        for record in (whole["record"], whole.get("end")):
            if record:
                validator.validate(record["leaf"])
                kinds.add(record["leaf"]["t"])
    assert {"intent", "outcome", "refusal", "boot", "policy", "config"} <= kinds, kinds
    print(f"ok   every leaf is as the schema says: {', '.join(sorted(kinds))}")


def flipped(digest):
    return ("1" if digest[0] == "0" else "0") + digest[1:]


def expect(command, accepted, what):
    done = subprocess.run(command, capture_output=True, text=True)
    verdict = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-500:]
    good = (done.returncode == 0) == accepted and verdict.startswith("ACCEPTED" if accepted else "REJECTED")
    print(f"{'ok  ' if good else 'FAIL'} {what}: {verdict[:150]}")
    if not good:
        sys.exit(1)


def sallyport(*args):
    done = subprocess.run([SALLYPORT, *args], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"sallyport {' '.join(map(str, args))}: {done.stdout}{done.stderr}")
    return done.stdout


def real_run(data):
    """Allowed, masked, denied and unauthenticated calls through the quickstart; the ids of some of them."""
    arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cores", "1", "--data", data]
    gateway = subprocess.Popen([SALLYPORT, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        url = None
        while url is None:
            line = gateway.stdout.readline()
            assert line, "the gateway ended before it was ready"
            found = re.search(r"gateway +(http://127\.0\.0\.1:\d+)", line)
            url = found and found[1]
        # Whatever else it says is not ours to read, but the pipe must not fill up.
        token = sallyport("token", "--user", "alice", "--group", "ml-apps", "--data", data).strip()
        ids = []
        for number in range(CALLS):
            model = "secret-model" if number % 3 == 0 else "mock-model"
            ids.append(call(url, token if number % 5 else "not-a-token", model))
        return ids[:: CALLS // 20]
    finally:
        gateway.send_signal(signal.SIGINT)
        gateway.wait(timeout=60)


def call(url, token, model):
    body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "My number is 536-22-8145."}]}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return answer.headers["x-sallyport-request-id"]
    except urllib.error.HTTPError as error:
        error.read()
        return error.headers["x-sallyport-request-id"]


if __name__ == "__main__":
    main(*sys.argv[1:])
