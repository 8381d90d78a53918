"""What the comparison scripts share: processes, cores, CPU clocks, and a look at the machine."""

import base64
import ctypes
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 20


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def cpu_clock_ns(pid):
    """The kernel's CPU clock of a process: utime + stime of /proc/PID/stat, without its 10 ms ticks."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def family(pid):
    """A process and its descendants: nginx works in a child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in family(int(child)))]


def cores():
    return sorted(os.sched_getaffinity(0))


def proxy_core():
    return cores()[0]


def client_core():
    return cores()[-1]


def pinned(core):
    # PR_SET_PDEATHSIG = 1: nothing that we started outlives us.
    libc = ctypes.CDLL(None)

    def prepare():
        os.sched_setaffinity(0, {core})
        libc.prctl(1, signal.SIGTERM)

    return prepare


def start(command, core, log):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=pinned(core))


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(command):
    done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{(done.stdout + done.stderr).decode(errors='replace')}")
    return done.stdout


def wait_for(url, process, log):
    deadline = time.monotonic() + START_SECONDS_MAX
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as got:
                if got.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"{url} did not get ready:\n{log.read_text(errors='replace')[-4000:]}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def install(program, package):
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"{program} is missing; install Debian's {package}")
    say(f"installing {package}")
    run(["apt-get", "update", "-q"])
    run(["apt-get", "install", "-q", "-y", "--no-install-recommends", package])


def environment(name, package):
    """A virtual environment of its own below target/, with one package; gives its interpreter."""
    place = ROOT / "target" / f"py-{name}"
    python = place / "bin" / "python"
    if not (place / ".installed").exists():
        say(f"installing {package} from PyPI")
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", package], check=True)
        (place / ".installed").write_text(package)
    return python


def say(text):
    print(text, file=sys.stderr, flush=True)


def machine():
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} × {names[0] if names else platform.machine()}"


def disk_sync_us(home):
    """What strict evidence waits for: the reference beside which its throughput is read."""
    times = []
    with (home / "sync").open("wb") as file:
        for _ in range(50):
            begun = time.perf_counter()
            os.write(file.fileno(), b"x" * 512)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(times)
