//! The words of a search.

use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::model::{Moment, ValueDigest};

/// Longest query, in bytes.
const MAX_QUERY_BYTES: usize = 4096;
const FIELDS: &str =
    "subject: tenant: model: operation: decision: kind: status: since: until: rule: masked: id: trace: text:";

/// What to look for: all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub(super) terms: Vec<Term>,
    /// Nothing older than this, in µs since 1970.
    pub(super) since_us: u64,
    /// Nothing newer than this, in µs since 1970; 0 if it does not matter.
    pub(super) until_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) field: Field,
    /// Lower case; a last `*` stands for anything.
    pub(super) value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Subject,
    Tenant,
    Model,
    Operation,
    Decision,
    Kind,
    Status,
    Rule,
    Masked,
    Id,
    Trace,
    /// Was said in the masked payload.
    Text,
    /// The digest of a value that was masked; nobody writes that.
    Value,
}

impl Query {
    /// Reads terms separated by spaces: `subject: tenant: model: operation: decision: kind: status: since: until: rule: masked:
    /// id: trace: text:`. All must hold. A last `*` stands for anything, `status:4xx` for a class, `since:` and `until:` take
    /// `90s 30m 2h 7d` (ago) or an RFC 3339 time, the words of `text:` follow each other in the masked payload (a last `*` for any end of a word). A value with spaces is put
    /// into double quotes.
    ///
    /// # Errors
    /// [`EvidenceError::Malformed`] naming the term and what would be right.
    pub fn parse(text: &str) -> Result<Self, EvidenceError> {
        Self::parse_at(text, Moment::now().unix_us)
    }

    fn parse_at(text: &str, now_us: u64) -> Result<Self, EvidenceError> {
        if text.len() > MAX_QUERY_BYTES {
            return Err(EvidenceError::Malformed(format!("a query has at most {MAX_QUERY_BYTES} bytes")));
        }
        let mut query = Self::default();
        for word in words(text)? {
            let (name, value) = word.split_once(':').ok_or_else(|| {
                EvidenceError::Malformed(format!("{word:?} is not a term; use field:value with one of {FIELDS}"))
            })?;
            let field = match name {
                "since" => {
                    query.since_us = query.since_us.max(time(name, value, now_us)?);
                    continue;
                }
                "until" => {
                    query.until_us = time(name, value, now_us)?.max(1);
                    continue;
                }
                "subject" => Field::Subject,
                "tenant" => Field::Tenant,
                "operation" => Field::Operation,
                "text" => Field::Text,
                "model" => Field::Model,
                "decision" => Field::Decision,
                "kind" => Field::Kind,
                "status" => Field::Status,
                "rule" => Field::Rule,
                "masked" => Field::Masked,
                "id" => Field::Id,
                "trace" => Field::Trace,
                _ => {
                    return Err(EvidenceError::Malformed(format!("there is no field {name:?}; there are {FIELDS}")));
                }
            };
            let value = value.to_lowercase();
            if field == Field::Status && !is_status(&value) {
                let problem = format!("status:{value} is not a status; use 403, 4xx or 40*");
                return Err(EvidenceError::Malformed(problem));
            }
            query.terms.push(Term { field, value });
        }
        Ok(query)
    }

    /// What a masked value of this digest stands in.
    pub(super) fn for_value(digest: &ValueDigest) -> Self {
        Self { terms: vec![Term { field: Field::Value, value: hex::encode(digest) }], ..Self::default() }
    }

    /// Everything of a person who called.
    pub(super) fn for_person(tenant: &str, subject: &str) -> Self {
        let tenant = if tenant.is_empty() { "default" } else { tenant };
        let terms = [(Field::Subject, subject), (Field::Tenant, tenant)];
        let terms = terms.map(|(field, value)| Term { field, value: value.to_lowercase() });
        Self { terms: terms.into(), ..Self::default() }
    }

    /// The id, where just one record can match.
    pub(super) fn one_id(&self) -> Option<RecordId> {
        self.terms.iter().find(|term| term.field == Field::Id).and_then(|term| term.value.parse().ok())
    }

    pub(super) fn asks_for_text(&self) -> bool {
        self.texts().next().is_some()
    }

    /// What must stand in the payload.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().filter(|term| term.field == Field::Text).map(|term| term.value.as_str())
    }
}

impl Term {
    /// Whether a field's value is what the term asks for.
    pub(super) fn matches(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        if let Some(class) = self.value.strip_suffix("xx").filter(|_| self.field == Field::Status) {
            return value.len() == 3 && value.starts_with(class);
        }
        match self.value.strip_suffix('*') {
            Some(prefix) => value.starts_with(prefix),
            None => value == self.value,
        }
    }
}

/// Three digits, the first of them for a class, or fewer and a star.
fn is_status(value: &str) -> bool {
    let (digits, count) = match value.strip_suffix("xx") {
        Some(class) => (class, 1..=1),
        None => value.strip_suffix('*').map_or((value, 3..=3), |first| (first, 0..=3)),
    };
    count.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Splits at spaces that are not inside double quotes.
fn words(text: &str) -> Result<Vec<String>, EvidenceError> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    if quoted {
        return Err(EvidenceError::Malformed("a double quote is not closed".to_owned()));
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    Ok(words)
}

fn time(name: &str, value: &str, now_us: u64) -> Result<u64, EvidenceError> {
    let malformed = || {
        EvidenceError::Malformed(format!("{name}:{value} is not a time; use 90s, 30m, 2h, 7d or 2026-11-21T09:00:00Z"))
    };
    for (unit, seconds) in [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)] {
        if let Some(number) = value.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok()) {
            return Ok(now_us.saturating_sub(number.saturating_mul(seconds * 1_000_000)));
        }
    }
    let timestamp: jiff::Timestamp = value.parse().map_err(|_| malformed())?;
    u64::try_from(timestamp.as_microsecond()).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn terms_are_read() {
        let query = Query::parse_at("subject:alice model:\"GPT 4\" since:2h", 10_000_000_000_000).unwrap();
        assert_eq!(query.since_us, 10_000_000_000_000 - 7_200_000_000);
        assert_eq!(query.terms.len(), 2);
        assert!(query.terms[1].matches("gpt 4"));
        let status = Query::parse("status:4xx").unwrap();
        assert!(status.terms[0].matches("403") && !status.terms[0].matches("200"));
        for status in ["403", "40*", "*"] {
            assert!(Query::parse(&format!("status:{status}")).is_ok(), "{status}");
        }
        for status in ["40x", "xx", "40xx", "4", "ok", "4030", "-03", ""] {
            let error = Query::parse(&format!("status:{status}")).unwrap_err().to_string();
            assert!(error.contains("use 403, 4xx or 40*"), "{error}");
        }
        let prefix = Query::parse("rule:mask-*").unwrap();
        assert!(prefix.terms[0].matches("mask-ssn") && !prefix.terms[0].matches("deny"));
        assert_eq!(Query::parse("since:1970-01-01T00:00:01Z").unwrap().since_us, 1_000_000);
    }

    #[test]
    fn what_is_not_a_query_is_explained() {
        let error = |text| Query::parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(error("alice"), @r#""alice" is not a term; use field:value with one of subject: tenant: model: operation: decision: kind: status: since: until: rule: masked: id: trace: text:"#);
        insta::assert_snapshot!(error("user:alice"), @r#"there is no field "user"; there are subject: tenant: model: operation: decision: kind: status: since: until: rule: masked: id: trace: text:"#);
        insta::assert_snapshot!(error("since:tomorrow"), @"since:tomorrow is not a time; use 90s, 30m, 2h, 7d or 2026-11-21T09:00:00Z");
        insta::assert_snapshot!(error("subject:\"a b"), @"a double quote is not closed");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Query::parse(&text);
        }
    }
}
