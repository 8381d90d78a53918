"""CPU time per request: sallyport beside other reverse proxies, same machine, same run, same upstream.

    benches/compare-nginx > table.md              # $SALLYPORT, else target/release/sallyport
    benches/compare-nginx --without-sallyport     # without ours: is the ground firm?
    benches/compare-all --scenario prompt         # json (the default), prompt, sse or tls

* json: a small question and a 1 KiB answer. prompt: a question of 100 KB. sse: an answer streamed in 64 events, one a millisecond. tls: as
  json, with TLS 1.3 to callers (ECDSA P-256, kept-alive connections).

compare-haproxy, compare-envoy and compare-litellm are the same with another peer beside nginx; compare-all has all of them in one
table. Peers are installed from Debian and PyPI, and configured for the same job: pass every call on to one upstream, over
kept-alive connections, without an access log.

How it is taken:
* The upstream is an nginx of its own that answers every POST with the same 1 KiB chat completion; for sse it is the mock model of
  sallyport-load ($SALLYPORT_LOAD, else target/release/sallyport-load).
* Proxies run pinned to one core; the upstream and wrk share another. One proxy is loaded at a time; proxies alternate in
  every round and the order turns from round to round, so that drift of the machine hits all alike.
* CPU time is that of the proxy's processes with all their threads (the evidence committer included), read from the
  kernel's CPU clocks in nanoseconds. It is read again a moment after the load, so that work put off counts too.
* Every proxy gets the same requests, with a token out of a thousand. A refused or broken call ends the comparison.

compare-all also has ours with one feature after the other added (--features in the others), and draws the table (--svg FILE).
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compare_features import features
from compare_peers import PEERS, Proxy, uses_tls
from compare_plot import svg
from compare_helpers import (
    client_core, disk_sync_us, free_port, install, machine, pinned,
    proxy_core, run, say, start, stop, url64, wait_for,
)

ROOT = Path(__file__).resolve().parent.parent
TOKENS = 1000
PRIME_SECONDS, WARMUP_SECONDS = 3, 1
SETTLE_SECONDS = 0.3
NGINX_START_SECONDS_MAX = 20
ISSUER, AUDIENCE, GROUP = "https://bench.invalid", "bench", "ml-apps"

# Synthetic personal data on both sides, so that masking has something to do.
REQUEST = {
    "model": "bench-model",
    "messages": [
        {"role": "system", "content": "You answer questions of the billing department. " + "Be brief and exact. " * 12},
        {"role": "user", "content": "Please check the account of bob@example.com. " + "It was opened in spring. " * 12},
    ],
    "temperature": 0.2,
    "max_tokens": 256,
}
PROMPT_BYTES = 100_000
EVENTS, BETWEEN_EVENTS = 64, "1ms"
SCENARIOS = ("json", "prompt", "sse", "tls")
ANSWER_BYTES = 1024
ANSWER_TEXT = "The number on file is 536-22-8145. "

NGINX = """
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    {http}
}}
"""
NGINX_UPSTREAM = """
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        location / {{ return 200 '{answer}'; }}
    }}
"""
NGINX_PROXY = """
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port}{tls};
        client_max_body_size 0;
        client_body_buffer_size 256k;
        location / {{
            proxy_pass http://model;
            proxy_buffering {buffering};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
"""

SALLYPORT_CONFIG = """
data = "data"
[listen]
address = "127.0.0.1:{port}"
cores = 1
{tls}
[admin]
address = "127.0.0.1:{admin}"
[[issuer]]
url = "{issuer}"
audience = ["{audience}"]
jwks = "file:{jwks}"
[[upstream]]
name = "model"
endpoints = ["http://127.0.0.1:{upstream}"]
[policy]
path = "policies"
[evidence]
durability = "{durability}"
"""
PLAIN_POLICY = """
/// The least that there is: who is in the group may call, and what is kept is that it happened.
policy "bench-plain" version 1
rule all {{
    when identity in group("{group}")
    allow
    record at most metadata
}}
"""
RULES, RULES_THAT_READ_TEXT = 200, 20

WRK = """
local requests, next_request = {{}}, 0
function init()
  local body = [==[{body}]==]
  for token in io.lines("{tokens}") do
    local headers = {{ ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. token }}
    requests[#requests + 1] = wrk.format("POST", "/v1/chat/completions", headers, body)
  end
end
function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end
function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format('{{"requests":%d,"microseconds":%d,"errors":%d,"refused":%d}}',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.timeout, e.status))
end
"""


def compare(peers, with_features=False):
    """Measures nginx, then the named peers, then ours in three configurations, and prints one table."""
    options = arguments(with_features)
    # Taken before we add to it. On a busy machine caches are cold and every figure is too high.
    options.load_before = os.getloadavg()[0]
    install("nginx", "nginx-light")
    install("wrk", "wrk")
    processes = []
    # Not in a directory that may be memory only: strict evidence needs a disk.
    base = Path(options.data)
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compare-", dir=base) as home:
        home = Path(home)
        # nginx drops its rights, and its worker must still reach its directories.
        home.chmod(0o755)
        try:
            load = wrk_script(home, mint_tokens(home), options.scenario)
            if options.scenario == "tls":
                certificate(home)
            upstream = free_port()
            processes.append(model(home, upstream, options))
            proxies = [nginx_proxy(home, upstream, options.scenario)]
            processes.append(proxies[0].process)
            for peer in peers:
                for proxy in PEERS[peer](home, upstream, [text_test(number) for number in range(RULES_THAT_READ_TEXT)]):
                    processes.append(proxy.process)
                    proxies.append(proxy)
            if not options.without_sallyport:
                configurations = features(GROUP, rules) if options.features else VARIANTS
                for configuration in configurations:
                    variant = sallyport(home, upstream, options, *configuration)
                    processes.append(variant.process)
                    proxies.append(variant)
            results = measure(proxies, load, options)
            lines = table(proxies, results, options, disk_sync_us(home))
            print("\n".join(lines))
            if options.svg:
                cpu = {name: {n: medians(rows)[0] for (of, n), rows in results.items() if of == name} for name in (proxy.name for proxy in proxies)}
                Path(options.svg).write_text(svg(cpu, options.connections, lines[-1]))
        finally:
            for process in reversed(processes):
                stop(process)


def arguments(with_features):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "sallyport"
    parser.add_argument("--sallyport", default=os.environ.get("SALLYPORT", str(built)), help="the gateway's program")
    parser.add_argument("--without-sallyport", action="store_true", help="measure the peers only")
    parser.add_argument("--features", action=argparse.BooleanOptionalAction, default=with_features, help="ours with one feature after the other added")
    parser.add_argument("--svg", metavar="FILE", help="draw the table, too")
    parser.add_argument("--scenario", choices=SCENARIOS, default="json", help="what is asked and answered")
    parser.add_argument("--load-tests", default=os.environ.get("SALLYPORT_LOAD", str(built.with_name("sallyport-load"))), help="the mock model's program, for sse")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement")
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--data", default=str(ROOT / "target" / "compare"), help="directory on a real disk")
    options = parser.parse_args()
    if not options.without_sallyport and not shutil.which(options.sallyport):
        parser.error(f"{options.sallyport} is no program; build it with `cargo build --release`, or set SALLYPORT")
    return options


# ---- the proxies


def model(home, port, options):
    """The upstream."""
    if options.scenario == "sse":
        command = [options.load_tests, "mock-model", "--listen", f"127.0.0.1:{port}", "--answer-chars", str(3 * (EVENTS - 2)),
                   "--between-tokens", BETWEEN_EVENTS]
        log = home / "model.log"
        process = start(command, client_core(), log.open("wb"))
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        return process
    config = NGINX_UPSTREAM.format(port=port, answer=answer().replace("'", ""))
    return nginx(home / "upstream", config, client_core(), port)


def certificate(home):
    """A key and a certificate for all proxies, and both in one file for haproxy."""
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(home / "tls.key"), "-out", str(home / "tls.pem")])
    (home / "tls.both").write_text((home / "tls.pem").read_text() + (home / "tls.key").read_text())


def nginx_proxy(home, upstream, scenario):
    port = free_port()
    tls = f" ssl; ssl_certificate {home}/tls.pem; ssl_certificate_key {home}/tls.key; ssl_protocols TLSv1.3" if scenario == "tls" else ""
    # Events have to go out as they come.
    config = NGINX_PROXY.format(port=port, upstream=upstream, tls=tls, buffering="off" if scenario == "sse" else "on")
    return Proxy("nginx, plain proxy", nginx(home / "nginx", config, proxy_core(), port), port, tls=bool(tls))


def sallyport(home, upstream, options, name, policy, durability, by_key=False):
    """The gateway in one configuration, as a process of its own. `by_key`: one caller with an API key, in place of many with tokens."""
    program, tls = options.sallyport, uses_tls(home)
    port, admin = free_port(), free_port()
    place = home / f"sallyport-{port}"
    (place / "policies").mkdir(parents=True)
    (place / "policies" / "bench.policy").write_text(policy.lstrip())
    listen_tls = f'[listen.tls]\ncert = "{home}/tls.pem"\nkey = "{home}/tls.key"\nmin_version = "1.3"' if tls else ""
    text = SALLYPORT_CONFIG.format(
        tls=listen_tls, port=port, admin=admin, upstream=upstream, issuer=ISSUER, audience=AUDIENCE, jwks=home / "jwks.json", durability=durability)
    load = None
    if by_key:
        keys = place / "keys.json"
        issued = run([program, "keys", "issue", "--subject", "bench", "--group", GROUP, "--file", str(keys)])
        load = wrk_script(place, [issued.decode().split()[-1]], options.scenario)
        head, tail = text.index("[[issuer]]"), text.index("[[upstream]]")
        text = f"{text[:head]}[identity]\napi_keys = \"file:{keys}\"\n{text[tail:]}"
    config = place / "sallyport.toml"
    config.write_text(text)
    run([program, "run", "--config", str(config), "--check"])
    log = (place / "log").open("wb")
    process = start([program, "run", "--config", str(config)], proxy_core(), log)
    try:
        wait_for(f"http://127.0.0.1:{admin}/readyz", process, place / "log")
    except BaseException:
        stop(process)
        raise
    return Proxy(name, process, port, tls=tls, load=load)


def rules():
    """200 rules but for two: most look at model and groups, 20 read the prompt. None of them denies the load."""
    texts = []
    for number in range(RULES_THAT_READ_TEXT):
        kind, pattern = text_test(number)
        test = f'contains "{pattern}"' if kind == "contains" else f"matches /(?i){pattern}/"
        texts.append(f'rule text.secret-{number:03} {{ when request.text {test} deny "Not a topic for this model." }}')
    for number in range(RULES - 2 - RULES_THAT_READ_TEXT):
        models = f'model in {{ "blocked-{number:03}", ~"legacy-{number:03}-*" }}'
        team = f'identity in group("team-{number:03}")'
        texts.append(f'rule models.block-{number:03} {{ when {models} and not {team} deny "This model is closed." }}')
    return texts


def text_test(number):
    """What a rule that reads the prompt looks for; peers with a body check get the same."""
    return ("contains", f"project-kestrel-{number:03}") if number % 2 else ("matches", f"kestrel.{{0,20}}key-{number:03}")


VARIANTS = [
    ("sallyport, plain proxy (JWT, metadata, durability observe)", PLAIN_POLICY.format(group=GROUP), "observe"),
    ("sallyport, plain proxy (JWT, metadata, durability strict)", PLAIN_POLICY.format(group=GROUP), "strict"),
    (f"sallyport, everything on (JWT, {RULES} rules, masks both ways, strict)", features(GROUP, rules)[-1][1], "strict"),
]


def nginx(home, http, core, port):
    for name in ("", "body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (home / name).mkdir(parents=True)
    config = home / "nginx.conf"
    config.write_text(NGINX.format(home=home, http=http))
    log = (home / "log").open("wb")
    process = start(["nginx", "-p", str(home), "-c", str(config), "-g", "daemon off;"], core, log)
    deadline = time.monotonic() + NGINX_START_SECONDS_MAX
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.02)
    stop(process)
    sys.exit(f"nginx did not start:\n{(home / 'log').read_text()}{(home / 'error.log').read_text()}")


# ---- the load


def request_body(scenario):
    if scenario == "prompt":
        text = "It was opened in spring, and its holder has asked about the charges since. "
        question = {"role": "user", "content": (text * (PROMPT_BYTES // len(text) + 1))[:PROMPT_BYTES]}
        return {**REQUEST, "messages": [*REQUEST["messages"], question]}
    return {**REQUEST, "stream": True} if scenario == "sse" else REQUEST


def wrk_script(home, callers, scenario):
    """A script that sends the request with each of these tokens in turn; returns its path."""
    tokens = home / "tokens"
    tokens.write_text("\n".join(callers) + "\n")
    script = home / "load.lua"
    script.write_text(WRK.format(body=json.dumps(request_body(scenario)), tokens=tokens))
    return script


def mint_tokens(home):
    """A key set with one Ed25519 key, and a thousand tokens for different subjects."""
    key = home / "key.pem"
    run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)])
    public = run(["openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER"])[-32:]
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "bench", "use": "sig", "alg": "EdDSA", "x": url64(public)}
    (home / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    head = url64(json.dumps({"alg": "EdDSA", "typ": "JWT", "kid": "bench"}).encode())
    now = int(time.time())

    def mint(number):
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"user-{number:04}", "groups": [GROUP, f"team-{number % 7:03}"],
                  "iat": now, "nbf": now - 60, "exp": now + 6 * 3600}
        signed = f"{head}.{url64(json.dumps(claims).encode())}"
        message = home / f"token-{number}"
        message.write_text(signed)
        signature = run(["openssl", "pkeyutl", "-sign", "-inkey", str(key), "-rawin", "-in", str(message)])
        message.unlink()
        return f"{signed}.{url64(signature)}"

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(mint, range(TOKENS)))


def measure(proxies, load, options):
    """{(proxy name, connections): [(CPU µs per request, requests per second), …]}"""
    for proxy in proxies:
        # Every token is checked once, so that rounds measure callers that are known.
        drive(proxy, load, min(max(options.connections), proxy.most), PRIME_SECONDS)
    results = {}
    for number in range(options.rounds):
        turn = number % len(proxies)
        for proxy in proxies[turn:] + proxies[:turn]:
            for connections in (n for n in options.connections if n <= proxy.most):
                drive(proxy, load, connections, WARMUP_SECONDS)
                before = proxy.cpu_ns()
                done = drive(proxy, load, connections, options.seconds)
                time.sleep(SETTLE_SECONDS)
                cpu_us = (proxy.cpu_ns() - before) / 1000 / done["requests"]
                rate = done["requests"] / done["microseconds"] * 1e6
                results.setdefault((proxy.name, connections), []).append((cpu_us, rate))
                say(f"round {number + 1}/{options.rounds}: {proxy.name}, {connections}: {cpu_us:.2f} µs, {rate:.0f}/s")
    return results


def drive(proxy, load, connections, seconds):
    load = proxy.load or load
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(load), f"{proxy.url}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, preexec_fn=pinned(client_core()))
    if done.returncode != 0 or not done.stderr.startswith("{"):
        sys.exit(f"wrk failed: {done.stdout}{done.stderr}")
    counts = json.loads(done.stderr)
    if counts["errors"] or counts["refused"] or not counts["requests"]:
        sys.exit(f"{proxy.name} did not serve every call: {counts}\n{one_call(proxy, load)}")
    return counts


def one_call(proxy, load):
    """One call as wrk sends it, to show what is refused."""
    token = (load.parent / "tokens").read_text().split()[0]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    url = f"{proxy.url}/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(REQUEST).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return f"one call alone: {answer.status}"
    except urllib.error.HTTPError as error:
        return f"one call alone: {error.code} {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"one call alone: {error}"


# ---- the table


def table(proxies, results, options, sync_us):
    columns = options.connections
    counted = ", ".join(str(n) for n in columns)
    lines = [
        f"CPU time per request of the proxy, medians of {options.rounds} alternating rounds of {options.seconds} s, at "
        f"{counted} connections. Scenario {options.scenario}: request {len(json.dumps(request_body(options.scenario)))} B, answer "
        f"{f'{EVENTS} events' if options.scenario == 'sse' else f'{len(answer())} B'}, {TOKENS} tokens.",
        "",
        "| proxy | " + " | ".join(f"{n} conn. | ÷ nginx | req/s" for n in columns) + " |",
        "|---|" + "--:|--:|--:|" * len(columns),
    ]
    for proxy in proxies:
        cells = []
        for connections in columns:
            if (proxy.name, connections) not in results:
                cells.append("− | − | −")
                continue
            cpu, rate = medians(results[proxy.name, connections])
            reference, _ = medians(results[proxies[0].name, connections])
            cells.append(f"{cpu:.2f} µs | {cpu / reference:.2f} | {rate:,.0f}")
        lines.append(f"| {proxy.name} | " + " | ".join(cells) + " |")
    spread = max((max(c for c, _ in r) - min(c for c, _ in r)) / medians(r)[0] for r in results.values())
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
    lines += [
        "",
        f"{time.strftime('%Y-%m-%d')}, Linux {platform.release()} on {machine()}; nginx {version}, one worker, access log off; every proxy "
        f"pinned to one core, wrk and upstream on {'another' if client_core() != proxy_core() else 'the same'}. Largest spread of one "
        f"cell (max − min over its median): {spread * 100:.0f} %. One 512-byte write with fdatasync on this disk takes {sync_us:.0f} µs (median of 50). "
        f"Load average before the run: {options.load_before:.2f}.",
    ]
    return lines


def medians(rows):
    return tuple(statistics.median(column) for column in zip(*rows))


def answer():
    def body(text):
        message = {"role": "assistant", "content": text}
        return json.dumps({"id": "chatcmpl-bench", "object": "chat.completion", "created": 1700000000, "model": "bench-model",
                           "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                           "usage": {"prompt_tokens": 160, "completion_tokens": 180, "total_tokens": 340}})

    missing = ANSWER_BYTES - len(body(ANSWER_TEXT))
    filler = "All charges of the month are listed in the statement below. "
    return body(ANSWER_TEXT + (filler * (missing // len(filler) + 1))[:missing])

