"""Compares the checksums of the detectors with python-stdnum: its own valid numbers, and mutated ones.

usage: checksums.py JUDGE SDIST_DIRECTORY MUTATIONS_PER_DETECTOR
"""

import importlib
import pathlib
import random
import re
import subprocess
import sys

# Detector, module of python-stdnum, context word.
PAIRS = [
    ("us_ssn", "us.ssn", "ssn"), ("us_itin", "us.itin", "itin"), ("us_ein", "us.ein", "ein"), ("us_aba", "us.rtn", "routing"),
    ("iban", "iban", ""), ("bic", "bic", "bic"), ("uk_nhs", "gb.nhs", "nhs"), ("uk_utr", "gb.utr", "utr"),
    ("ie_ppsn", "ie.pps", "pps"), ("fr_nir", "fr.nir", ""), ("fr_siren", "fr.siren", "siren"), ("fr_siret", "fr.siret", "siret"),
    ("nl_bsn", "nl.bsn", "bsn"), ("be_nn", "be.nn", ""), ("es_dni", "es.dni", ""), ("es_nie", "es.nie", ""), ("es_cif", "es.cif", "cif"),
    ("pt_nif", "pt.nif", "nif"), ("it_codice_fiscale", "it.codicefiscale", ""), ("it_partita_iva", "it.iva", "piva"),
    ("gr_amka", "gr.amka", ""), ("de_steuer_id", "de.idnr", "tax id"), ("at_svnr", "at.vnr", "svnr"), ("ch_ahv", "ch.ssn", ""),
    ("pl_pesel", "pl.pesel", ""), ("pl_nip", "pl.nip", "nip"), ("cz_rc", "cz.rc", "rodne cislo"), ("ro_cnp", "ro.cnp", "cnp"),
    ("bg_egn", "bg.egn", "egn"), ("hr_oib", "hr.oib", "oib"), ("si_emso", "si.emso", "emso"), ("ru_inn", "ru.inn", "inn"),
    ("tr_tckn", "tr.tckimlik", ""), ("se_personnummer", "se.personnummer", "personnummer"),
    ("no_fodselsnummer", "no.fodselsnummer", ""), ("dk_cpr", "dk.cpr", "cpr"), ("fi_hetu", "fi.hetu", ""),
    ("is_kennitala", "is_.kennitala", "kennitala"), ("ee_lt_personal_code", "ee.ik", ""), ("ca_sin", "ca.sin", "sin"),
    ("br_cpf", "br.cpf", "cpf"), ("br_cnpj", "br.cnpj", "cnpj"), ("mx_curp", "mx.curp", ""), ("mx_rfc", "mx.rfc", "rfc"),
    ("cl_rut", "cl.rut", "rut"), ("ar_cuit", "ar.cuit", "cuit"), ("in_aadhaar", "in_.aadhaar", "aadhaar"), ("in_pan", "in_.pan", ""),
    ("in_gstin", "in_.gstin", ""), ("cn_resident_id", "cn.ric", ""), ("kr_rrn", "kr.rrn", "rrn"), ("jp_my_number", "jp.in_", "my number"),
    ("my_nric", "my.nric", "nric"), ("th_national_id", "th.pin", "thai id"), ("il_id", "il.idnr", "israeli id"),
    ("za_id", "za.idnr", "sa id"), ("au_tfn", "au.tfn", "tfn"), ("au_abn", "au.abn", "abn"), ("nz_ird", "nz.ird", "ird"),
    ("imei", "imei", "imei"), ("btc_address", "bitcoin", ""),
]

def digits(text):
    return re.sub(r"\D", "", text)


def italian_day(code):
    """The day in a codice fiscale, of which letters may stand for digits."""
    return int(code[9:11].upper().translate(str.maketrans("LMNPQRSTUV", "0123456789")))


# Where the two differ on purpose: detector, which way, which texts, why.
EXCEPTIONS = [
    ("us_itin", "taken", lambda t: 50 <= int(digits(t)[3:5]) <= 65, "groups 50 to 65 came with IRS publication 1915 (2021)"),
    ("us_aba", "missed", lambda t: True, "we also ask for a prefix of the Federal Reserve"),
    ("iban", "taken", lambda t: True, "the oracle also knows the inner structure and check digits of some countries"),
    ("ie_ppsn", "taken", lambda t: t[8:] in ("T", "X"), "letters that the oracle does not know"),
    ("fr_nir", "missed", lambda t: True, "the oracle takes any month"),
    ("fr_siret", "missed", lambda t: True, "we also ask that the SIREN in it be valid"),
    ("be_nn", "missed", lambda t: True, "the oracle takes any date that it calls unknown"),
    ("be_nn", "taken", lambda t: True, "the oracle has a clock and refuses dates to come"),
    ("es_cif", "taken", lambda t: True, "some kinds of company have letters only or digits only"),
    ("it_codice_fiscale", "missed", lambda t: len(digits(t)) == 11, "a company's code is its VAT number, which is a detector of its own"),
    ("it_codice_fiscale", "missed", lambda t: italian_day(t) > 71, "the oracle takes days beyond 71"),
    ("at_svnr", "missed", lambda t: True, "the oracle takes any date"),
    ("se_personnummer", "missed", lambda t: digits(t)[:2] not in ("18", "19", "20") and len(digits(t)) == 12, "the oracle takes any century"),
    ("se_personnummer", "taken", lambda t: int(digits(t)[-6:-4]) > 60, "coordination numbers"),
    ("dk_cpr", "taken", lambda t: True, "the oracle has a clock and refuses dates to come"),
    ("fi_hetu", "taken", lambda t: t[7] == "9", "numbers for use in one organisation"),
    ("is_kennitala", "taken", lambda t: digits(t)[-1] == "8", "born in the 1800s"),
    ("mx_rfc", "missed", lambda t: len(re.sub(r"\W", "", t)) == 10, "a code without its homoclave has no check"),
    ("cn_resident_id", "taken", lambda t: True, "the oracle knows the counties"),
    ("cn_resident_id", "missed", lambda t: int(t[6:10]) > 2099 or int(t[6:10]) < 1850, "the oracle takes any year"),
    ("kr_rrn", "taken", lambda t: True, "numbers given since October 2020 have no check"),
    ("in_pan", "taken", lambda t: t[3] == "K", "the oracle does not know the holder kind K"),
    ("in_gstin", "taken", lambda t: t[5] == "K", "the oracle does not know the holder kind K"),
    ("za_id", "taken", lambda t: t[10] == "2", "refugees"),
    ("es_cif", "missed", lambda t: " " in t, "blanks at any place"),
    ("no_fodselsnummer", "missed", lambda t: not t.isdigit(), "separators at any place"),
    ("cz_rc", "missed", lambda t: int(digits(t)[2:4]) > 32, "the oracle takes months that nobody has"),
    ("no_fodselsnummer", "taken", lambda t: int(digits(t)[:2]) > 40, "the oracle knows fewer kinds of numbers that are not of birth"),
    ("fr_siret", "taken", lambda t: t.startswith("356000000"), "the oracle knows one form of La Poste's check only"),
    ("mx_rfc", "taken", lambda t: True, "the oracle has a list of words that no code may spell"),
    ("br_cnpj", "missed", lambda t: re.search("[A-Z]", t), "letters come with the CNPJ of July 2026"),
    ("mx_curp", "taken", lambda t: t[10] == "X", "the third sex of 2023"),
    ("mx_rfc", "missed", lambda t: re.search("[&Ñ ]", t), "names with & and Ñ, blanks at any place"),
    ("no_fodselsnummer", "taken", lambda t: int(digits(t)[2:4]) > 12, "the oracle knows fewer kinds of numbers that are not of birth"),
    ("no_fodselsnummer", "taken", lambda t: int(digits(t)[6:9]) >= 500, "that the individual number fits the century is not asked; the oracle has a clock, too"),
    ("mx_curp", "taken", lambda t: t[:4] in importlib.import_module("stdnum.mx.curp")._name_blacklist, "the oracle has a list of words that no code may spell"),
    ("in_gstin", "taken", lambda t: t[:2] in ("97", "99"), "other territory and centre, which the oracle does not know"),
    ("au_abn", "taken", lambda t: t.startswith("10"), "the tax office's rule takes 10 where it takes 99; the oracle knows 99 alone"),
    ("btc_address", "missed", lambda t: t != t.lower() and t[:3].lower() == "bc1", "BIP 173 forbids mixed case"),
]


def judge(binary, lines):
    """The detectors' answers to (detector, key, text)."""
    text = "".join(f"{d}\t{k}\t{t}\n" for d, k, t in lines)
    done = subprocess.run([binary], input=text, capture_output=True, text=True, check=True)
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines) and "?" not in answers
    return [answer == "1" for answer in answers]


def valid_numbers(module, corpus):
    """The texts of a corpus that a module takes."""
    found = []
    options = {"validate_check_digits": True} if module.__name__ == "stdnum.mx.rfc" else {}
    for text in corpus:
        try:
            if module.is_valid(text, **options):
                found.append(text)
        except Exception:  # noqa: BLE001 - some modules raise on texts that are none of theirs
            continue
    return found


def mutated(source, number):
    """The number with one or two characters replaced by others of their kind."""
    characters = list(number)
    places = [at for at, character in enumerate(characters) if character.isalnum()]
    for at in source.sample(places, k=min(len(places), source.choice([1, 1, 2, 3]))):
        alphabet = "0123456789" if characters[at].isdigit() else "ABCDEFGHJKLMNPQRSTUVWXYZ"
        characters[at] = source.choice(alphabet)
    return "".join(characters)


def main():
    binary, sdist, count = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    source = random.Random(42)
    failures = 0
    total_valid = total_mutated = 0
    for detector, name, key in PAIRS:
        try:
            module = importlib.import_module(f"stdnum.{name}")
        except ModuleNotFoundError:
            print(f"{detector}: python-stdnum has no {name}")
            continue
        page = sdist / "tests" / f"test_{name.replace('.', '_').replace('in__', 'in_')}.doctest"
        texts = [module.__doc__ or ""]
        texts += [path.read_text() for path in sdist.glob(f"tests/test_{name.replace('.', '_')}*.doctest")]
        corpus = set()
        for text in texts:
            for line in text.splitlines():
                corpus.add(line.removeprefix("... ").strip())
                corpus.update(re.findall(r"'([^']+)'", line))
        corpus = sorted(text.strip() for text in corpus if "  " not in text and 5 <= len(text) <= 42 and text.isprintable())
        valid = [text for text in valid_numbers(module, corpus) if re.search(r"\d|[A-Z]", text)]
        compact = {module.compact(text) for text in valid}
        country = name.split(".")[0].rstrip("_").upper()
        # A country in front of a national number is no part of it.
        named = {text for text in valid if "." in name and text.startswith(country)}
        numbers = sorted(set(valid) - named | compact)
        tries = [mutated(source, source.choice(sorted(compact))) for _ in range(count)] if compact else []
        wrong = []
        for text, ours in zip(numbers, judge(binary, [(detector, key, text) for text in numbers])):
            if not ours:
                wrong.append(("missed", text))
        for text, ours in zip(tries, judge(binary, [(detector, key, text) for text in tries])):
            theirs = bool(valid_numbers(module, [text]))
            if ours != theirs:
                wrong.append(("missed" if theirs else "taken", text))
        excused = [w for w in wrong if any((d, way) == (detector, w[0]) and test(w[1]) for d, way, test, _ in EXCEPTIONS)]
        rest = [w for w in wrong if w not in excused]
        total_valid += len(numbers)
        total_mutated += len(tries)
        if rest or excused:
            print(f"{detector}: {len(numbers)} valid, {len(tries)} mutated: {len(rest)} differ, {len(excused)} by intent: {rest[:8]}")
        failures += bool(rest)
    print(f"{len(PAIRS)} detectors, {total_valid} valid numbers, {total_mutated} mutated ones, {failures} detectors differ")
    sys.exit(bool(failures))


main()
