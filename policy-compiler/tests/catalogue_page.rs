//! docs/detectors.md says what the catalogue says. `UPDATE_DOCS=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::detect;
use policy_lang::catalogue::{detectors, families, family};
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- from the catalogue -->";
const END: &str = "<!-- end of the catalogue -->";

/// Ways to write a value so that people read it and a pattern does not, with what Presidio 2.2 (pattern recognisers only) makes of them.
const EVASIONS: &[(&str, &str, &str)] = &[
    ("credit_card", "4111.1111.1111.1111", "dots"),
    ("credit_card", "4111/1111/1111/1111", "slashes"),
    ("credit_card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "digit by digit"),
    ("credit_card", "4111\u{a0}1111\u{a0}1111\u{a0}1111", "no-break spaces"),
    ("credit_card", "4111–1111–1111–1111", "en dashes"),
    ("credit_card", "4111\u{200b}1111\u{200b}1111\u{200b}1111", "zero-width spaces"),
    ("credit_card", "4111\u{ad}1111\u{ad}1111\u{ad}1111", "soft hyphens"),
    ("credit_card", "４１１１ １１１１ １１１１ １１１１", "full-width digits"),
    ("credit_card", "٤١١١ ١١١١ ١١١١ ١١١١", "Arabic-Indic digits"),
    ("credit_card", "𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏", "mathematical digits"),
    ("credit_card", "\\u0034111111111111111", "backslash escape"),
    ("credit_card", "%34111111111111111", "percent"),
    ("credit_card", "&#52;111111111111111", "HTML entity"),
    ("credit_card", "card4111111111111111x", "glued letters"),
    ("credit_card", "**4111 1111 1111 1111**", "Markdown"),
    ("credit_card", "2223 0031 2200 3222", "a new range (Mastercard 2-series)"),
    ("credit_card", "2200 0000 0000 0004", "a new range (Mir)"),
    ("credit_card", "9792 0000 0000 0003", "a new range (Troy)"),
    ("us_ssn", "536/22/8145", "slashes"),
    ("us_ssn", "536_22_8145", "underscores"),
    ("us_ssn", "536‑22‑8145", "non-breaking hyphens"),
    ("us_ssn", "536\u{200d}-22-8145", "zero-width joiner"),
    ("us_ssn", "５３６-２２-８１４５", "full-width digits"),
    ("us_ssn", "536&ndash;22&ndash;8145", "HTML entities"),
    ("us_ssn", "536%2D22%2D8145", "percent"),
    ("us_ssn", "ssn:536228145", "bare digits behind a word"),
    ("email", "bob＠example.com", "full-width @"),
    ("email", "bob@example。com", "ideographic full stop"),
    ("email", "bob%40example.com", "percent"),
    ("email", "bob&commat;example&period;com", "HTML entities"),
    ("email", "bob\u{200b}@example.com", "zero-width space"),
    ("email", "bob@example.com谢谢", "glued letters"),
    ("iban", "DE89-3704-0044-0532-0130-00", "dashes"),
    ("iban", "ＤＥ89 3704 0044 0532 0130 00", "full-width letters"),
    ("ipv4", "192。168。12。34", "ideographic full stops"),
    ("phone", "+1\u{2009}415\u{2009}555\u{2009}2671", "thin spaces"),
];

fn table() -> String {
    let mut page = String::new();
    writeln!(page, "## The catalogue\n\n{} detectors in {} families.\n", detectors().len(), families().len()).unwrap();
    writeln!(page, "| name | tier | finds | check | `last4` | source |\n|---|---|---|---|---|---|").unwrap();
    for detector in detectors() {
        let last4 = if detector.takes_last4() { "yes" } else { "label instead" };
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {last4} | {} |",
            detector.id,
            detector.tier.letter(),
            detector.about,
            detector.check,
            detector.source
        )
        .unwrap();
    }
    writeln!(page, "\n### Families\n\n| family | detectors |\n|---|---|").unwrap();
    for name in families() {
        let members: Vec<String> = family(name).unwrap().iter().map(|detector| format!("`{}`", detector.id)).collect();
        writeln!(page, "| `{name}` | {} |", members.join(" ")).unwrap();
    }
    writeln!(page, "\n### Context words\n\n| detector | words |\n|---|---|").unwrap();
    for detector in detectors().iter().filter(|detector| !detector.context.is_empty()) {
        writeln!(page, "| `{}` | {} |", detector.id, detector.context.join(", ")).unwrap();
    }
    page
}

fn evasions() -> String {
    let mut page = String::from(
        "## Evasions\n\nEach of these is found; a test holds it.\n\n| detector | how it is written |\n|---|---|\n",
    );
    for (detector, _, how) in EVASIONS {
        writeln!(page, "| `{detector}` | {how} |").unwrap();
    }
    page
}

#[test]
fn the_page_says_what_the_catalogue_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/detectors.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the page has the mark where the catalogue begins");
    let (_, tail) = rest.split_once(END).expect("the page has the mark where the catalogue ends");
    let wanted = format!("{head}{BEGIN}\n\n{}\n{}\n{END}{tail}", table(), evasions());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/detectors.md is not what the catalogue says: run this test with UPDATE_DOCS=1");
    }
}

#[test]
fn evasions_are_found() {
    for (detector, text, how) in EVASIONS {
        let found = detect::find(detector, text).unwrap();
        assert!(!found.is_empty(), "{detector} by {how}: {text}");
        let in_text = format!("it is {text}, I think");
        assert!(!detect::find(detector, &in_text).unwrap().is_empty(), "{detector} by {how}: {in_text}");
    }
}
