//! Identifiers of the United Kingdom, Ireland, France and the Benelux.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry};

const GB: &[&str] = &["pii", "ids_gb"];
const IE: &[&str] = &["pii", "ids_ie"];
const FR: &[&str] = &["pii", "ids_fr"];
const NL: &[&str] = &["pii", "ids_nl"];
const BE: &[&str] = &["pii", "ids_be"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "uk_nhs",
        "UK_NHS",
        Context,
        &["pii", "health", "ids_gb"],
        ["NHS number", "ten digits, mod 11", "NHS Data Dictionary, NHS number"],
        &["nhs", "nhs number", "nhs no", "national health service", "nhs_number", "patient"],
    ),
    entry(
        "uk_nino",
        "UK_NINO",
        Validated,
        GB,
        [
            "national insurance number; without blanks behind a context word",
            "two letters that HMRC assigns, six digits, A to D",
            "HMRC, NIM39110",
        ],
        &["nino", "ni number", "ni no", "national insurance", "national insurance number", "ni_number", "insurance"],
    ),
    entry(
        "uk_utr",
        "UK_UTR",
        Context,
        GB,
        ["unique taxpayer reference", "ten digits, the first is the check (mod 11)", "HMRC"],
        &["utr", "taxpayer reference", "unique taxpayer", "tax reference", "utr number"],
    ),
    entry(
        "uk_driving_licence",
        "UK_DRIVING_LICENCE",
        Validated,
        GB,
        ["driver number of Great Britain", "surname, the coded date of birth, initials, 16 characters", "DVLA"],
        &[],
    ),
    entry(
        "ie_ppsn",
        "IE_PPSN",
        Context,
        IE,
        [
            "personal public service number",
            "seven digits, check letter mod 23, perhaps A, B, H, T, W or X",
            "Revenue Commissioners, Social Welfare Consolidation Act 2005",
        ],
        &["pps", "ppsn", "pps number", "pps no", "personal public service"],
    ),
    entry(
        "fr_nir",
        "FR_NIR",
        Validated,
        FR,
        [
            "French social security number",
            "15 characters with sex, month, department and a two-digit key mod 97",
            "INSEE, décret 82-103",
        ],
        &[],
    ),
    entry(
        "fr_siren",
        "FR_SIREN",
        Context,
        FR,
        ["SIREN of a company", "nine digits, Luhn", "INSEE"],
        &["siren", "numéro siren", "n° siren", "rcs"],
    ),
    entry(
        "fr_siret",
        "FR_SIRET",
        Context,
        FR,
        ["SIRET of an establishment", "14 digits, Luhn; La Poste by its own sum", "INSEE"],
        &["siret", "numéro siret", "n° siret"],
    ),
    entry(
        "nl_bsn",
        "NL_BSN",
        Context,
        NL,
        [
            "Dutch citizen service number",
            "nine digits, weights 9 to 2 and -1, mod 11",
            "Rijksdienst voor Identiteitsgegevens",
        ],
        &["bsn", "burgerservicenummer", "sofinummer", "sofi", "citizen service number"],
    ),
    entry(
        "be_nn",
        "BE_NN",
        Validated,
        BE,
        ["Belgian national number", "eleven digits with a date, mod 97", "IBZ, Rijksregister"],
        &[],
    ),
];
