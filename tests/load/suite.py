"""The load generator, checked with programs that we did not write. Counts and verdicts only: nothing here depends on how fast the machine is."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
from hdrh.histogram import HdrHistogram

ROOT = Path(__file__).resolve().parent.parent.parent
LOAD = os.environ["SALLYPORT_LOAD"]
CHROMIUM = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)
GOOD, BAD, USAGE, CANNOT_TELL = 0, 1, 2, 3


class Serving:
    """A subcommand that serves until the block ends; `address` is what it printed."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([LOAD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def mock(*arguments):
    return Serving("mock-model", "--listen", "127.0.0.1:0", *arguments)


def load(*arguments, expect=GOOD, wrapper=()):
    done = subprocess.run([*wrapper, LOAD, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == expect, f"{' '.join(arguments)} ended with {done.returncode}, not {expect}:\n{done.stdout}{done.stderr}"
    return done.stdout


def run_reports(home):
    """One run of calls and one of streams, with every kind of output."""
    with mock("--first-token", "5ms", "--between-tokens", "2ms") as server:
        for name, more in (("calls", ["--poisson"]), ("streams", ["--stream"])):
            load("run", "--url", f"{server.address}/v1/chat/completions", "--rate", "100", "--duration", "3s", "--warmup", "0",
                 "--slo", "errors<=0%", "--out", f"{home}/{name}.json", "--html", f"{home}/{name}.html", "--hgrm", f"{home}/{name}", *more)
    load("report", f"{home}/calls.json", f"{home}/streams.json", "--html", f"{home}/both.html", "--hgrm", f"{home}/again")


def histograms_decode_elsewhere(home):
    for name in ("calls", "streams"):
        report = json.loads((home / f"{name}.json").read_text())
        summaries = {"late": report["schedule_late"], "turn": report["client"]["turn"]}
        compared = 0
        for series, encoded in report["histograms"].items():
            decoded, summary = HdrHistogram.decode(encoded), summaries.get(series, report.get(series))
            if summary is None:
                assert decoded.get_total_count() == 0, series
                continue
            assert decoded.get_total_count() == summary["count"], series
            assert abs(decoded.get_max_value() - summary["max"]) <= summary["max"] / 1000, series
            for percentile, field in ((50, "p50"), (90, "p90"), (95, "p95"), (99, "p99"), (99.9, "p999")):
                exact = percentile / 100 * summary["count"]
                rank = max(1, math.ceil(exact - 1e-9))
                same_bucket = max(1000, summary[field] / 1000)
                counted = value_at_rank(decoded, rank)
                assert abs(counted - summary[field]) <= same_bucket, (series, percentile, counted, summary[field])
                if int(exact + 0.5) == rank:
                    # That library rounds ranks where ours takes the next one: where they agree, so must the values.
                    theirs = decoded.get_value_at_percentile(percentile)
                    assert abs(theirs - summary[field]) <= same_bucket, (series, percentile, theirs, summary[field])
                    compared += 1
        assert compared >= 10, compared
        text = (home / name / "latency.hgrm").read_text()
        assert text == (home / "again" / name / "latency.hgrm").read_text()
        counts = [int(line.split()[2]) for line in text.splitlines() if re.match(r"\s+[\d.]+ [\d.]+ ", line)]
        assert counts[-1] == report["ok"] > 200 and counts == sorted(counts), counts


def value_at_rank(histogram, rank):
    seen = 0
    for item in histogram.get_recorded_iterator():
        seen += item.count_added_in_this_iter_step
        if seen >= rank:
            return item.value_iterated_to
    raise AssertionError(f"there are only {seen} values, not {rank}")


def json_keeps_its_schema(home):
    for kind, names in (("run", ("calls", "streams")), ("capacity", ("capacity",))):
        schema = json.loads((ROOT / "load-tests" / "schema" / f"{kind}.v1.json").read_text())
        for name in names:
            jsonschema.validate(json.loads((home / f"{name}.json").read_text()), schema)


def pages_need_nothing_from_outside(home):
    if not CHROMIUM:
        sys.exit("Chromium is missing; install Debian's chromium")
    for name, plots in (("calls", 3), ("streams", 3), ("both", 3), ("capacity", 2)):
        page, netlog = home / f"{name}.html", home / f"{name}.netlog"
        done = subprocess.run(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-dev-shm-usage", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={home}/profile", f"--log-net-log={netlog}",
             "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and done.stdout.count("<svg") >= plots and "<polyline" in done.stdout, (name, done.stdout[:500], done.stderr[-2000:])
        asked = {url for url in re.findall(r'"url":"([^"]+)"', netlog.read_text()) if not url.startswith(("file:", "data:", "chrome"))}
        # What the browser asks for itself is not the page's: with the page's policy nothing of the page could be.
        ours = {url for url in asked if "google" not in url and "gvt1" not in url}
        assert not ours, (name, ours)
        assert not re.search(r'(src|href)="(?!data:)', page.read_text()), f"{name} refers to something"


def a_known_limit_and_a_weak_server(home):
    """A bucket refuses by count, so that a slow machine changes no verdict: its first calls always fit, and the server behind it never holds."""
    quick = ["--slo", "errors<20%", "--window", "1s", "--warmup", "200ms", "--precision", "10", "--threads", "1", "--soak", "0", "--pairs", "1"]
    with mock("--limit", "bucket:100,15") as server, mock("--fail-every", "1", "--fail", "status:503") as weak:
        path = "/v1/chat/completions"
        text = load("capacity", "--url", f"{server.address}{path}", "--direct", f"{weak.address}{path}", "--from", "20", *quick,
                    "--out", f"{home}/capacity.json", "--html", f"{home}/capacity.html", expect=CANNOT_TELL)
        assert text.startswith("INVALID") and "mock_bottleneck" in text, text
    found = json.loads((home / "capacity.json").read_text())["points"][0]["found"]
    assert 0 < found["rate"] < found["missed_at"] and found["bound_by"] == "errors<20%", found
    load("capacity", "--url", "http://127.0.0.1:9/", "--window", "0", expect=USAGE)


def a_starved_client_is_no_answer(home):
    """The client shares one core with four loops of the highest priority that we may take, and gets next to nothing of it."""
    core = str(max(os.sched_getaffinity(0)))
    spin = [sys.executable, "-c", "while True: pass"]
    hungry = [subprocess.Popen(["taskset", "-c", core, *spin]) for _ in range(4)]
    try:
        with mock() as server:
            text = load("capacity", "--url", f"{server.address}/v1/chat/completions", "--from", "500", "--soak", "0", "--window", "1s", "--warmup", "200ms",
                        "--precision", "20", "--threads", "1", "--slo", "p99<3ms", expect=CANNOT_TELL, wrapper=("taskset", "-c", core, "nice", "-n", "19"))
    finally:
        for process in hungry:
            process.kill()
            process.wait()
    assert text.startswith("INVALID"), text
    assert re.search("schedule_late|client_bottleneck|seen_late|not_stationary", text), text


def several_machines_add_up(home):
    with mock() as server, Serving("agent", "--listen", "127.0.0.1:0") as one, Serving("agent", "--listen", "127.0.0.1:0") as two:
        load("run", "--url", f"{server.address}/v1/chat/completions", "--rate", "200", "--duration", "2s", "--warmup", "0", "--agents", f"{one.address},{two.address}",
             "--out", f"{home}/agents.json")
    report = json.loads((home / "agents.json").read_text())
    assert report["due"] == report["ok"] == report["latency"]["count"] == 400, report["due"]


def main():
    with tempfile.TemporaryDirectory(prefix="load-test-") as home:
        home = Path(home)
        for check in (run_reports, histograms_decode_elsewhere, a_known_limit_and_a_weak_server, json_keeps_its_schema,
                      pages_need_nothing_from_outside, a_starved_client_is_no_answer, several_machines_add_up):
            check(home)
            print(f"good: {check.__name__.replace('_', ' ')}", flush=True)


if __name__ == "__main__":
    main()
