"""Compares the detectors with the cases that Presidio tests its recognizers with, read from its sources.

usage: presidio.py JUDGE DIRECTORY PAGE [--write]

DIRECTORY is a checkout of microsoft/presidio. A case is right if all that Presidio finds is found, and nothing else. Of these that are not,
each must be excused by a line of EXCEPTIONS; the page lists them.
"""

import ast
import collections
import pathlib
import re
import sys

import stdnum.de.idnr
import stdnum.in_.gstin
import stdnum.in_.pan
import stdnum.kr.rrn

from judge import spans
from page import part

LEAST = 0.98

# Test, detectors, name of a JSON member as context (Presidio is asked for one entity at a time, which is context too).
RECOGNIZERS = [
    ("aba_routing", "us_aba", "routing_number"), ("au_abn", "au_abn", "abn"), ("au_medicare", "au_medicare", "medicare"), ("au_tfn", "au_tfn", "tfn"),
    ("ca_sin", "ca_sin", "sin"), ("certificate_number", "us_dea", "dea"), ("credit_card", "credit_card", ""), ("crypto", "btc_address", ""),
    ("de_health_insurance", "de_kvnr", "kvnr"), ("de_id_card", "de_id_card", "ausweis"), ("de_passport", "de_id_card", "reisepass"),
    ("de_social_security", "de_rvnr", ""), ("de_tax_id", "de_steuer_id", "idnr"), ("email", "email", ""), ("es_nie", "es_nie", ""),
    ("es_nif", "es_dni", ""), ("fi_personal_identity_code", "fi_hetu", ""), ("iban", "iban", ""), ("in_aadhaar", "in_aadhaar", "aadhaar"),
    ("in_gstin", "in_gstin", ""), ("in_pan", "in_pan", ""), ("ip", "ipv4,ipv6", "ip"), ("it_fiscal_code", "it_codice_fiscale", ""),
    ("it_vat_code", "it_partita_iva", "piva"), ("kr_rrn", "kr_rrn", "rrn"), ("kr_frn", "kr_rrn", "rrn"), ("mac", "mac_address", ""),
    ("phone", "phone", "phone"), ("ph_mobile_number", "phone", "phone"), ("tr_phone_number", "phone", "phone"), ("pl_pesel", "pl_pesel", ""),
    ("se_personnummer", "se_personnummer", "personnummer"), ("sg_fin", "sg_nric", ""), ("th_tnin", "th_national_id", "national id"),
    ("tr_national_id", "tr_tckn", ""), ("uk_driving_licence", "uk_driving_licence", ""), ("uk_nhs", "uk_nhs", "nhs"), ("uk_nino", "uk_nino", "nino"),
    ("uk_postcode", "uk_postcode", ""), ("us_bank", "us_bank_account", "account_number"), ("us_driver_license", "us_driver_license", "dln"),
    ("us_itin", "us_itin", "itin"), ("us_mbi", "us_mbi", "mbi"), ("us_npi", "us_npi", "npi"), ("us_passport", "us_passport", "passport"),
    ("us_ssn", "us_ssn", "ssn"), ("za_id_number", "za_id", "sa id"),
]

# Tests of machinery, of models, and of what is no identifier.
OTHER_KINDS = {
    "ahds", "azure_ai_language", "azure_openai_langextract", "basic_langextract", "date", "entity", "gliner", "huggingface_ner", "lm", "medical_ner",
    "pattern", "spacy", "stanza", "transformers", "url",
}

# Where the two differ on purpose: detectors, which way, which texts, why.
WRONG_CHECK = "Presidio takes it at a low score; python-stdnum, too, says that the check is wrong"
GLUED = "letters glued to a value do not hide it"
EVASION = "other separators and cases do not hide it"
EXCEPTIONS = [
    ("credit_card", "missed", lambda t: "122000000000003" in t, "UATP's range is the digit 1 alone: a tenth of all numbers of 15 digits that begin with it would pass"),
    ("btc_address", "taken", lambda t: t.endswith("BoyZ2"), GLUED),
    ("au_medicare", "taken", lambda t: t.endswith("AF"), GLUED),
    ("za_id", "taken", lambda t: t.startswith("AB"), GLUED),
    ("ipv4,ipv6", "taken", lambda t: re.search("[a-zA-Z][0-9]+[.:]|::ffff|::1text", t), GLUED),
    ("ipv4,ipv6", "missed", lambda t: re.search(r"(^|[ =])(::1?|fe80::)([ /]|$)", t), "the loopback, the unspecified and the link-local prefix say nothing about anybody"),
    ("ipv4,ipv6", "missed", lambda t: "%eth0" in t, "the address goes, the name of the interface stays"),
    ("ipv4,ipv6", "taken", lambda t: t.startswith(("2345:", "2400:")), "Presidio's case says that it does not find it without a word before it"),
    ("de_id_card", "taken", lambda t: True, "Presidio takes the ninth character for a check digit; the tenth is, and the specimen's number is L01X00T47"),
    ("de_steuer_id", "missed", lambda t: not stdnum.de.idnr.is_valid(re.sub(r"\D", "", t)), WRONG_CHECK),
    ("es_dni", "missed", lambda t: len(re.sub(r"\W", "", t)) == 8, "seven digits: a DNI is written with its leading zero"),
    ("fi_hetu", "taken", lambda t: t[6] in "/.", EVASION),
    ("iban", "taken", lambda t: t != t.upper(), EVASION),
    ("us_ssn", "taken", lambda t: len(set(re.sub(r"\d", "", t))) > 1, EVASION),
    ("in_aadhaar", "missed", lambda t: ":" in t, "colons separate hours from minutes"),
    ("in_gstin", "missed", lambda t: not any(stdnum.in_.gstin.is_valid(word) for word in t.split()), WRONG_CHECK),
    ("in_pan", "missed", lambda t: not stdnum.in_.pan.is_valid(t), WRONG_CHECK),
    ("it_codice_fiscale", "missed", lambda t: t.endswith("N"), WRONG_CHECK),
    ("kr_rrn", "missed", lambda t: not any(stdnum.kr.rrn.is_valid(word) for word in re.findall(r"\d{6}-?\d{7}", t)), WRONG_CHECK),
    ("kr_rrn", "taken", lambda t: True, "residents and foreigners, of every century, are one detector"),
    ("mac_address", "missed", lambda t: not re.search(r"\d", t), "an address without a digit"),
    ("phone", "taken", lambda t: True, "behind a context word the numbers of every country count"),
    ("sg_nric", "missed", lambda t: True, "Presidio takes it at a low score; the check letter is wrong"),
    ("th_national_id", "taken", lambda t: True, "no list of provinces is kept"),
    ("uk_postcode", "missed", lambda t: t.startswith("GIR"), "one address in Britain has this form"),
    ("uk_postcode", "taken", lambda t: t == "1A1 1AA", GLUED),
    ("us_npi", "taken", lambda t: t == "1111111112", "its check is right"),
]


def value(node, names):
    """The value of an expression of literals."""
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, (ast.Tuple, ast.List)):
        return [value(item, names) for item in node.elts]
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else str(value(part.value, names)) for part in node.values]
        return "".join(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return value(node.left, names) * value(node.right, names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return value(node.left, names) + value(node.right, names)
    return ast.literal_eval(node)


def positions(found):
    """Pairs of numbers, also where there is only one pair."""
    return [tuple(found)] if found and isinstance(found[0], int) else [tuple(pair) for pair in found]


def cases(path):
    """What a file of tests asks of the whole recognizer: text, how many are found, where (or None)."""
    tree = ast.parse(path.read_text())
    names = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                names[node.targets[0].id] = value(node.value, names)
            except (ValueError, KeyError):
                continue
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("parametrize")):
                continue
            columns = [column.strip() for column in ast.literal_eval(decorator.args[0]).split(",")]
            rows = value(decorator.args[1], names)
            if columns == ["text"] and "invalid" in function.name:
                yield from ((text, 0, []) for text in rows)
            if "expected_len" not in columns:
                continue
            where = next((column for column in ("expected_positions", "expected_position", "expected_res") if column in columns), None)
            for row in rows:
                row = dict(zip(columns, row))
                # Leniencies of the library for numbers are a setting of theirs; the strictest and the laxest say different things of one text.
                if "leniency" in row:
                    continue
                count = row["expected_len"]
                spots = positions(row[where]) if where and where in row and count else ([] if count == 0 else None)
                yield row[columns[0]], count, spots


def letters(text, ranges):
    """The places of letters and digits in these ranges."""
    return {at for start, end in ranges for at in range(start, min(end, len(text))) if text[at].isalnum()}


def main():
    binary, tests = sys.argv[1], pathlib.Path(sys.argv[2]) / "presidio-analyzer" / "tests"
    asked = []
    for name, detectors, key in RECOGNIZERS:
        for text, count, spots in cases(tests / f"test_{name}_recognizer.py"):
            asked.append((name, detectors, key, text, count, spots))
    found = spans(binary, [(detectors, key, text) for _, detectors, key, text, _, _ in asked])
    total, good = collections.Counter(), collections.Counter()
    wrong, excused = [], collections.Counter()
    for (name, detectors, _, text, count, spots), ours in zip(asked, found):
        total[name] += 1
        mine = letters(text, ours)
        theirs = letters(text, spots) if spots is not None else None
        if theirs is None:
            right, way = bool(mine), "missed"
        else:
            right, way = mine == theirs, "missed" if theirs - mine else "taken"
        if right:
            good[name] += 1
            continue
        reason = next((why for d, w, test, why in EXCEPTIONS if d == detectors and w == way and test(text)), None)
        if reason:
            excused[(detectors, way, reason)] += 1
        else:
            wrong.append((name, way, text, spots, ours))
    everything = sum(total.values())
    accepted = sum(good.values()) + sum(excused.values())
    for line in wrong:
        print(*line)
    have = {name for name, _, _ in RECOGNIZERS}
    lack = [name for path in sorted(tests.glob("test_*_recognizer.py")) if (name := path.stem[5:-11]) not in have | OTHER_KINDS]
    table = [
        f"{len(RECOGNIZERS)} recognizers, {everything} cases: {sum(good.values())} come out as theirs, {sum(excused.values())} otherwise on purpose, {len(wrong)} wrong.",
        "", "| detector | a value of theirs is | cases | why |", "|---|---|---|---|",
    ]
    word = {"missed": "not found", "taken": "none, but found"}
    table += [f"| `{detectors.replace(',', '`, `')}` | {word[way]} | {count} | {reason} |" for (detectors, way, reason), count in sorted(excused.items())]
    table += ["", "No detector here: " + ", ".join(name.replace("_", " ") for name in lack) + "."]
    print(
        f"Presidio: {len(RECOGNIZERS)} recognizers, {everything} cases, {sum(good.values())} as theirs, {sum(excused.values())} otherwise on purpose, "
        f"{len(wrong)} wrong ({accepted / everything:.1%} accounted for)"
    )
    part(sys.argv[3], "presidio", table, "--write" in sys.argv)
    sys.exit(accepted < LEAST * everything)


main()
