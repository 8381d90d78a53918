"""Compares the detectors of secrets with the true and false positives that gitleaks tests its rules with, read from its sources.

usage: gitleaks.py JUDGE DIRECTORY PAGE [--write | --all]

DIRECTORY is a checkout of gitleaks/gitleaks. A true positive must be found by the detectors of its rule; a false positive must not. Rules of
services that have no detector are counted apart: there the generic ones are asked. `--all` prints what these miss, too.
"""

import collections
import pathlib
import re
import sys

from gosource import NotRead, Reader, Sample
from judge import spans
from page import part

TRUE_LEAST, FALSE_MOST = 0.99, 0.01

# The beginning of rules' names, and the detectors that are for them.
RULES = [
    ("age-secret-key", "private_key"), ("private-key", "private_key"), ("jwt", "jwt"), ("aws-access-token", "aws_access_key"), ("gcp-api-key", "gcp_api_key"),
    ("openai", "openai_api_key"), ("anthropic", "anthropic_api_key"), ("huggingface", "huggingface_token"), ("github", "github_token"),
    ("gitlab", "gitlab_token"), ("npm", "npm_token"), ("pypi", "pypi_token"), ("slack-webhook", "slack_webhook"), ("slack", "slack_token"),
    ("stripe", "stripe_key"), ("twilio", "twilio_key"), ("sendgrid", "sendgrid_key"), ("mailgun-private", "mailgun_key"), ("shopify", "shopify_token"),
    ("telegram", "telegram_bot_token"), ("digitalocean", "digitalocean_token"), ("databricks", "databricks_token"), ("vault", "vault_token"),
    ("curl-auth-header", "http_authorization,password,jwt"), ("generic-api-key", "generic_secret,password"),
]
# The rule of tier O finds too much for a default; what must not find anything in prose and code is tier V.
FALSE_OF = {"generic-api-key": "password"}
# Any of these will do where a service has no detector of its own.
GENERIC = "generic_secret,password,jwt,http_authorization,url_credentials,private_key"

# Where the two differ on purpose: rule, which way, which texts, why.
SHORT = "a key that was shortened or mistyped is masked too"
EXCEPTIONS = [
    ("anthropic-api-key", "taken", lambda t: True, SHORT), ("anthropic-admin-api-key", "taken", lambda t: True, SHORT),
    ("slack-user-token", "taken", lambda t: True, SHORT), ("slack-config-access-token", "taken", lambda t: True, SHORT),
    ("aws-access-token", "taken", lambda t: "EXAMPLE" in t, "the manual's example has the form of a key"),
    ("gcp-api-key", "taken", lambda t: True, "published examples have the form of a key"),
    ("private-key", "taken", lambda t: True, "a key is masked from its first line on, whatever follows"),
    ("jwt", "missed", lambda t: "alg" not in t and "eyJ" not in t, "made at random: its first part is no JSON"),
    ("curl-auth-header", "missed", lambda t: True, "a value without a scheme, behind a header's name alone"),
    ("curl-auth-header", "taken", lambda t: "eyJ" in t, "there is a token in it"),
]


def calls(source, sample):
    """What the helpers of the rules' sources give."""
    utils = source / "cmd" / "generate" / "config" / "utils"
    known = {}
    for name, pattern in re.findall(r"func (\w+)\(size string\) string \{\s*return fmt\.Sprintf\(`(.*?)`, size\)", (utils / "patterns.go").read_text()):
        known[f"utils.{name}"] = lambda size, pattern=pattern: pattern.replace("%s", size)
    for name, pattern in re.findall(r"func (\w+)\(\) string \{\s*return `(.*?)`", (utils / "patterns.go").read_text()):
        known[f"utils.{name}"] = lambda pattern=pattern: pattern
    generate = (utils / "generate.go").read_text()
    one, many = generate[generate.index("func GenerateSampleSecret(") :], generate[generate.index("samples := ") :]
    single = Reader(re.search(r'Sprintf\(("(?:\\.|[^"])*")', one).group(1), {}).expression()
    templates = Reader(many[len("samples := ") :], {}).expression()
    known["utils.GenerateSampleSecret"] = lambda name, secret: single.replace("%s", name, 1).replace("%s", secret, 1)
    known["utils.GenerateSampleSecrets"] = lambda name, secret: [
        text.replace("{i}", name).replace("{I}", name.upper()).replace("{s}", secret) for text in templates
    ]
    known["secrets.NewSecret"] = known["newPlausibleSecret"] = sample.of
    return known


def rules(source):
    """Of each rule: its name, true positives, false positives; or the reason why they could not be read."""
    for path in sorted((source / "cmd" / "generate" / "config" / "rules").glob("*.go")):
        text = path.read_text()
        constants = text[: text.index("func ")] if "func " in text else ""
        for body in re.split(r"(?m)^func ", text)[1:]:
            name = re.search(r'RuleID:\s*"([^"]+)"', body)
            if name is None or "Validate" not in body:
                continue
            known = calls(source, Sample(name.group(1)))
            read = Reader(constants + body, known).assignments()
            lists = re.search(r"utils\.Validate(WithPaths)?\(\*?&?r, (\w+), (\w+)\)", body)
            if lists is None:
                yield name.group(1), None, None, body
                continue
            _, true, false = lists.groups()
            yield name.group(1), read.get(true), [] if false == "nil" else read.get(false), body


def main():
    binary, source = sys.argv[1], pathlib.Path(sys.argv[2])
    asked, unread = [], []
    for name, true, false, _ in rules(source):
        if true is None or false is None:
            unread.append(name)
        detectors = next((detectors for start, detectors in RULES if name.startswith(start)), None)
        asked += [(name, detectors, True, text) for text in true or [] if text]
        asked += [(name, FALSE_OF.get(name, detectors), False, text) for text in false or [] if text and detectors]
    found = spans(binary, [(detectors or GENERIC, "", text) for _, detectors, _, text in asked])
    own, others, wrong, excused = collections.Counter(), collections.Counter(), [], collections.Counter()
    for (name, detectors, true, text), ours in zip(asked, found):
        right = bool(ours) == true
        counter = own if detectors else others
        counter[("all", true)] += 1
        if not right:
            way = "missed" if true else "taken"
            reason = next((why for rule, w, test, why in EXCEPTIONS if name == rule and w == way and test(text)), None)
            if reason:
                excused[(name, way, reason)] += 1
                continue
            counter[("wrong", true)] += 1
            wrong.append((name, way, text, detectors))
    for line in wrong:
        if line[3] or "--all" in sys.argv:
            print(line)
    by_rule = collections.Counter(name for name, _, _, detectors in wrong if not detectors)
    missed, taken = own[("wrong", True)] / own[("all", True)], own[("wrong", False)] / own[("all", False)]
    of_others = others[("wrong", True)] / others[("all", True)]
    said = (
        f"{own[('all', True)]} true positives of rules that have a detector, {own[('wrong', True)]} missed; {own[('all', False)]} false positives, "
        f"{own[('wrong', False)]} taken; {sum(excused.values())} of both otherwise on purpose. {others[('all', True)]} true positives of services without a "
        f"detector, where the generic ones of tiers V and O are asked: {1 - of_others:.1%} found."
    )
    print("gitleaks:", said, "not read:", ", ".join(unread))
    word = {"missed": "not found", "taken": "none, but found"}
    table = [said, "", "| rule | a value of theirs is | cases | why |", "|---|---|---|---|"]
    table += [f"| {name} | {word[way]} | {count} | {reason} |" for (name, way, reason), count in sorted(excused.items())]
    table += ["", "Not found of other services, by rule: " + ", ".join(f"{name} {count}" for name, count in sorted(by_rule.items())) + ". Most are too short, or digits"
              " alone, or without a word that says what they are.", "", "Not read: " + ", ".join(unread) + "."]
    part(sys.argv[3], "gitleaks", table, "--write" in sys.argv)
    sys.exit(missed > 1 - TRUE_LEAST or taken > FALSE_MOST)


main()
