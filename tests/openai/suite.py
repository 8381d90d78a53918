"""openai's own test suite for its Python SDK, straight to a mock server and then through the gateway: what passes directly passes through.

The suite is the source distribution's, unchanged. The mock is the one that it is made for (npm @stdy/cli), with an OpenAPI document of
what the SDK asks for: see plugin.py. Tests that never reach a server (those that mock the network themselves, and those that look
at arguments only) would show nothing about a gateway, so only tests/api_resources is run, without its tests of empty arguments.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target/openai-suite"
OPENAI = next(line.split("[")[0] + "==" + line.split("==")[1] for line in (HERE / "requirements.txt").read_text().splitlines() if line.startswith("openai"))
STDY = "@stdy/cli@0.22.2"
#: As scripts/mock of the distribution starts it.
FORMATS = [f"--validator-{what}-format=brackets" for what in ("query-array", "form-array", "query-object", "form-object")]
POLICY = 'policy "sdk" version 1\nrule everything { allow }\n'
READY_SECONDS_MAX = 60

#: Tests that pass directly and are refused by the gateway, and why. An entry that passes now is an error too.
EXCEPTIONS = {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every variant of a client; without it the strict ones")
    parser.add_argument("-k", default="", help="only tests whose name has this")
    options = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    source, steady = suite(), mock_server()
    selected = "not path_params" + ("" if options.all else " and strict") + (f" and ({options.k})" if options.k else "")
    document = openapi(source)
    with Server([steady, "--host", "127.0.0.1", "-q", *FORMATS], document) as mock:
        direct = run(source, f"http://127.0.0.1:{mock.port}/v1", selected)
        with tempfile.TemporaryDirectory(prefix="openai-suite-") as home:
            gateway = Gateway(Path(home), mock.port, json.loads(document.read_text())["paths"])
            through = run(source, f"http://{gateway.address}/v1", selected, gateway.key)
            recorded = gateway.stop()
    passed = {test for test, good in direct.items() if good}
    lost = sorted(test for test in passed if not through.get(test))
    failed = 0
    for test in lost:
        reason = EXCEPTIONS.get(test)
        print(f"  lost: {test}" + (f" (known: {reason})" if reason else ""))
        failed += reason is None
    for test in EXCEPTIONS.keys() & passed - set(lost):
        print(f"  {test}: passes now; take it out of the exceptions")
        failed += 1
    print(f"{OPENAI}: {len(direct)} tests, {len(passed)} pass directly, {len(passed) - len(lost)} of them through the gateway; {recorded} calls in the evidence")
    if failed or not passed or recorded < len(passed):
        sys.exit(1)


def suite():
    """The unpacked source distribution."""
    place = TARGET / OPENAI.replace("==", "-")
    if not place.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "openai", "--dest", str(TARGET), OPENAI]
        subprocess.run(pip, check=True)
        with tarfile.open(f"{place}.tar.gz") as archive:
            archive.extractall(TARGET, filter="data")
    return place


def mock_server():
    """The program of the mock server."""
    place = TARGET / "node"
    program = place / "node_modules/.bin/steady"
    if not program.exists():
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), STDY], check=True)
    return str(program)


def openapi(source):
    """What the SDK asks for, written down once for each version of it and of the plugin."""
    version = hashlib.sha256((HERE / "plugin.py").read_bytes() + OPENAI.encode()).hexdigest()[:16]
    document = TARGET / f"openapi-{version}.json"
    if not document.exists():
        # Synchronous clients ask for all that there is; nothing is sent, so every test fails.
        pytest(source, ["-n", "0", "-k", "strict and not Async and not path_params"], {"OPENAPI_OUT": str(document)})
    return document


def run(source, url, selected, key="any"):
    """Runs the suite against a server; whether each test passed."""
    report = TARGET / "report.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    pytest(source, ["-n", "2", "-k", selected, f"--junit-xml={report}"], {"TEST_API_BASE_URL": url, "TEST_API_KEY": key})
    print(f"  {url}: {time.monotonic() - started:.0f} s", flush=True)
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}": len(case) == 0 for case in cases}


def pytest(source, arguments, environment):
    command = [sys.executable, "-m", "pytest", "-p", "plugin", "-q", "--no-header", "--tb=short", "-o", "addopts=", "-W", "ignore"]
    environment = {**os.environ, **environment, "PYTHONPATH": str(HERE)}
    done = subprocess.run([*command, *arguments, "tests/api_resources"], cwd=source, env=environment, capture_output=True, text=True)
    log = TARGET / "pytest.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode not in (0, 1):
        sys.exit(f"pytest ended with {done.returncode}; see {log}:\n" + done.stdout[-2000:] + done.stderr[-2000:])


class Server:
    """The mock server on a port of its own."""

    def __init__(self, command, document):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = (TARGET / "mock.log").open("w")
        self.process = subprocess.Popen([*command, "-p", str(self.port), str(document)], stdout=self.log, stderr=self.log)
        wait_for(self.process, f"http://127.0.0.1:{self.port}/_x-steady/health", TARGET / "mock.log")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


class Gateway:
    """The gateway in front of it. Every path of the document may pass; those of known APIs are looked into all the same."""

    def __init__(self, home, port, paths):
        self.data = home / "data"
        self.binary = os.environ["SALLYPORT"]
        (home / "all.policy").write_text(POLICY)
        (home / "sallyport.toml").write_text(
            f"""data = "{self.data}"
[listen]
address = "127.0.0.1:0"
cores = 1
[admin]
address = "127.0.0.1:0"
[identity]
api_keys = "file:data/api-keys.json"
[[upstream]]
name = "mock"
endpoints = ["http://127.0.0.1:{port}"]
opaque = {json.dumps(sorted(paths))}
[policy]
path = "all.policy"
[evidence]
origin = "openai-suite.example/log"
durability = "observe"
"""
        )
        issue = [self.binary, "keys", "issue", "--subject", "sdk", "--data", str(self.data)]
        self.key = subprocess.run(issue, capture_output=True, text=True, check=True).stdout.strip()
        log = TARGET / "gateway.log"
        self.process = subprocess.Popen([self.binary, "run", "--config", str(home / "sallyport.toml")], stderr=log.open("w"))
        deadline = time.monotonic() + READY_SECONDS_MAX
        while "gateway=" not in (text := log.read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the gateway did not start:\n{text}")
            time.sleep(0.05)
        self.address = text.split("gateway=")[1].split()[0]

    def stop(self):
        """Drains; how many calls the evidence has."""
        self.process.terminate()
        if self.process.wait(60) != 0:
            sys.exit("the gateway did not end well: see target/openai-suite/gateway.log")
        search = [self.binary, "audit", "search", "--json", "--limit", "1000000", "kind:call", "--data", str(self.data)]
        return len(subprocess.run(search, capture_output=True, text=True, check=True).stdout.splitlines())


def wait_for(process, url, log):
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{url} was not ready:\n{log.read_text()}")
            time.sleep(0.1)


if __name__ == "__main__":
    main()
