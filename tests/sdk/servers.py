"""Starts and stops what the suite talks to: llama.cpp's server and the gateway. Loopback only."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 15


@contextmanager
def llama(directory, alias, grammar=""):
    """llama.cpp's server with the tiny model; yields its URL. `grammar`: what it says if a request has none of its own."""
    model = directory / "tiny.gguf"
    subprocess.run([sys.executable, HERE / "tiny_model.py", model], check=True)
    log_path = directory / "llama.log"
    with log_path.open("wb") as log:
        command = [sys.executable, HERE / "llama_server.py", model, alias, grammar]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            url = server.stdout.readline().decode().strip()
            if not url.startswith("http"):
                raise RuntimeError(f"llama.cpp's server did not start:\n{tail(log_path)}")
            wait_for(f"{url}/health", server, log_path)
            yield url
        finally:
            # It holds nothing worth a graceful end.
            server.kill()
            server.wait()


class Gateway:
    """A running gateway."""

    def __init__(self, program, url, data):
        self.program = program
        self.url = url
        self.data = data

    def token(self, user="alice", group="ml-apps"):
        """Mints a token from the development issuer."""
        return self.command("token", "--user", user, "--group", group).stdout.strip()

    def command(self, *arguments, expect=0):
        """Runs one of the gateway's commands on its data directory."""
        command = [self.program, *arguments, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        shown = " ".join(command)
        assert done.returncode == expect, f"`{shown}` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done


@contextmanager
def gateway(directory, program, upstream, policies):
    """The gateway in quickstart mode in front of `upstream`; drained by SIGINT at the end."""
    listen, admin = free_port(), free_port()
    data = directory / "data"
    log_path = directory / "gateway.log"
    command = [program, "--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"]
    command += ["--upstream", upstream, "--policy", str(policies), "--data", str(data)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(f"http://127.0.0.1:{admin}/readyz", process, log_path)
            yield Gateway(program, f"http://127.0.0.1:{listen}", data)
            process.send_signal(signal.SIGINT)
            code = process.wait(timeout=STOP_SECONDS_MAX)
            if code != 0:
                raise RuntimeError(f"the gateway ended with {code} after SIGINT:\n{tail(log_path)}")
        except BaseException:
            print(f"--- end of the gateway's log\n{tail(log_path)}\n---", file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def wait_for(url, process, log_path):
    """Waits until `url` answers 200 or the process is gone."""
    deadline = time.monotonic() + START_SECONDS_MAX
    last = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"process ended with {process.returncode} before {url} answered:\n{tail(log_path)}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError) as error:
            last = error
        time.sleep(0.05)
    raise RuntimeError(f"{url} was not ready after {START_SECONDS_MAX} s ({last}):\n{tail(log_path)}")


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tail(path, lines=40):
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
