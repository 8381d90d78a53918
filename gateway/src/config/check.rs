//! From the keys of the file to a checked [`Config`]: every value that is wrong is told, not only the first.

use super::check_identity;
use super::error::Findings;
use super::file::{At, EvidenceFile, File};
use super::limits;
use super::listen::{SizeFile, listen};
use super::notify;
use super::telemetry::telemetry;
use super::upstream::upstream;
use super::{
    CertificateTrust, Config, Durability, EvidenceConfig, Issuer, OnFailure, PolicyFacts, Upstream, parse_duration,
    parse_size,
};
use audit_shipper::Sealer;
use jiff::tz::TimeZone;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The log's name unless the file gives another.
pub(super) const DEFAULT_ORIGIN: &str = "sallyport.local";

/// Checks everything. `None` only if something was found.
pub(super) fn check(mut file: File, base: &Path, findings: &mut Findings<'_>) -> Option<Config> {
    let listen = listen(file.listen, base, findings);
    let admin = check_identity::admin(file.admin, base, findings);
    let issuers: Vec<_> =
        file.issuer.unwrap_or_default().into_iter().map(|at| check_identity::issuer(at, base, findings)).collect();
    let identity = check_identity::identity(file.identity, base, findings);
    if issuers.is_empty() && identity.api_keys.is_none() && identity.certificates == CertificateTrust::default() {
        findings.whole(
            "no [[issuer]] is configured, so no token could ever be accepted",
            "add an [[issuer]] with url and audience (or [identity] with api_keys or certificates)",
        );
    }
    let upstreams: Vec<_> = file.upstream.into_iter().map(|at| upstream(at, base, findings)).collect();
    let evidence = evidence(file.evidence, base, findings);
    let approvals = super::approvals::approvals(file.approvals, base, findings);
    if !approvals.notify.is_empty()
        && admin.as_ref().is_some_and(|admin| admin.url.is_none() && !admin.address.ip().is_loopback())
    {
        findings.whole(
            "messages about approvals carry links, but nothing says where people find the console",
            "set `url` in [admin] to its address as browsers see it",
        );
    }
    let alerts = notify::alerts(file.alerts, base, findings);
    let telemetry = telemetry(file.telemetry, base, findings);
    let limits = limits::limits(file.limits, findings);
    let sampling = limits::sampling(&mut file.policy, findings);
    let zone = match &file.policy.zone {
        None => Some(TimeZone::UTC),
        Some(at) => zone(at, findings),
    };
    let mut token_lifetime = PolicyFacts::default().token_lifetime;
    duration(file.policy.token_lifetime, &mut token_lifetime, findings);
    let issuers: Vec<Issuer> = issuers.into_iter().collect::<Option<_>>()?;
    let upstreams: Vec<Upstream> = upstreams.into_iter().collect::<Option<_>>()?;
    whole_set(&issuers, &upstreams, findings);
    Some(Config {
        data: base.join(file.data),
        listen: listen?,
        admin: admin?,
        issuers,
        identity,
        upstreams,
        policy: base.join(file.policy.path),
        facts: PolicyFacts { zone: zone?, env: file.policy.env.unwrap_or_default(), token_lifetime },
        limits,
        sampling: sampling?,
        evidence: evidence?,
        approvals,
        alerts,
        telemetry: telemetry?,
        files: Vec::new(),
    })
}

/// A zone of the IANA database, which is part of the binary.
fn zone(at: &At<String>, findings: &mut Findings<'_>) -> Option<TimeZone> {
    let zone = TimeZone::get(at.as_ref());
    if zone.is_err() {
        findings.at(
            at.span().start,
            format!("there is no time zone `{}`", at.as_ref()),
            "zones have names of the IANA database, such as Europe/Berlin or America/New_York",
        );
    }
    zone.ok()
}

/// What only shows when everything is seen together.
fn whole_set(issuers: &[Issuer], upstreams: &[Upstream], findings: &mut Findings<'_>) {
    let mut seen = HashSet::new();
    for issuer in issuers {
        if !seen.insert(issuer.url.as_str()) {
            findings.whole(
                format!("the issuer {} stands there twice", issuer.url),
                "keep one; `audience` takes several values",
            );
        }
    }
    let (mut names, mut taken) = (HashSet::new(), HashSet::new());
    for upstream in upstreams {
        if !names.insert(upstream.name.as_str()) {
            findings.whole(format!("two upstreams have the name `{}`", upstream.name), "give each its own name");
        }
        for model in upstream.matches.models.iter().map(Some).chain(upstream.matches.models.is_empty().then_some(None))
        {
            if !taken.insert((&upstream.matches.path, &upstream.matches.host, model)) {
                findings.whole(
                    format!("two upstreams match the same calls, path `{}`", upstream.matches.path),
                    "tell them apart by `match`, or put the endpoints into one upstream",
                );
            }
        }
    }
    if upstreams.is_empty() {
        findings.whole("no [[upstream]] is configured", "add an [[upstream]] with name and endpoints");
    }
}

fn evidence(file: Option<EvidenceFile>, base: &Path, findings: &mut Findings<'_>) -> Option<EvidenceConfig> {
    let Some(file) = file else { return Some(EvidenceConfig::default()) };
    let origin = match file.origin {
        None => DEFAULT_ORIGIN.to_owned(),
        Some(at) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
            if at.as_ref().is_empty() || !at.as_ref().bytes().all(plain) || at.as_ref().contains("..") {
                findings.at(
                    at.span().start,
                    format!("`{}` cannot be the name of a log", at.as_ref()),
                    "write a host and a path without scheme, such as \"gw.example.com/ai\"",
                );
            }
            at.into_inner()
        }
    };
    let durability = word(
        file.durability.as_ref(),
        &[("strict", Durability::Strict), ("crash", Durability::Crash), ("observe", Durability::Observe)],
        findings,
    )?;
    let on_failure =
        word(file.on_failure.as_ref(), &[("refuse", OnFailure::Refuse), ("continue", OnFailure::Continue)], findings)?;
    let mut key_file = |at: Option<At<String>>| -> Option<PathBuf> {
        let at = at?;
        let Some(path) = at.as_ref().strip_prefix("file:") else {
            findings.at(at.span().start, "keys are never written into this file", "write \"file:PATH\"");
            return None;
        };
        Some(base.join(path))
    };
    let (key, keystore) = (key_file(file.key), key_file(file.keystore));
    let retain = file.retain.map(|at| {
        let mut retain = Duration::ZERO;
        duration(Some(at), &mut retain, findings);
        retain
    });
    if let Some(at) = &file.seal_to
        && let Err(error) = Sealer::new(at.as_ref().iter().map(String::as_str))
    {
        findings.at(
            at.span().start,
            error.to_string(),
            "write public keys such as [\"age1…\"]; `age-keygen` makes a key",
        );
    }
    Some(EvidenceConfig {
        origin,
        durability,
        on_failure,
        key,
        keystore,
        retain,
        seal_to: file.seal_to.map(At::into_inner).unwrap_or_default(),
        public_log: match &file.public_log {
            Some(at) => Some(address(at, findings)?),
            None => None,
        },
        index_text: file.index_text.unwrap_or_default(),
        index_values: file.index_values.unwrap_or_default(),
    })
}

/// One of a few words; its default if nothing is written.
pub(super) fn word<T: Copy + Default>(
    at: Option<&At<String>>,
    words: &[(&str, T)],
    findings: &mut Findings<'_>,
) -> Option<T> {
    let Some(at) = at else { return Some(T::default()) };
    if let Some((_, value)) = words.iter().find(|(word, _)| word == at.as_ref()) {
        return Some(*value);
    }
    let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    findings.at(
        at.span().start,
        format!("unknown value `{}`", at.as_ref()),
        format!("write one of {}", known.join(", ")),
    );
    None
}

pub(super) fn address(at: &At<String>, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    let address = at.as_ref().parse().ok();
    if address.is_none() {
        findings.at(
            at.span().start,
            format!("`{}` is not an address to listen on", at.as_ref()),
            "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
        );
    }
    address
}

pub(super) fn http_url(at: &At<String>, findings: &mut Findings<'_>) -> Option<String> {
    let url = at.as_ref();
    let good = reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !good {
        findings.at(at.span().start, format!("`{url}` is not a URL"), "write https://HOST/PATH");
        return None;
    }
    Some(url.clone())
}

pub(super) fn path(at: At<String>, findings: &mut Findings<'_>) -> String {
    if !at.as_ref().starts_with('/') {
        findings.at(
            at.span().start,
            format!("`{}` is not a path", at.as_ref()),
            "begin it with a slash, such as \"/v1/\"",
        );
    }
    at.into_inner()
}

pub(super) fn duration(at: Option<At<String>>, slot: &mut Duration, findings: &mut Findings<'_>) {
    let Some(at) = at else { return };
    match parse_duration(at.as_ref()) {
        Ok(duration) => *slot = duration,
        Err(message) => findings.at(at.span().start, message, "write a duration such as \"30s\""),
    }
}

pub(super) fn size(
    at: Option<At<SizeFile>>,
    range: RangeInclusive<usize>,
    slot: &mut usize,
    findings: &mut Findings<'_>,
) {
    let Some(at) = at else { return };
    let size = match at.as_ref() {
        SizeFile::Bytes(bytes) => usize::try_from(*bytes).map_err(|_| format!("`{bytes}` is not a size")),
        SizeFile::Text(text) => parse_size(text),
    };
    match size {
        Ok(size) if range.contains(&size) => *slot = size,
        Ok(size) => findings.at(
            at.span().start,
            format!("{size} bytes is out of range"),
            format!("write a size from {} to {} bytes", range.start(), range.end()),
        ),
        Err(message) => findings.at(at.span().start, message, "write a size such as \"32KiB\""),
    }
}

pub(super) fn number(at: Option<At<i64>>, range: RangeInclusive<i64>, slot: &mut usize, findings: &mut Findings<'_>) {
    let Some(at) = at else { return };
    match usize::try_from(*at.as_ref()) {
        Ok(number) if range.contains(at.as_ref()) => *slot = number,
        _ => findings.at(
            at.span().start,
            format!("{} is out of range", at.as_ref()),
            format!("write a number from {} to {}", range.start(), range.end()),
        ),
    }
}
