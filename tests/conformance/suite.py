"""Others' corpora of good and broken requests, through the gateway.

Held for every case: what is refused does not reach the model server; what reaches it parses in h11; and the model server never sees
more requests than the evidence has.
"""

import sys
from pathlib import Path

from corpora import desync, gunicorn, path
from house import House

HERE = Path(__file__).parent

CODING = "a transfer coding besides chunked is answered 501: nobody could look into such a body"

#: Where we differ from a corpus, and why. An entry that no longer differs is an error too.
EXCEPTIONS = {
    "valid/005": "a fragment is no part of a target (RFC 9112 section 3.2)",
    "valid/025": CODING,
    "valid/025_line": CODING,
    "valid/029": CODING,
    "valid/030": CODING,
    "valid/099": "the body is shorter than its Content-Length: whoever waits for the rest gives up",
    "valid/rfc9112_smuggle_gzip_chunked_01": CODING,
    "valid/rfc9112_smuggle_te_identity_chunked_01": CODING,
    "valid/rfc9112_target_absolute_userinfo_01": "userinfo in a target is treated as an error (RFC 9110 section 4.2.4)",
    "valid/rfc9112_target_asterisk_options_01": "OPTIONS of the server itself is not served",
    "valid/rfc9112_target_authority_connect_01": "CONNECT is not served",
    "valid/rfc9112_target_authority_ipv6_01": "CONNECT is not served",
    "more-compliant-tests/6 Correct TE OK": CODING,
    "more-compliant-tests/8 Transfer-Encoding: identity and chunked OK": CODING,
    "more-compliant-tests/9 Multiple transfer encoding headers in a single request OK": CODING,
    "more-compliant-tests/10 TE with custom parameters OK": CODING,
    "rfc-compliant/9 Different Transfer-Encoding headers": CODING,
    "rfc-compliant/10 Different Transfer-Encoding headers combined": CODING,
    "rfc-compliant/11 Transfer-Encoding with a param: chunked;custom_param": CODING,
    "rfc-compliant/12 Compliant URL": "it has a fragment and characters that must be percent-encoded (RFC 3986 section 2)",
    "rfc-compliant/13 International in URI": "h11 too refuses characters that must be percent-encoded (RFC 3986 section 2)",
    "rfc-compliant/14 Empty URI": "the request line has no target (RFC 9112 section 3)",
    "invalid/rfc9112_leading_crlf_02": "two empty lines before a request are skipped as one is (RFC 9112 section 2.2)",
}


def judge(house, case):
    """Sends one case; says what is wrong with what became of it, or nothing."""
    house.upstream.take()
    statuses = house.ask(case.data)
    seen = [(head.method.decode(), head.target.decode("latin-1"), body) for head, body in house.upstream.take()]
    refused = [status for status in statuses if status >= 400]
    if case.verdict == "refuse":
        # A refused request may follow good ones on the same connection.
        return None if refused or not seen else f"reached the model server as {seen}, answers {statuses}"
    if case.verdict == "either":
        return None if len(seen) <= max(1, len(statuses)) else f"became {seen}, answers {statuses}"
    if refused:
        return f"was refused with {refused}"
    if len(seen) != len(case.requests):
        return f"became {len(seen)} requests instead of {len(case.requests)}, answers {statuses}"
    for wanted, got in zip(case.requests, seen):
        if wanted is not None and not same(wanted, got):
            return f"changed on its way: {wanted} became {got}"
    return None


def same(wanted, got):
    """A target in absolute form becomes origin form (RFC 9112 section 3.2.2); all else stays."""
    target = wanted[1]
    if "://" in target.split("?")[0]:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    return (wanted[0], target, wanted[2]) == got


def main():
    target = HERE.parents[1] / "target/conformance"
    target.mkdir(parents=True, exist_ok=True)
    corpora = {"gunicorn": gunicorn(target), "http_desync_guardian": desync(HERE / "corpus/Cargo.toml")}
    paths = {path(case) for cases in corpora.values() for case in cases if case.verdict == "accept"}
    # The second requests of pipelined cases.
    house, failed, sent = House({one for one in paths | {"/second"} if one.startswith("/")}), 0, 0
    for name, cases in corpora.items():
        wrong = {}
        for case in cases:
            finding = judge(house, case)
            sent += 1
            if finding:
                wrong[case.name] = finding
        for verdict in ("accept", "refuse", "either"):
            of_it = [case for case in cases if case.verdict == verdict]
            good = sum(1 for case in of_it if case.name not in wrong)
            print(f"{name}: {good} of {len(of_it)} {verdict}")
        for case, finding in wrong.items():
            reason = EXCEPTIONS.get(case)
            print(f"  {case}: {finding[:200]}" + (f" (known: {reason})" if reason else ""))
            failed += reason is None
        for case in EXCEPTIONS.keys() & {case.name for case in cases} - wrong.keys():
            print(f"  {case}: agrees now; take it out of the exceptions")
            failed += 1
    total, violations = house.upstream.total, house.upstream.violations
    failed += not house.stop()
    recorded = house.calls_in_evidence()
    print(f"{sent} cases, {total} requests seen by the model server, {recorded} calls in the evidence, {len(violations)} h11 violations")
    for violation in violations:
        print(f"  {violation}")
    if total > recorded or violations or failed:
        sys.exit(1)


main()
