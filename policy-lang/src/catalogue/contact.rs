//! Ways to reach a person, and what describes one.

use super::DetectorTier::{Context, OptIn, Validated};
use super::{Detector, entry, open_ended};

const C: &[&str] = &["pii", "contact"];
const PERSON: &[&str] = &["pii", "demographic"];

pub(super) const DETECTORS: &[Detector] = &[
    open_ended(entry(
        "email",
        "EMAIL",
        Validated,
        C,
        [
            "e-mail address, internationalised ones included",
            "lengths, a dotted domain, a top-level domain that exists",
            "RFC 5321, RFC 6531, IANA root zone",
        ],
        &[],
    )),
    entry(
        "phone",
        "PHONE",
        Validated,
        C,
        [
            "phone number: international with +, or North American with separators; other national forms behind a context word",
            "a country calling code that is assigned and its length; area code and exchange of the NANP",
            "ITU-T E.164, NANPA",
        ],
        &[
            "phone",
            "tel",
            "telephone",
            "mobile",
            "cell",
            "fax",
            "call",
            "contact",
            "whatsapp",
            "sms",
            "phone number",
            "handy",
            "telefon",
            "teléfono",
            "telefono",
            "téléphone",
            "móvil",
            "cellulare",
            "phone_number",
            "mobile_number",
        ],
    ),
    open_ended(entry(
        "date_of_birth",
        "DATE_OF_BIRTH",
        Context,
        PERSON,
        [
            "date of birth",
            "a possible date of the years 1900 to 2029, numeric or with the name of the month",
            "ISO 8601 and national usage",
        ],
        &[
            "dob",
            "d.o.b",
            "date of birth",
            "birth date",
            "birthdate",
            "birthday",
            "born",
            "born on",
            "date_of_birth",
            "birth_date",
            "dateofbirth",
            "geburtsdatum",
            "geboren",
            "fecha de nacimiento",
            "date de naissance",
            "data di nascita",
        ],
    )),
    open_ended(entry(
        "age",
        "AGE",
        Context,
        PERSON,
        ["age of a person", "1 to 120", "HIPAA 45 CFR 164.514(b)(2)(i)(C)"],
        &["age", "aged", "age:", "years old", "alter", "edad"],
    )),
    open_ended(entry(
        "us_zip",
        "US_ZIP",
        Context,
        &["pii", "contact", "ids_us"],
        ["US ZIP code, with or without +4", "five digits, not 00000, or five and four", "USPS publication 28"],
        &["zip", "zip code", "zipcode", "postal code", "postcode", "zip_code", "postal_code"],
    )),
    open_ended(entry(
        "uk_postcode",
        "UK_POSTCODE",
        OptIn,
        &["location"],
        [
            "UK postcode",
            "the six outward shapes and a digit with two letters, without C I K M O V",
            "BS 7666, Royal Mail PAF digest",
        ],
        &[],
    )),
    open_ended(entry(
        "geo_coordinates",
        "GEO_COORDINATES",
        OptIn,
        &["location"],
        [
            "latitude and longitude in decimal degrees",
            "two numbers with at least four decimals, within ±90 and ±180",
            "ISO 6709",
        ],
        &[],
    )),
];
