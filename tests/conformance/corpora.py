"""The corpora of others: gunicorn's requests (PyPI) and the cases of http_desync_guardian (a crate)."""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

GUNICORN = "gunicorn==27.0.1"
#: Settings of gunicorn that only raise a limit of its own; others make it accept what the RFC does not.
LIMITS = {"limit_request_line", "limit_request_field_size", "limit_request_fields"}


class Case:
    """Bytes, what must become of them, and which requests they hold."""

    def __init__(self, name, data, verdict, requests=()):
        self.name, self.data, self.verdict, self.requests = name, data, verdict, list(requests)


def gunicorn(target):
    """Every case of gunicorn's own suite: `refuse`, or `accept` with the requests in it."""
    root = source(target)
    sys.path.insert(0, str(root))
    cases = []
    for path in sorted((root / "tests/requests").glob("*valid/*.http")):
        script, data = path.with_suffix(".py").read_text(), unescaped(path.read_bytes())
        name = f"{path.parent.name}/{path.stem}"
        settings = set(re.findall(r"""cfg\.set\(\s*['"](\w+)""", script))
        if path.parent.name == "invalid" and re.search(r"^request = Limit", script, re.MULTILINE):
            # What a limit of gunicorn's makes invalid is not invalid.
            continue
        if settings - LIMITS:
            # So to a gunicorn that was told to be lax, or strict, or to expect a PROXY line.
            cases.append(Case(name, data, "either"))
        elif path.parent.name == "invalid":
            cases.append(Case(name, data, "refuse"))
        else:
            cases.append(Case(name, with_host(data), "accept", expected(script)))
    return cases


def source(target):
    """gunicorn's source distribution, unpacked."""
    kept = target / GUNICORN.replace("==", "-")
    if not kept.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", str(target), GUNICORN], check=True)
        with tarfile.open(target / f"{kept.name}.tar.gz") as archive:
            archive.extractall(target, filter="data")
    return kept


def expected(script):
    """Method, target and body of each request, as gunicorn's own test says."""
    from gunicorn.config import Config

    names = {"uri": lambda raw: {"raw": raw}, "Config": Config}
    exec(script.replace("from gunicorn.config import Config", ""), names)  # noqa: S102: a test's own data
    requests = names["request"]
    requests = requests if isinstance(requests, list) else [requests]
    as_bytes = lambda text: text if isinstance(text, bytes) else text.encode()
    return [(one["method"], one["uri"]["raw"], as_bytes(one["body"])) for one in requests]


def unescaped(data):
    """The bytes that a corpus file stands for."""
    data = data.replace(b"\n", b"").replace(b"\\r\\n", b"\r\n")
    data = data.replace(b"\\0", b"\0").replace(b"\\n", b"\n").replace(b"\\t", b"\t")
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), data)


def with_host(data):
    """HTTP/1.1 needs a Host (RFC 9112 section 3.2), which many requests of the corpora leave out."""

    def insert(found):
        # Of what stands in a body, the length must stay.
        if re.search(rb"HTTP/1\.0\r\nContent-Length: \d+\r\n\r\n$", data[: found.start()]):
            return found[0]
        head = found[0]
        return head if re.search(rb"\r\nhost:", head, re.IGNORECASE) else re.sub(rb"\r\n", b"\r\nHost: localhost\r\n", head, count=1)

    return re.sub(rb"(?<![^\r\n])[A-Z!-]+ [^\r\n]+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n", insert, data)


def desync(manifest):
    """Every case of http_desync_guardian: compliant ones must pass, severe ones must not, between them either is right."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(manifest)],
        capture_output=True, text=True, check=True,
    )
    package = next(one for one in json.loads(metadata.stdout)["packages"] if one["name"] == "http_desync_guardian")
    verdicts = {"Compliant": "accept", "Severe": "refuse", "Acceptable": "either", "Ambiguous": "either"}
    cases = []
    for path in sorted((Path(package["manifest_path"]).parent / "tests").glob("*.yaml")):
        for number, case in enumerate(yaml.safe_load(path.read_text()), 1):
            verdict = verdicts[case["expected"]["tier"]]
            data = with_host(request(case)) if verdict == "accept" else request(case)
            name = f"{path.stem}/{number} {case['name']}"
            cases.append(Case(name, data, verdict, [None] if verdict == "accept" else []))
    return cases


def path(case):
    """The path of a case's first request: what stands in its target before the query, without scheme and authority."""
    target = case.data.lstrip(b"\r\n").split(b" ")[1].decode("utf-8", "replace")
    if "://" in target.split("?")[0]:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    return target.split("?")[0]


def request(case):
    """A case as bytes, with the body that its framing announces."""
    line = " ".join(str(part) for part in (case["method"], case["uri"], case.get("version") or "") if part != "")
    fields = [(str(field["name"]), str(field["value"])) for field in case.get("headers") or []]
    head = line + "\r\n" + "".join(f"{name}:{value}\r\n" for name, value in fields) + "\r\n"
    chunked = any(name.strip().lower() == "transfer-encoding" for name, _ in fields)
    length = next((value.strip() for name, value in fields if name.strip().lower() == "content-length"), "0")
    body = b"3\r\nabc\r\n0\r\n\r\n" if chunked else b"x" * (int(length) if length.isdecimal() and int(length) < 8 << 20 else 0)
    return head.encode("utf-8", "surrogateescape") + body
