//! The file itself: its keys as they are written, and the way from there to a checked [`Config`].

use super::check;
use super::error::Findings;
use super::file_identity::{AdminFile, IdentityFile, IssuerFile};
use super::limits::RateLimitsFile;
use super::listen::ListenFile;
use super::notify::AlertsFile;
pub(super) use super::table::At;
use super::table::table;
use super::telemetry::TelemetryFile;
use super::upstream::UpstreamFile;
use super::{Config, ConfigErrors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    let mut config = findings.finish(config)?;
    config.files = files(path, base, text, &config);
    Ok(config)
}

/// The file itself, certificates and keys, and every `file:PATH` in it.
fn files(path: &Path, base: &Path, text: &str, config: &Config) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    if let Ok(table) = text.parse::<toml::Table>() {
        let mut values: Vec<&toml::Value> = table.values().collect();
        while let Some(value) = values.pop() {
            match value {
                toml::Value::String(text) => files.extend(text.strip_prefix("file:").map(|path| base.join(path))),
                toml::Value::Array(inner) => values.extend(inner),
                toml::Value::Table(inner) => values.extend(inner.values()),
                _ => {}
            }
        }
    }
    if let Some(tls) = &config.listen.tls {
        files.extend(tls.files.pairs.iter().flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]));
        files.extend(tls.files.client_ca.clone());
    }
    for tls in config.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref()) {
        files.extend(tls.files.pair.iter().flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]));
        files.extend(tls.files.ca.clone());
    }
    files.sort();
    files.dedup();
    files
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

table! {
    /// The whole file. Relative paths are relative to it. Unknown keys are errors.
    File = "the file itself" {
        /// Where evidence, keys and pending work lie. Read at start-up only.
        data: String = "path", "required";
        /// Where callers connect.
        listen: ListenFile = "table", "required";
        /// Where operators connect.
        admin: Option<AdminFile> = "table", "the loopback";
        /// Whose tokens are accepted.
        issuer: Option<Vec<At<IssuerFile>>> = "list of tables", "required, unless `[identity]` says who may call";
        /// What concerns every caller.
        identity: Option<IdentityFile> = "table", "every default";
        /// Where calls go.
        upstream: Vec<At<UpstreamFile>> = "list of tables", "required";
        /// What is allowed.
        policy: PolicyFile = "table", "required";
        /// How rate limits of policies are counted.
        limits: Option<RateLimitsFile> = "table", "every default";
        /// The log.
        evidence: Option<EvidenceFile> = "table", "every default";
        /// Calls that wait for people.
        approvals: Option<super::approvals::ApprovalsFile> = "table", "every default";
        /// When people are alerted, and how.
        alerts: Option<AlertsFile> = "table", "callers are not watched, nobody is told";
        /// What is told of calls besides the evidence.
        telemetry: Option<TelemetryFile> = "table", "nothing";
    }
}

table! {
    /// The policy set. Its files are watched, and activated as soon as they are good.
    PolicyFile = "[policy]" {
        /// One `.policy` file, or a directory: every `*.policy` below it is one set. Read at start-up only.
        path: String = "path", "required";
        /// The zone in which policies see the time, such as `Europe/Berlin`. Read at start-up only.
        zone: Option<At<String>> = "zone", "UTC";
        /// What policies see as `env.NAME`. Read at start-up only.
        env: Option<BTreeMap<String, String>> = "table of texts", "–";
        /// One call in so many on each core is judged by the interpreter, too, to check native code; 0 is none. Read at start-up only.
        check_one_in: Option<At<i64>> = "number", "1024";
        /// What happens when the two differ, besides an alert: `interpret` lets the interpreter judge every further call of that policy set, `warn` goes on. Read at start-up only.
        on_divergence: Option<At<String>> = "word", "interpret";
        /// So long after a caller last used one, the placeholders of `as token` can be put back in answers. Read at start-up only.
        token_lifetime: Option<At<String>> = "duration", "1h";
    }
}

table! {
    /// The log. Read at start-up only.
    EvidenceFile = "[evidence]" {
        /// The log's name; give each gateway its own.
        origin: Option<At<String>> = "host/path", "sallyport.local";
        /// What an acknowledged record survives: `strict` a power cut, `crash` the end of the process, `observe` nothing.
        durability: Option<At<String>> = "word", "strict";
        /// What happens when it cannot be written: `refuse` refuses calls, `continue` lets them pass unrecorded and counts them.
        on_failure: Option<At<String>> = "word", "refuse";
        /// The log's signing key: `file:PATH`.
        key: Option<At<String>> = "file", "made in the data directory";
        /// The key of the keystore: `file:PATH`.
        keystore: Option<At<String>> = "file", "made in the data directory";
        /// How long records are kept that no policy says otherwise of (`retain`): then the keys of their encrypted parts are destroyed, at the end of a month's records; proofs stay.
        retain: Option<At<String>> = "duration", "for ever";
        /// The age recipients (`age1…`) that originals are sealed to where the policy says `seal`; their private keys belong elsewhere.
        seal_to: Option<At<Vec<String>>> = "list of keys", "–";
        /// An address where everybody may read the public part of the log, checkpoints and tiles of hashes, under `/log/`.
        public_log: Option<At<String>> = "address", "–";
        /// Index what was said, masked, so that `text:` is found at once; the index then holds keyed digests of its words.
        index_text: Option<bool> = "boolean", "false";
        /// Keep keyed digests of masked values, so that `audit dsar --value` finds calls about a person who is not the caller.
        index_values: Option<bool> = "boolean", "false";
    }
}

/// Every table, in the order of the documentation.
#[cfg(test)]
pub(super) const TABLES: [super::table::Table; 34] = [
    File::TABLE,
    ListenFile::TABLE,
    super::listen::ListenTlsFile::TABLE,
    super::listen::PairFile::TABLE,
    super::listen::LimitsFile::TABLE,
    AdminFile::TABLE,
    super::file_identity::LoginFile::TABLE,
    super::file_identity::RolesFile::TABLE,
    IssuerFile::TABLE,
    super::file_identity::IntrospectionFile::TABLE,
    IdentityFile::TABLE,
    super::file_identity::PurposeFile::TABLE,
    super::file_identity::CertificatesFile::TABLE,
    super::file_identity::CertificateGroupsFile::TABLE,
    UpstreamFile::TABLE,
    super::upstream::MatchFile::TABLE,
    super::upstream::RouteFile::TABLE,
    super::file_identity::CredentialFile::TABLE,
    super::file_identity::ClientCredentialsFile::TABLE,
    super::upstream::UpstreamTlsFile::TABLE,
    super::upstream::HealthFile::TABLE,
    super::upstream::TimeoutsFile::TABLE,
    super::upstream::UpstreamLimitsFile::TABLE,
    super::upstream::EjectionFile::TABLE,
    super::upstream::RetriesFile::TABLE,
    PolicyFile::TABLE,
    RateLimitsFile::TABLE,
    EvidenceFile::TABLE,
    super::approvals::ApprovalsFile::TABLE,
    super::notify::SlackAppFile::TABLE,
    super::notify::SlackUserFile::TABLE,
    AlertsFile::TABLE,
    super::notify::NotifyFile::TABLE,
    TelemetryFile::TABLE,
];
