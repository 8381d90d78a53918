//! Identifiers of the United States.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry};

const US: &[&str] = &["pii", "ids_us"];

pub(super) const DETECTORS: &[Detector] = &[
    entry(
        "us_ssn",
        "US_SSN",
        Validated,
        US,
        [
            "social security number; bare digits behind a context word",
            "area not 000, 666, 9xx; group not 00; serial not 0000; no number that advertising used up",
            "SSA, POMS RM 10201",
        ],
        &[
            "ssn",
            "ssns",
            "ss#",
            "ssn#",
            "social security",
            "social security number",
            "social security no",
            "social_security_number",
            "soc sec",
            "social",
            "us_ssn",
        ],
    ),
    entry(
        "us_itin",
        "US_ITIN",
        Validated,
        US,
        [
            "individual taxpayer identification number; bare digits behind a context word",
            "9xx, group 50-65, 70-88, 90-92, 94-99",
            "IRS publication 1915",
        ],
        &["itin", "taxpayer", "individual taxpayer", "tax id", "tax_id", "taxpayer id", "tin"],
    ),
    entry(
        "us_ein",
        "US_EIN",
        Context,
        US,
        [
            "employer identification number",
            "a prefix that the IRS assigns and seven digits",
            "IRS, how EINs are assigned",
        ],
        &[
            "ein",
            "fein",
            "employer identification",
            "employer id",
            "federal tax id",
            "tax id",
            "employer_id",
            "federal id",
        ],
    ),
    entry(
        "us_passport",
        "US_PASSPORT",
        Context,
        US,
        ["US passport number", "nine digits or a letter and eight", "US Department of State"],
        &[
            "passport",
            "passport number",
            "passport no",
            "passport #",
            "passport_number",
            "passport_no",
            "travel document",
        ],
    ),
    entry(
        "us_driver_license",
        "US_DRIVER_LICENSE",
        Context,
        US,
        [
            "driver licence number of a US state",
            "the shape of some state: up to three letters and digits, 5 to 14 in all, or Washington's",
            "AAMVA, state formats",
        ],
        &[
            "driver license",
            "drivers license",
            "driver's license",
            "driver licence",
            "driving license",
            "license number",
            "dl",
            "dl#",
            "dln",
            "dl number",
            "driver_license",
            "drivers_license",
            "license no",
        ],
    ),
];
