//! What each built-in detector takes and what it leaves. All data is synthetic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::detect;

/// The part of the text that the detector's findings cover, spans joined by `|`.
fn covered(name: &str, text: &str) -> String {
    let mut spans: Vec<std::ops::Range<usize>> = Vec::new();
    for finding in detect::find(name, text).unwrap() {
        match spans.last_mut() {
            Some(last) if finding.range.start < last.end => {
                last.end = last.end.max(finding.range.end);
            }
            _ => spans.push(finding.range),
        }
    }
    let parts: Vec<&str> = spans.into_iter().map(|span| &text[span]).collect();
    parts.join("|")
}

fn check(name: &str, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(covered(name, text), *expected, "{name} in {text:?}");
        assert_eq!(detect::finds(name, text), Some(!expected.is_empty()));
    }
}

#[test]
fn credit_cards() {
    check(
        "credit_card",
        &[
            ("4111 1111 1111 1111", "4111 1111 1111 1111"),
            ("4111111111111111", "4111111111111111"),
            ("card4111111111111111x", "4111111111111111"),
            ("pay 4111-1111-1111-1111.", "4111-1111-1111-1111"),
            ("4111.1111/1111 1111", "4111.1111/1111 1111"),
            ("4111\u{a0}1111\u{a0}1111\u{a0}1111", "4111\u{a0}1111\u{a0}1111\u{a0}1111"),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
            ("**4111 1111 1111 1111**", "4111 1111 1111 1111"),
            ("12 4111 1111 1111 1111 35", "4111 1111 1111 1111"),
            ("1.4111111111111111", "4111111111111111"),
            // One of each issuer.
            ("5555 5555 5555 4444", "5555 5555 5555 4444"),
            ("2223 0031 2200 3222", "2223 0031 2200 3222"),
            ("2720 9900 0000 0007", "2720 9900 0000 0007"),
            ("3782 822463 10005", "3782 822463 10005"),
            ("6011 1111 1111 1117", "6011 1111 1111 1117"),
            ("3056 9309 0259 04", "3056 9309 0259 04"),
            ("3852 0000 0232 37", "3852 0000 0232 37"),
            ("3530 1113 3330 0000", "3530 1113 3330 0000"),
            ("6200 0000 0000 0005", "6200 0000 0000 0005"),
            ("6759 6498 2643 8453", "6759 6498 2643 8453"),
            ("2200 0000 0000 0004", "2200 0000 0000 0004"),
            ("9792 0000 0000 0003", "9792 0000 0000 0003"),
            // Luhn fails; no issuer; too long; too short; two separators; letters between.
            ("4111 1111 1111 1112", ""),
            ("1234 5678 9012 3452", ""),
            ("94111111111111111", ""),
            ("41111111111111110000000", ""),
            ("4111 1111 111", ""),
            ("4111  1111  1111  1111", ""),
            ("4111x1111x1111x1111", ""),
            ("2720 9999 9999 9999", ""),
        ],
    );
}

#[test]
fn us_social_security_numbers() {
    check(
        "us_ssn",
        &[
            ("SSN 536-22-8145.", "536-22-8145"),
            ("536 22 8145", "536 22 8145"),
            ("536\u{2011}22\u{2011}8145", "536\u{2011}22\u{2011}8145"),
            ("id536-22-8145x", "536-22-8145"),
            ("001-01-0001 665-01-0001 667-01-0001 899-99-9999", "001-01-0001|665-01-0001|667-01-0001|899-99-9999"),
            ("000-22-8145", ""),
            ("666-22-8145", ""),
            ("900-22-8145", ""),
            ("987-65-4321", ""),
            ("536-00-8145", ""),
            ("536-22-0000", ""),
            ("536228145", ""),
            ("1536-22-8145", ""),
            ("536-22-81456", ""),
            ("536--22-8145", ""),
            ("2024-01-2024", ""),
        ],
    );
}

#[test]
fn emails() {
    check(
        "email",
        &[
            ("write bob@example.com!", "bob@example.com"),
            ("<bob.smith+tag@mail.example.co.uk>", "bob.smith+tag@mail.example.co.uk"),
            ("to=o'brien@example.org.", "o'brien@example.org"),
            ("'bob@example.com'", "bob@example.com"),
            ("请联系bob@example.com谢谢", "bob@example.com"),
            ("bob@example.xn--p1ai", "bob@example.xn--p1ai"),
            ("bob@example.com1", "bob@example.com"),
            ("bob@example.com, al@example.net", "bob@example.com|al@example.net"),
            ("bob@localhost", ""),
            ("bob@example.c", ""),
            ("bob @example.com", ""),
            ("@example.com", ""),
            ("bob@.com", ""),
            ("a.b.c and 3@4", ""),
        ],
    );
}

#[test]
fn phones() {
    check(
        "phone",
        &[
            ("+14155552671", "+14155552671"),
            ("call +1 (415) 555-2671 now", "+1 (415) 555-2671"),
            ("+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
            ("+49-30-901820", "+49-30-901820"),
            ("+4721234567", "+4721234567"),
            ("(415) 555-2671", "(415) 555-2671"),
            ("(415)555-2671", "(415)555-2671"),
            ("415-555-2671", "415-555-2671"),
            ("415.555.2671", "415.555.2671"),
            ("1-415-555-2671", "1-415-555-2671"),
            ("415 555 2671x", "415 555 2671"),
            ("+123456", ""),
            ("+1234567", ""),
            ("+1234567890123456", ""),
            ("+0123456789", ""),
            ("4155552671", ""),
            ("911-555-2671", ""),
            ("115-555-2671", ""),
            ("415-055-2671", ""),
            ("415-555-26712", ""),
            ("5415-555-2671", ""),
        ],
    );
}

#[test]
fn phones_with_a_trunk_prefix() {
    let found = |text: &str| covered("phone", text);
    assert_eq!(found("phone: 0 (532) 1234567 or"), "0 (532) 1234567");
    assert_eq!(found("mobile 0(917) 123 4567."), "0(917) 123 4567");
    assert_eq!(found("at 0 (532) 1234567"), "");
    // Powers of two and fractions.
    assert_eq!(found("(-32768000, +32768000) and +33554432, +3.140000"), "");
    assert_eq!(found("+32470123456 and +33 6 12 34 56 78"), "+32470123456|+33 6 12 34 56 78");
    assert_eq!(found("call the function: 21 34 55 89 144 233"), "");
}

#[test]
fn addresses_at_the_end_of_a_sentence() {
    check(
        "ipv6",
        &[
            ("Server: 2400:c401::5054:ff:fe1b:b031.", "2400:c401::5054:ff:fe1b:b031"),
            ("2001:db8::1. Then", "2001:db8::1"),
            ("::ffff:192.0.2.1.", "::ffff:192.0.2.1"),
            ("2001:db8::1.x", ""),
        ],
    );
}

#[test]
fn keys_are_told_from_what_stands_for_them() {
    let key = "Qr5tY8uI1oP4aS7dF0gH3jK6lZ9xC2vB";
    let telegram = format!("12345:A{key}B2");
    let session = format!("_gitlab_session={}", key.to_lowercase());
    let sendgrid = format!("SG.{key}={key}ab");
    for (name, text, found) in [
        ("github_token", format!("ghp_{key}abcd"), true),
        ("github_token", format!("ghp_{}", "x".repeat(36)), false),
        ("slack_token", "xoxp-XXXXXXXXXX-XXXXXXXXXX-XXXXXXXXXXXX".to_owned(), false),
        ("slack_token", "xoxa-6-gumwk1zljql6".to_owned(), true),
        ("aws_access_key", "AKIAXXXXXXXXXXXXXXXX".to_owned(), false),
        ("huggingface_token", "hf_requiredCharacteristicTypesForDisplayMetadata".to_owned(), false),
        ("vault_token", format!("token: s.{}", &key[..24]), true),
        ("vault_token", "s.DefaultListableBeanFacto".to_owned(), false),
        ("telegram_bot_token", telegram.clone(), true),
        ("telegram_bot_token", format!("{telegram}x"), false),
        ("telegram_bot_token", "12345:AgencyIdentificationCodeContentType".to_owned(), false),
        ("gitlab_token", session, true),
        ("sendgrid_key", sendgrid, true),
        ("http_authorization", format!("Authorization: Bearer _{key}"), true),
    ] {
        assert_eq!(detect::finds(name, &text), Some(found), "{name} in {text}");
    }
}

#[test]
fn assignments_without_a_value() {
    check(
        "password",
        &[
            ("{\"password\":\"hunter22\"}", "hunter22"),
            ("api-token: Sk94HG7f6KB", "Sk94HG7f6KB"),
            ("password             = \"rootpasswd\"", "rootpasswd"),
            ("passwd=',x9]Q;'", ",x9]Q;"),
            ("FTP(user='', passwd='', acct='')", ""),
            ("getpass(prompt='Password: ', stream=None)", ""),
            ("password = ''.join(choice(words) for i in range(8))", ""),
            ("self.password = password", ""),
            ("name:passwd:uid:gid:gecos:dir:shell", ""),
        ],
    );
}

#[test]
fn hexadecimal_numbers_are_no_identifiers() {
    check("es_nie", &[("0x3153464a 0x6165676c", ""), ("X1234567L", "X1234567L")]);
}

#[test]
fn unknown_names_are_none() {
    assert_eq!(detect::finds("no_such", "x"), None);
    assert_eq!(detect::find("no_such", "x"), None);
}

#[test]
fn the_schema_names_what_is_here() {
    let built: Vec<&str> = detect::names().collect();
    assert!(policy_lang::catalogue::detectors().iter().all(|detector| built.contains(&detector.id)));
}
