//! Identifiers of the Nordic and Baltic countries.

use super::DetectorTier::Validated;
use super::{Detector, entry};

const SE: &[&str] = &["pii", "ids_se"];
const NO: &[&str] = &["pii", "ids_no"];
const DK: &[&str] = &["pii", "ids_dk"];
const FI: &[&str] = &["pii", "ids_fi"];
const IS: &[&str] = &["pii", "ids_is"];
const EE_LT: &[&str] = &["pii", "ids_ee", "ids_lt"];
const LV: &[&str] = &["pii", "ids_lv"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "se_personnummer",
        "SE_PERSONNUMMER",
        Validated,
        SE,
        [
            "Swedish personal or coordination number; bare digits behind a context word",
            "a date, - or +, four digits, Luhn",
            "Folkbokföringslag (1991:481) §18",
        ],
        &["personnummer", "personnr", "samordningsnummer", "pnr", "personal identity number"],
    ),
    entry(
        "no_fodselsnummer",
        "NO_FODSELSNUMMER",
        Validated,
        NO,
        [
            "Norwegian birth or D number",
            "eleven digits with a date and two check digits",
            "Skatteetaten, folkeregisterforskriften §2-2-1",
        ],
        &[],
    ),
    entry(
        "dk_cpr",
        "DK_CPR",
        Validated,
        DK,
        [
            "Danish personal number; bare digits behind a context word",
            "a date, a dash, four digits whose first fits the century",
            "CPR-loven, CPR-kontoret",
        ],
        &["cpr", "cpr-nr", "cpr-nummer", "cpr nummer", "personnummer", "cpr_number"],
    ),
    entry(
        "fi_hetu",
        "FI_HETU",
        Validated,
        FI,
        [
            "Finnish personal identity code",
            "a date, a century mark, three digits, check character mod 31",
            "Valtioneuvoston asetus 690/2022, DVV",
        ],
        &[],
    ),
    entry(
        "is_kennitala",
        "IS_KENNITALA",
        Validated,
        IS,
        [
            "Icelandic identity number; bare digits behind a context word",
            "a date, a dash, four digits, mod 11",
            "Þjóðskrá, lög 70/2018",
        ],
        &["kennitala", "kt", "kt."],
    ),
    entry(
        "ee_lt_personal_code",
        "EE_LT_PERSONAL_CODE",
        Validated,
        EE_LT,
        [
            "Estonian or Lithuanian personal code",
            "century and sex, a date, serial, weighted check digit in two steps",
            "EVS 585, Lietuvos Respublikos gyventojų registro įstatymas",
        ],
        &[],
    ),
    entry(
        "lv_personas_kods",
        "LV_PERSONAS_KODS",
        Validated,
        LV,
        [
            "Latvian personal code; bare digits behind a context word",
            "a date or 32, a dash, five digits, weighted check digit for dated ones",
            "Fizisko personu reģistra likums",
        ],
        &["personas kods", "personas_kods", "p.k", "pk"],
    ),
];
