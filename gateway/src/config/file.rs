//! The file itself: its keys as they are written, and the way from there to a checked [`Config`].

use super::check;
use super::error::Findings;
use super::{Config, ConfigErrors};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;

/// Bytes of the longest configuration that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads and checks a file. Relative paths in it are relative to where the file lies.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let whole = |message: String, help: &str| {
        let mut findings = Findings::new(path, "");
        findings.whole(message, help);
        findings.finish(None)
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return whole("is larger than 1 MiB".to_owned(), "name a configuration file with --config");
        }
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) => whole(format!("cannot be read: {error}"), "name a readable file with --config"),
    }
}

/// Checks a text as [`load`] does; `path` stands in the errors and is what relative paths are relative to.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let mut findings = Findings::new(path, text);
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            let (message, help) = explain(error.message());
            findings.at(error.span().map_or(0, |span| span.start), message, help);
            return findings.finish(None);
        }
    };
    let base = path.parent().unwrap_or(Path::new("."));
    let config = check::check(file, base, &mut findings);
    findings.finish(config)
}

/// The parser's words, and what to do about them.
fn explain(message: &str) -> (String, String) {
    let message = message.lines().next().unwrap_or_default();
    let quoted =
        |after: &str| message.split_once(after).and_then(|(_, rest)| rest.split('`').nth(1)).map(str::to_owned);
    if let Some(key) = quoted("unknown field") {
        let known: Vec<&str> =
            message.split_once("expected").map_or("", |(_, list)| list).split('`').skip(1).step_by(2).collect();
        let help = match known.as_slice() {
            [] => "remove it".to_owned(),
            _ => match closest(&key, &known) {
                Some(near) => format!("did you mean `{near}`? The keys here are: {}", known.join(", ")),
                None => format!("the keys here are: {}", known.join(", ")),
            },
        };
        return (format!("unknown key `{key}`"), help);
    }
    if let Some(key) = quoted("missing field") {
        return (
            format!("the key `{key}` is missing"),
            format!("add `{key} = …`; examples/sallyport.toml shows every key"),
        );
    }
    (message.to_owned(), "correct the value; examples/sallyport.toml shows every key".to_owned())
}

/// The known key that differs by at most two letters.
fn closest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().map(|own| (distance(key, own), *own)).filter(|(distance, _)| *distance <= 2).min().map(|(_, own)| own)
}

/// Levenshtein distance; keys are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.bytes().zip(row.windows(2)) {
            let (diagonal, above) = (pair.first().copied().unwrap_or(0), pair.last().copied().unwrap_or(0));
            let left = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(x != y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// A value and where it stands.
pub(super) type At<T> = Spanned<T>;

/// `sallyport.toml` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) data: String,
    pub(super) listen: ListenFile,
    pub(super) admin: Option<AdminFile>,
    pub(super) issuer: Option<Vec<At<IssuerFile>>>,
    pub(super) upstream: Vec<At<UpstreamFile>>,
    pub(super) policy: PolicyFile,
    pub(super) evidence: Option<EvidenceFile>,
    pub(super) approvals: Option<ApprovalsFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenFile {
    pub(super) address: At<String>,
    pub(super) cores: Option<At<i64>>,
    pub(super) limits: Option<LimitsFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsFile {
    pub(super) head_bytes: Option<At<SizeFile>>,
    pub(super) head_fields: Option<At<i64>>,
    pub(super) head_timeout: Option<At<String>>,
    pub(super) body_inspected_bytes: Option<At<SizeFile>>,
    pub(super) body_timeout: Option<At<String>>,
    pub(super) idle_keepalive: Option<At<String>>,
    pub(super) upstream_idle: Option<At<String>>,
    pub(super) connections_per_core: Option<At<i64>>,
    pub(super) connect: Option<At<String>>,
    pub(super) first_byte: Option<At<String>>,
    pub(super) stream_idle: Option<At<String>>,
    pub(super) drain: Option<At<String>>,
}

/// A size: bytes, or a text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SizeFile {
    Bytes(i64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminFile {
    pub(super) address: At<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerFile {
    pub(super) url: At<String>,
    pub(super) audience: At<Vec<String>>,
    pub(super) groups_claim: Option<String>,
    pub(super) tenant_claim: Option<String>,
    pub(super) jwks: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamFile {
    pub(super) name: At<String>,
    pub(super) endpoints: At<Vec<At<String>>>,
    #[serde(rename = "match")]
    pub(super) matches: Option<MatchFile>,
    pub(super) opaque: Option<Vec<At<String>>>,
    pub(super) credential: Option<CredentialFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MatchFile {
    pub(super) path: At<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialFile {
    pub(super) header: At<String>,
    pub(super) value: At<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) path: String,
    pub(super) zone: Option<At<String>>,
    pub(super) env: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceFile {
    pub(super) origin: Option<At<String>>,
    pub(super) durability: Option<At<String>>,
    pub(super) on_failure: Option<At<String>>,
    pub(super) key: Option<At<String>>,
    pub(super) keystore: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalsFile {
    pub(super) hold: Option<At<String>>,
}
