//! Identifiers of Canada and Latin America.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry};

const CA: &[&str] = &["pii", "ids_ca"];
const BR: &[&str] = &["pii", "ids_br"];
const MX: &[&str] = &["pii", "ids_mx"];
const CL: &[&str] = &["pii", "ids_cl"];
const AR: &[&str] = &["pii", "ids_ar"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "ca_sin",
        "CA_SIN",
        Context,
        CA,
        [
            "Canadian social insurance number",
            "nine digits, not 0 or 8 in front, Luhn",
            "Employment and Social Development Canada",
        ],
        &["sin", "social insurance", "social insurance number", "nas", "assurance sociale", "sin number"],
    ),
    entry(
        "br_cpf",
        "BR_CPF",
        Validated,
        BR,
        [
            "Brazilian personal tax number; bare digits behind a context word",
            "eleven digits, not all alike, two check digits mod 11",
            "Receita Federal, IN RFB 2172/2024",
        ],
        &["cpf", "cadastro de pessoas", "cpf/mf", "contribuinte"],
    ),
    entry(
        "br_cnpj",
        "BR_CNPJ",
        Validated,
        BR,
        [
            "Brazilian company tax number; bare digits behind a context word",
            "14 digits, two check digits mod 11",
            "Receita Federal, IN RFB 2119/2022",
        ],
        &["cnpj", "cadastro nacional", "cnpj/mf"],
    ),
    entry(
        "mx_curp",
        "MX_CURP",
        Validated,
        MX,
        [
            "Mexican population registry code",
            "18 characters with name, date, sex, state, and the check digit",
            "RENAPO, Instructivo normativo CURP",
        ],
        &[],
    ),
    entry(
        "mx_rfc",
        "MX_RFC",
        Validated,
        MX,
        [
            "Mexican tax code of a person; of a company behind a context word",
            "letters, a date, a homoclave whose last character is the check",
            "SAT, Anexo III",
        ],
        &["rfc", "registro federal", "registro federal de contribuyentes"],
    ),
    entry(
        "cl_rut",
        "CL_RUT",
        Validated,
        CL,
        [
            "Chilean RUT or RUN; without dots behind a context word",
            "seven or eight digits, a dash, check character mod 11",
            "Servicio de Impuestos Internos",
        ],
        &["rut", "run", "r.u.t", "rol único"],
    ),
    entry(
        "ar_cuit",
        "AR_CUIT",
        Validated,
        AR,
        [
            "Argentine CUIT or CUIL; bare digits behind a context word",
            "a type prefix, eight digits, check digit mod 11",
            "AFIP, RG 10/1997",
        ],
        &["cuit", "cuil", "clave única"],
    ),
];
