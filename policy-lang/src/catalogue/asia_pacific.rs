//! Identifiers of Asia, Africa and Oceania.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry};

const IN: &[&str] = &["pii", "ids_in"];
const CN: &[&str] = &["pii", "ids_cn"];
const HK: &[&str] = &["pii", "ids_hk"];
const TW: &[&str] = &["pii", "ids_tw"];
const KR: &[&str] = &["pii", "ids_kr"];
const JP: &[&str] = &["pii", "ids_jp"];
const SG: &[&str] = &["pii", "ids_sg"];
const MY: &[&str] = &["pii", "ids_my"];
const TH: &[&str] = &["pii", "ids_th"];
const IL: &[&str] = &["pii", "ids_il"];
const AE: &[&str] = &["pii", "ids_ae"];
const ZA: &[&str] = &["pii", "ids_za"];
const AU: &[&str] = &["pii", "ids_au"];
const NZ: &[&str] = &["pii", "ids_nz"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "in_aadhaar",
        "IN_AADHAAR",
        Validated,
        IN,
        ["Aadhaar number; bare digits behind a context word", "twelve digits from 2, Verhoeff", "UIDAI"],
        &["aadhaar", "aadhar", "adhaar", "uidai", "uid", "aadhaar number", "आधार"],
    ),
    entry(
        "in_pan",
        "IN_PAN",
        Validated,
        IN,
        [
            "permanent account number",
            "five letters of which the fourth is a kind of holder, four digits, a letter",
            "Income Tax Department of India",
        ],
        &[],
    ),
    entry(
        "in_gstin",
        "IN_GSTIN",
        Validated,
        IN,
        ["goods and services tax number", "a state, a PAN, an entity, Z, check character mod 36", "GSTN"],
        &[],
    ),
    entry(
        "cn_resident_id",
        "CN_RESIDENT_ID",
        Validated,
        CN,
        [
            "Chinese resident identity number",
            "18 characters with a province and a date, ISO 7064 mod 11-2",
            "GB 11643-1999",
        ],
        &[],
    ),
    entry(
        "hk_hkid",
        "HK_HKID",
        Validated,
        HK,
        [
            "Hong Kong identity card number; without parentheses behind a context word",
            "one or two letters, six digits, check character mod 11",
            "Immigration Department of Hong Kong",
        ],
        &["hkid", "hong kong id", "身份證", "identity card", "hkid number"],
    ),
    entry(
        "tw_national_id",
        "TW_NATIONAL_ID",
        Context,
        TW,
        [
            "Taiwanese identity or residence number",
            "a letter, a digit or letter for the sex, eight digits, weighted sum mod 10",
            "Ministry of the Interior of Taiwan",
        ],
        &["身分證", "身份證", "統一編號", "national id", "taiwan id", "id number", "居留證"],
    ),
    entry(
        "kr_rrn",
        "KR_RRN",
        Validated,
        KR,
        [
            "Korean resident or foreigner registration number; bare digits behind a context word",
            "a date, a dash, sex and century; for those born before October 2020 the check digit",
            "주민등록법 시행규칙",
        ],
        &["rrn", "주민등록번호", "주민번호", "resident registration", "외국인등록번호"],
    ),
    entry(
        "jp_my_number",
        "JP_MY_NUMBER",
        Context,
        JP,
        ["Japanese individual number", "twelve digits, weighted check digit mod 11", "総務省令第85号 (2014)"],
        &["my number", "mynumber", "マイナンバー", "個人番号", "individual number", "my_number"],
    ),
    entry(
        "sg_nric",
        "SG_NRIC",
        Validated,
        SG,
        [
            "Singaporean NRIC or FIN",
            "S, T, F, G or M, seven digits, check letter mod 11",
            "Immigration & Checkpoints Authority of Singapore",
        ],
        &[],
    ),
    entry(
        "my_nric",
        "MY_NRIC",
        Validated,
        MY,
        [
            "Malaysian identity number; bare digits behind a context word",
            "a date, a dash, a state, a dash, four digits",
            "Jabatan Pendaftaran Negara",
        ],
        &["nric", "mykad", "kad pengenalan", "ic number", "ic no", "no. kp"],
    ),
    entry(
        "th_national_id",
        "TH_NATIONAL_ID",
        Validated,
        TH,
        [
            "Thai identity number; bare digits behind a context word",
            "13 digits in groups 1-4-5-2-1, mod 11",
            "Department of Provincial Administration of Thailand",
        ],
        &["thai id", "national id", "เลขประจำตัวประชาชน", "บัตรประชาชน", "citizen id"],
    ),
    entry(
        "il_id",
        "IL_ID",
        Context,
        IL,
        ["Israeli identity number", "nine digits, Luhn", "Population and Immigration Authority of Israel"],
        &["teudat zehut", "תעודת זהות", "ת.ז", "tz", "israeli id", "mispar zehut", "מספר זהות"],
    ),
    entry(
        "ae_emirates_id",
        "AE_EMIRATES_ID",
        Validated,
        AE,
        [
            "Emirates identity number",
            "784, a year, seven digits, Luhn",
            "Federal Authority for Identity and Citizenship",
        ],
        &[],
    ),
    entry(
        "za_id",
        "ZA_ID",
        Validated,
        ZA,
        ["South African identity number", "13 digits with a date, citizenship, Luhn", "Identification Act 68 of 1997"],
        &["south african id", "sa id", "id number", "identity number", "rsa id"],
    ),
    entry(
        "au_tfn",
        "AU_TFN",
        Context,
        AU,
        ["Australian tax file number", "eight or nine digits, weighted sum mod 11", "Australian Taxation Office"],
        &["tfn", "tax file", "tax file number", "tax_file_number"],
    ),
    entry(
        "au_abn",
        "AU_ABN",
        Validated,
        AU,
        [
            "Australian business number in its groups; bare digits behind a context word",
            "eleven digits, weighted sum mod 89",
            "Australian Business Register",
        ],
        &["abn", "australian business", "business number"],
    ),
    entry(
        "au_medicare",
        "AU_MEDICARE",
        Context,
        &["pii", "health", "ids_au"],
        [
            "Australian Medicare card number",
            "ten digits from 2 to 6, weighted check digit, issue number, perhaps the person",
            "Services Australia",
        ],
        &["medicare", "medicare number", "medicare card", "medicare no"],
    ),
    entry(
        "nz_ird",
        "NZ_IRD",
        Context,
        NZ,
        [
            "New Zealand tax number",
            "eight or nine digits, two sets of weights mod 11",
            "Inland Revenue, RWT and NRWT specification",
        ],
        &["ird", "ird number", "inland revenue", "tax number", "ird no"],
    ),
];
