//! Identifiers of Germany, Austria, Switzerland, Poland, Czechia, Slovakia and south-eastern Europe, Russia and Türkiye.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry};

const DE: &[&str] = &["pii", "ids_de"];
const AT: &[&str] = &["pii", "ids_at"];
const CH: &[&str] = &["pii", "ids_ch"];
const PL: &[&str] = &["pii", "ids_pl"];
const CZ: &[&str] = &["pii", "ids_cz", "ids_sk"];
const RO: &[&str] = &["pii", "ids_ro"];
const BG: &[&str] = &["pii", "ids_bg"];
const HR: &[&str] = &["pii", "ids_hr"];
const SI: &[&str] = &["pii", "ids_si"];
const RU: &[&str] = &["pii", "ids_ru"];
const TR: &[&str] = &["pii", "ids_tr"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "de_steuer_id",
        "DE_STEUER_ID",
        Context,
        DE,
        [
            "German tax identification number",
            "eleven digits with one digit repeated, ISO 7064 mod 11,10",
            "Bundeszentralamt für Steuern",
        ],
        &[
            "steuer-id",
            "steuer id",
            "steueridentifikationsnummer",
            "steuer-idnr",
            "idnr",
            "steuernummer",
            "tax id",
            "tin",
            "steuer_id",
        ],
    ),
    entry(
        "de_rvnr",
        "DE_RVNR",
        Validated,
        DE,
        ["German pension insurance number", "area, date of birth, letter, serial, weighted sum", "VKVV §2"],
        &[],
    ),
    entry(
        "de_kvnr",
        "DE_KVNR",
        Context,
        &["pii", "health", "ids_de"],
        ["German health insurance number", "a letter, nine digits, modified Luhn", "GKV-Spitzenverband, §290 SGB V"],
        &[
            "krankenversichertennummer",
            "kvnr",
            "versichertennummer",
            "krankenversicherung",
            "versicherten-nr",
            "health insurance",
            "egk",
        ],
    ),
    entry(
        "de_id_card",
        "DE_ID_CARD",
        Context,
        DE,
        [
            "number of a German identity card or passport",
            "nine or ten characters without vowels, weights 7-3-1 if the check digit is there",
            "ICAO Doc 9303, PAuswV",
        ],
        &[
            "personalausweis",
            "ausweisnummer",
            "ausweis",
            "personalausweisnummer",
            "reisepass",
            "passnummer",
            "id card",
            "passport",
        ],
    ),
    entry(
        "at_svnr",
        "AT_SVNR",
        Validated,
        AT,
        [
            "Austrian social insurance number; without a blank behind a context word",
            "ten digits with a date, mod 11",
            "Dachverband der Sozialversicherungsträger",
        ],
        &["svnr", "sozialversicherungsnummer", "sv-nummer", "versicherungsnummer", "sv nummer"],
    ),
    entry(
        "ch_ahv",
        "CH_AHV",
        Validated,
        CH,
        ["Swiss social insurance number", "756 and ten digits, EAN-13 check", "AHVG Art. 50c, ZAS"],
        &[],
    ),
    entry(
        "pl_pesel",
        "PL_PESEL",
        Validated,
        PL,
        [
            "Polish national number",
            "eleven digits with a date and a weighted check digit",
            "Ustawa o ewidencji ludności, art. 15",
        ],
        &[],
    ),
    entry(
        "pl_nip",
        "PL_NIP",
        Context,
        PL,
        ["Polish tax number", "ten digits, mod 11", "Ministerstwo Finansów"],
        &["nip", "numer identyfikacji podatkowej", "nip:", "vat"],
    ),
    entry(
        "cz_rc",
        "CZ_RC",
        Validated,
        CZ,
        [
            "Czech or Slovak birth number; without a slash behind a context word",
            "a date, a slash, three or four digits, mod 11",
            "Zákon 133/2000 Sb.",
        ],
        &["rodné číslo", "rodne cislo", "rč", "r.č", "birth number", "rodné"],
    ),
    entry(
        "ro_cnp",
        "RO_CNP",
        Validated,
        RO,
        ["Romanian personal numeric code", "13 digits with a date, a county and a weighted check digit", "OUG 97/2005"],
        &["cnp", "cod numeric personal"],
    ),
    entry(
        "bg_egn",
        "BG_EGN",
        Context,
        BG,
        ["Bulgarian civil number", "ten digits with a date and a weighted check digit", "ЗГР чл. 11, ГРАО"],
        &["egn", "егн", "единен граждански номер", "civil number"],
    ),
    entry(
        "hr_oib",
        "HR_OIB",
        Context,
        HR,
        [
            "Croatian personal identification number",
            "eleven digits, ISO 7064 mod 11,10",
            "Zakon o osobnom identifikacijskom broju",
        ],
        &["oib", "osobni identifikacijski broj"],
    ),
    entry(
        "si_emso",
        "SI_EMSO",
        Validated,
        SI,
        [
            "unique citizen number of Slovenia and the other successor states",
            "13 digits with a date, mod 11",
            "Zakon o centralnem registru prebivalstva",
        ],
        &["emso", "emšo", "jmbg"],
    ),
    entry(
        "ru_inn",
        "RU_INN",
        Context,
        RU,
        ["Russian taxpayer number", "10 or 12 digits, one or two weighted check digits", "ФНС, приказ ММВ-7-6/435"],
        &["инн", "inn", "taxpayer"],
    ),
    entry(
        "ru_snils",
        "RU_SNILS",
        Validated,
        RU,
        [
            "Russian pension insurance number; bare digits behind a context word",
            "nine digits and two check digits mod 101",
            "Пенсионный фонд, СНИЛС",
        ],
        &["снилс", "snils", "страховой номер"],
    ),
    entry(
        "tr_tckn",
        "TR_TCKN",
        Validated,
        TR,
        ["Turkish identity number", "eleven digits with two check digits", "5490 sayılı Nüfus Hizmetleri Kanunu"],
        &[],
    ),
];
