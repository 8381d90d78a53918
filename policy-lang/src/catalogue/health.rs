//! Health care.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry, open_ended};

const H: &[&str] = &["pii", "health"];
const H_US: &[&str] = &["pii", "health", "ids_us"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "us_mbi",
        "US_MBI",
        Validated,
        H_US,
        [
            "Medicare beneficiary identifier; without dashes behind a context word",
            "the eleven positions of the CMS shape",
            "CMS, understanding the MBI format",
        ],
        &["mbi", "medicare", "medicare number", "medicare id", "beneficiary", "beneficiary id", "medicare_id"],
    ),
    entry(
        "us_npi",
        "US_NPI",
        Context,
        H_US,
        [
            "national provider identifier",
            "ten digits that begin with 1 or 2, Luhn over 80840 and them",
            "45 CFR 162.406, CMS",
        ],
        &["npi", "national provider", "provider id", "provider identifier", "npi number", "provider_npi"],
    ),
    entry(
        "us_dea",
        "US_DEA",
        Context,
        H_US,
        [
            "DEA registration number",
            "two letters, seven digits, the weighted sum",
            "21 CFR 1301, DEA Diversion Control",
        ],
        &["dea", "dea number", "dea no", "dea #", "dea registration", "dea_number", "prescriber"],
    ),
    open_ended(entry(
        "medical_record_number",
        "MEDICAL_RECORD_NUMBER",
        Context,
        H,
        [
            "medical record number",
            "4 to 16 letters and digits with at least three digits",
            "HIPAA 45 CFR 164.514(b)(2)(i)(H)",
        ],
        &[
            "mrn",
            "medical record",
            "medical record number",
            "medical record no",
            "patient id",
            "patient number",
            "patient no",
            "chart number",
            "medical_record_number",
            "patient_id",
            "hospital number",
        ],
    )),
    entry(
        "health_insurance_id",
        "HEALTH_INSURANCE_ID",
        Context,
        H,
        [
            "health plan member number",
            "6 to 20 letters and digits with at least four digits",
            "HIPAA 45 CFR 164.514(b)(2)(i)(I)",
        ],
        &[
            "member id",
            "insurance id",
            "insurance number",
            "health insurance",
            "subscriber id",
            "subscriber number",
            "policy number",
            "group number",
            "member number",
            "medicaid",
            "health plan",
            "member_id",
            "insurance_id",
            "subscriber_id",
        ],
    ),
    open_ended(entry(
        "icd10",
        "ICD10",
        Context,
        H,
        [
            "diagnosis code of ICD-10-CM",
            "a letter, a digit, a letter or digit, and up to four more behind a dot",
            "CDC/NCHS, ICD-10-CM",
        ],
        &[
            "icd",
            "icd10",
            "icd-10",
            "icd-10-cm",
            "diagnosis",
            "diagnoses",
            "dx",
            "diagnosis code",
            "diagnosed",
            "diagnosis_code",
            "icd_code",
            "icd10_code",
        ],
    )),
];
