//! Identifiers of Spain, Portugal, Italy and Greece.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry};

const ES: &[&str] = &["pii", "ids_es"];
const PT: &[&str] = &["pii", "ids_pt"];
const IT: &[&str] = &["pii", "ids_it"];
const GR: &[&str] = &["pii", "ids_gr"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "es_dni",
        "ES_DNI",
        Validated,
        ES,
        ["Spanish identity number", "eight digits and the letter of mod 23", "Real Decreto 1553/2005"],
        &[],
    ),
    entry(
        "es_nie",
        "ES_NIE",
        Validated,
        ES,
        [
            "Spanish foreigner's identity number",
            "X, Y or Z, seven digits and the letter of mod 23",
            "Real Decreto 557/2011",
        ],
        &[],
    ),
    entry(
        "es_cif",
        "ES_CIF",
        Context,
        ES,
        ["Spanish company tax number", "a letter, seven digits, a control digit or letter", "Orden EHA/451/2008"],
        &["cif", "nif", "c.i.f", "n.i.f", "empresa", "razón social", "identificación fiscal"],
    ),
    entry(
        "pt_nif",
        "PT_NIF",
        Context,
        PT,
        ["Portuguese tax number", "nine digits, mod 11", "Autoridade Tributária, Decreto-Lei 14/2013"],
        &["nif", "nipc", "contribuinte", "número de contribuinte", "número fiscal"],
    ),
    entry(
        "it_codice_fiscale",
        "IT_CODICE_FISCALE",
        Validated,
        IT,
        [
            "Italian tax code",
            "16 characters with name, date, municipality, and the check letter; homocodes included",
            "DM 23 dicembre 1976",
        ],
        &[],
    ),
    entry(
        "it_partita_iva",
        "IT_PARTITA_IVA",
        Context,
        IT,
        ["Italian VAT number", "eleven digits, an office code, Luhn", "Agenzia delle Entrate"],
        &["partita iva", "p.iva", "p. iva", "piva", "p.i", "partita_iva", "vat"],
    ),
    entry(
        "gr_amka",
        "GR_AMKA",
        Validated,
        GR,
        ["Greek social security number", "eleven digits with a date, Luhn", "ΗΔΙΚΑ, AMKA"],
        &[],
    ),
];
