//! Groups of model servers: which calls they get, how they are reached, watched and spared.

use super::check::{duration, number, path};
use super::check_identity::credential;
use super::error::Findings;
use super::file_identity::CredentialFile;
use super::listen::{Limits, pair, pem_path};
use super::table::{At, table};
use super::{Credential, Dialect};
use crate::tls::client::{ClientFiles, server_name};
use rustls::pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A group of model servers that serve the same models.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name, as policies see it in `upstream`.
    pub name: String,
    /// Its servers.
    pub endpoints: Vec<Endpoint>,
    /// The calls that it gets.
    pub matches: Match,
    /// Which APIs it speaks.
    pub dialect: Dialect,
    /// Whether the count of tokens is asked for in streams whose caller did not; it is taken out again.
    pub count_tokens: bool,
    /// Exact paths that may pass although no dialect knows them: unread, unmasked, recorded as opaque.
    pub opaque: Vec<String>,
    /// What is presented to the servers in place of the caller's token.
    pub credential: Option<Credential>,
    /// TLS to the servers; there if an endpoint is https.
    pub tls: Option<UpstreamTls>,
    /// Active health checks; without them only calls show how a server is.
    pub health: Option<Health>,
    /// Time-outs that differ from those of the listener.
    pub timeouts: Timeouts,
    /// What it may be burdened with.
    pub limits: UpstreamLimits,
    /// When a server is left alone for a while.
    pub ejection: Ejection,
    /// How often a call that never reached a server is sent to another.
    pub retries: Retries,
    /// A server that is new or back gets its full share only after so long.
    pub slow_start: Duration,
}

/// Which calls an upstream gets: all that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Beginning of the path.
    pub path: String,
    /// Host that the caller names, without port, in lower case.
    pub host: Option<String>,
    /// Models; none is every model.
    pub models: Vec<String>,
}

/// TLS to model servers, with its files read.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// Where it came from.
    pub files: ClientFiles,
    /// The name that certificates must have; `None` is the endpoint's own.
    pub server_name: Option<ServerName<'static>>,
    /// What handshakes use.
    pub config: Arc<rustls::ClientConfig>,
}

/// One model server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `host:port` as it stands in `Host`; the port is left out where it is the scheme's own.
    pub authority: String,
    /// Whether it speaks https.
    pub tls: bool,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for with GET; 200 to 399 is good.
    pub path: String,
    /// Time between two checks of one server.
    pub every: Duration,
    /// Time for one check.
    pub timeout: Duration,
    /// Good checks in a row after which a server gets calls again.
    pub healthy_after: usize,
    /// Bad checks in a row after which it gets none.
    pub unhealthy_after: usize,
}

/// Time-outs of one upstream; `None` is the listener's limit of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// See [`Limits::connect`].
    pub connect: Option<Duration>,
    /// See [`Limits::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`Limits::first_event`].
    pub first_event: Option<Duration>,
    /// See [`Limits::stream_idle`].
    pub idle: Option<Duration>,
    /// See [`Limits::upstream_idle`].
    pub keepalive: Option<Duration>,
}

/// What an upstream may be burdened with, over all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Calls in flight; above: 503.
    pub in_flight: usize,
    /// Open connections, resting ones included; above: 503.
    pub connections: usize,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { in_flight: 10_000, connections: 10_000 }
    }
}

/// When a server is left alone: failures are connections that cannot be made, time-outs, answers that break off, and
/// 502, 503 and 504. A 429 is load, not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row; 0 never ejects.
    pub after: usize,
    /// For how long the first time; the second time twice as long, and so on.
    pub base: Duration,
    /// But never longer.
    pub at_most: Duration,
    /// At most so many of an upstream's servers at a time, in percent, rounded down.
    pub share_percent: usize,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { after: 5, base: Duration::from_secs(10), at_most: Duration::from_mins(5), share_percent: 50 }
    }
}

/// How many retries there may be: only calls that no server can have seen are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Retries per hundred calls.
    pub percent: usize,
    /// Retries that may come at once.
    pub burst: usize,
}

impl Default for Retries {
    fn default() -> Self {
        Self { percent: 20, burst: 20 }
    }
}

const SLOW_START: Duration = Duration::from_secs(10);

impl Upstream {
    /// One server that takes every call, with every default.
    ///
    /// # Errors
    /// A sentence: the endpoint is https and this machine has no root certificates.
    pub fn single(name: &str, endpoint: Endpoint) -> Result<Self, String> {
        let tls = if endpoint.tls {
            let files = ClientFiles::default();
            let config = files.load().map_err(|error| error.to_string())?;
            Some(UpstreamTls { files, server_name: None, config })
        } else {
            None
        };
        Ok(Self {
            name: name.to_owned(),
            endpoints: vec![endpoint],
            matches: Match { path: "/".to_owned(), ..Match::default() },
            dialect: Dialect::Auto,
            count_tokens: true,
            opaque: Vec::new(),
            credential: None,
            tls,
            health: None,
            timeouts: Timeouts::default(),
            limits: UpstreamLimits::default(),
            ejection: Ejection::default(),
            retries: Retries::default(),
            slow_start: SLOW_START,
        })
    }
}

impl Endpoint {
    /// Reads `http://host[:port]` or `https://host[:port]`.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an endpoint");
        let (tls, authority) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(authority), _) => (false, authority),
            (None, Some(authority)) => (true, authority),
            (None, None) => return Err(wrong()),
        };
        let default_port = if tls { 443 } else { 80 };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(format!(
                "the endpoint `{text}` has more than a host and a port; paths are passed on as callers send them"
            ));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)
            }
            _ => (authority, default_port),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = match bracketed {
            Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
            }
        };
        if !valid {
            return Err(wrong());
        }
        let name = if port == default_port { host.to_owned() } else { format!("{host}:{port}") };
        Ok(Self { host: bracketed.unwrap_or(host).to_owned(), port, authority: name, tls })
    }
}

table! {
    /// A group of model servers. Of those that fit a call, the one with the longest path takes it, then one that names the host,
    /// then the one that names the model most exactly.
    UpstreamFile = "[[upstream]]" {
        /// Its name, as policies see it in `upstream`.
        name: At<String> = "text", "required";
        /// Its servers: `http://HOST:PORT` or `https://HOST:PORT`. Every address of a name is a server of its own.
        endpoints: At<Vec<At<String>>> = "list of URLs", "required";
        /// The calls that it gets.
        matches as "match": Option<MatchFile> = "table", "every call";
        /// The APIs that it speaks: `auto`, `openai`, `anthropic`, `tgi`, `kserve`, or `json` with routes of its own.
        dialect: Option<At<String>> = "word", "auto";
        /// The routes of the dialect `json`.
        route: Option<Vec<At<RouteFile>>> = "list of tables", "–";
        /// Whether token counts are asked for in streams whose caller did not; they are taken out again.
        count_tokens: Option<bool> = "true or false", "true";
        /// Exact paths that may pass unread: no rule can look inside, nothing is masked.
        opaque: Option<Vec<At<String>>> = "list of paths", "–";
        /// What is presented to the servers in place of the caller's token.
        credential: Option<At<CredentialFile>> = "table", "–";
        /// TLS to https endpoints.
        tls: Option<At<UpstreamTlsFile>> = "table", "the machine's roots";
        /// Active health checks; without them only calls show how a server is.
        health: Option<HealthFile> = "table", "–";
        /// Time-outs that differ from those in `[listen.limits]`.
        timeouts: Option<TimeoutsFile> = "table", "–";
        /// What it may be burdened with, over all cores.
        limits: Option<UpstreamLimitsFile> = "table", "–";
        /// When a server is left alone for a while.
        ejection: Option<EjectionFile> = "table", "–";
        /// How often calls that no server can have seen are sent again.
        retries: Option<RetriesFile> = "table", "–";
        /// A server that is new or back gets its full share of calls only after so long.
        slow_start: Option<At<String>> = "duration", "10s";
    }
}

table! {
    /// Which calls an upstream gets; all that is given must fit.
    MatchFile = "upstream.match" {
        /// Beginning of the path.
        path: Option<At<String>> = "path", "/";
        /// The host that the caller names, without port.
        host: Option<At<String>> = "text", "every host";
        /// Models, exactly or by their beginning (`llama-*`). Bodies are read to know the model.
        models: Option<At<Vec<String>>> = "list of texts", "every model";
    }
}

table! {
    /// A route of the dialect `json` (docs/dialects.md).
    RouteFile = "[[upstream.route]]" {
        /// Its method.
        method: Option<String> = "word", "POST";
        /// Its path; `{model}` stands for one segment, the model.
        path: String = "path", "required";
        /// Where texts are in requests.
        request_text: Option<Vec<String>> = "list of JSON paths", "–";
        /// Where the model is in requests.
        request_model: Option<String> = "JSON path", "–";
        /// Where texts are in answers.
        response_text: Option<Vec<String>> = "list of JSON paths", "–";
        /// Where texts are in the events of a stream.
        stream_text: Option<Vec<String>> = "list of JSON paths", "–";
        /// Where the count of tokens in is.
        input_tokens: Option<String> = "JSON path", "–";
        /// Where the count of tokens out is.
        output_tokens: Option<String> = "JSON path", "–";
    }
}

table! {
    /// TLS to model servers: versions 1.2 and 1.3, the certificate's name is always verified.
    UpstreamTlsFile = "upstream.tls" {
        /// PEM: the roots that servers' certificates must come from.
        ca: Option<At<String>> = "path", "the machine's roots";
        /// PEM: our own certificate, then its issuers.
        cert: Option<At<String>> = "path", "–";
        /// PEM: its key, not encrypted.
        key: Option<At<String>> = "path", "–";
        /// The name that is asked for (SNI) and that certificates must have.
        server_name: Option<At<String>> = "name", "the endpoint's";
    }
}

table! {
    /// Active health checks: GET without credentials on a connection of its own; 200 to 399 is good.
    HealthFile = "upstream.health" {
        /// What is asked for.
        path: At<String> = "path", "required";
        /// Time between two checks of one server.
        every: Option<At<String>> = "duration", "5s";
        /// Time for one check.
        timeout: Option<At<String>> = "duration", "2s";
        /// Good checks in a row after which a server gets calls again.
        healthy_after: Option<At<i64>> = "number", "2";
        /// Bad checks in a row after which it gets none.
        unhealthy_after: Option<At<i64>> = "number", "3";
    }
}

table! {
    /// Time-outs of one upstream.
    TimeoutsFile = "upstream.timeouts" {
        /// To open a connection, its TLS handshake included.
        connect: Option<At<String>> = "duration", "limits.connect";
        /// From the end of a request to the head of the answer.
        first_byte: Option<At<String>> = "duration", "limits.first_byte";
        /// From the head of an answer to the first byte of its body.
        first_event: Option<At<String>> = "duration", "limits.first_event";
        /// Between two reads or writes of a passing body.
        idle: Option<At<String>> = "duration", "limits.stream_idle";
        /// A connection may rest so long in the pool.
        keepalive: Option<At<String>> = "duration", "limits.upstream_idle";
    }
}

table! {
    /// What an upstream may be burdened with, over all cores: the circuit breaker.
    UpstreamLimitsFile = "upstream.limits" {
        /// Calls in flight; above: 503 with `Retry-After`.
        in_flight: Option<At<i64>> = "number", "10000";
        /// Open connections, resting ones included; above: 503 with `Retry-After`.
        connections: Option<At<i64>> = "number", "10000";
    }
}

table! {
    /// When a server is left alone. Failures are connections that cannot be made, time-outs, answers that break off, and 502,
    /// 503 and 504; a 429 is load, not a failure. If no server is left, all are tried.
    EjectionFile = "upstream.ejection" {
        /// Failures in a row; 0 never ejects.
        after: Option<At<i64>> = "number", "5";
        /// For how long the first time; the second time twice as long, and so on.
        base: Option<At<String>> = "duration", "10s";
        /// But never longer.
        at_most: Option<At<String>> = "duration", "5m";
        /// At most so many of the upstream's servers at a time, in percent, rounded down.
        share_percent: Option<At<i64>> = "number", "50";
    }
}

table! {
    /// Retries: only for calls that no server can have seen, because no connection could be made or a resting one had been closed.
    RetriesFile = "upstream.retries" {
        /// Retries per hundred calls.
        percent: Option<At<i64>> = "number", "20";
        /// Retries that may come at once.
        burst: Option<At<i64>> = "number", "20";
    }
}

pub(super) fn upstream(at: At<UpstreamFile>, base: &Path, findings: &mut Findings<'_>) -> Option<Upstream> {
    let offset = at.span().start;
    let file = at.into_inner();
    if file.name.as_ref().is_empty() {
        findings.at(file.name.span().start, "an upstream has an empty name", "name it, such as name = \"chat\"");
    }
    if file.endpoints.as_ref().is_empty() {
        findings.at(
            file.endpoints.span().start,
            "an upstream has no endpoints",
            "add one, such as endpoints = [\"http://10.0.0.5:8000\"]",
        );
    }
    let endpoints: Vec<_> = file.endpoints.into_inner().iter().map(|at| endpoint(at, findings)).collect();
    let matches = matched(file.matches, findings);
    let opaque = file.opaque.unwrap_or_default().into_iter().map(|at| path(at, findings)).collect();
    let dialect = super::dialect::check(file.dialect.as_ref(), file.route.unwrap_or_default(), findings)?;
    let credential: Option<Credential> = match file.credential {
        None => None,
        Some(at) => Some(credential(at, base, findings)?),
    };
    let endpoints: Vec<Endpoint> = endpoints.into_iter().collect::<Option<_>>()?;
    let tls = tls(file.tls, endpoints.iter().any(|endpoint| endpoint.tls), offset, base, findings)?;
    let health = file.health.map(|file| health(file, findings));
    let mut timeouts = Timeouts::default();
    if let Some(file) = file.timeouts {
        let mut read = |at: Option<At<String>>, slot: &mut Option<Duration>| {
            if at.is_some() {
                let mut value = Limits::default().connect;
                duration(at, &mut value, findings);
                *slot = Some(value);
            }
        };
        read(file.connect, &mut timeouts.connect);
        read(file.first_byte, &mut timeouts.first_byte);
        read(file.first_event, &mut timeouts.first_event);
        read(file.idle, &mut timeouts.idle);
        read(file.keepalive, &mut timeouts.keepalive);
    }
    let (mut limits, mut ejection, mut retries) = (UpstreamLimits::default(), Ejection::default(), Retries::default());
    if let Some(file) = file.limits {
        number(file.in_flight, 1..=10_000_000, &mut limits.in_flight, findings);
        number(file.connections, 1..=10_000_000, &mut limits.connections, findings);
    }
    if let Some(file) = file.ejection {
        number(file.after, 0..=1_000_000, &mut ejection.after, findings);
        duration(file.base, &mut ejection.base, findings);
        duration(file.at_most, &mut ejection.at_most, findings);
        number(file.share_percent, 0..=100, &mut ejection.share_percent, findings);
    }
    if let Some(file) = file.retries {
        number(file.percent, 0..=100, &mut retries.percent, findings);
        number(file.burst, 0..=1_000_000, &mut retries.burst, findings);
    }
    let mut slow_start = SLOW_START;
    duration(file.slow_start, &mut slow_start, findings);
    let name = file.name.into_inner();
    Some(Upstream {
        name,
        endpoints,
        matches,
        dialect,
        count_tokens: file.count_tokens.unwrap_or(true),
        opaque,
        credential,
        tls,
        health,
        timeouts,
        limits,
        ejection,
        retries,
        slow_start,
    })
}

fn endpoint(at: &At<String>, findings: &mut Findings<'_>) -> Option<Endpoint> {
    match Endpoint::parse(at.as_ref()) {
        Ok(endpoint) => Some(endpoint),
        Err(message) => {
            findings.at(at.span().start, message, "write http://HOST:PORT or https://HOST:PORT");
            None
        }
    }
}

fn matched(file: Option<MatchFile>, findings: &mut Findings<'_>) -> Match {
    let Some(file) = file else { return Match { path: "/".to_owned(), ..Match::default() } };
    let models = file.models.map(|at| {
        let offset = at.span().start;
        let models = at.into_inner();
        let odd = |model: &String| model.is_empty() || model.trim_end_matches('*').contains('*');
        if models.is_empty() || models.iter().any(odd) {
            findings.at(
                offset,
                "`models` must name models, with at most one `*` at the end of each",
                "write such as models = [\"gpt-4o\", \"llama-*\"]",
            );
        }
        models
    });
    let host = file.host.map(|at| {
        let host = at.as_ref().to_ascii_lowercase();
        if host.is_empty() || host.contains(['/', '@']) || (host.contains(':') && !host.starts_with('[')) {
            findings.at(
                at.span().start,
                format!("`{host}` is not a host"),
                "write a name without scheme, port and path",
            );
        }
        host
    });
    Match {
        path: file.path.map_or_else(|| "/".to_owned(), |at| path(at, findings)),
        host,
        models: models.unwrap_or_default(),
    }
}

#[expect(clippy::option_option, reason = "none at all, or an error that was noted")]
fn tls(
    at: Option<At<UpstreamTlsFile>>,
    wanted: bool,
    upstream: usize,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Option<UpstreamTls>> {
    let offset = at.as_ref().map_or(upstream, |at| at.span().start);
    let file = at.map(At::into_inner);
    if !wanted {
        if file.is_some() {
            findings.at(offset, "`tls` says nothing to http endpoints", "write https:// in endpoints, or remove it");
        }
        return Some(None);
    }
    let mut files = ClientFiles::default();
    let mut name = None;
    if let Some(file) = file {
        files.ca = file.ca.map(|at| pem_path(&at, base));
        files.pair = match (file.cert, file.key) {
            (Some(cert), Some(key)) => Some(pair(&cert, &key, base)),
            (None, None) => None,
            _ => {
                findings.at(offset, "`cert` and `key` belong together", "give both or neither");
                return None;
            }
        };
        if let Some(at) = file.server_name {
            match server_name(at.as_ref()) {
                Ok(parsed) => name = Some(parsed),
                Err(message) => findings.at(at.span().start, message, "write a DNS name or an IP address"),
            }
        }
    }
    match files.load() {
        Ok(config) => Some(Some(UpstreamTls { files, server_name: name, config })),
        Err(error) => {
            let help = "name PEM files that this process may read; without `ca`, install ca-certificates";
            findings.at(offset, format!("TLS to the upstream: {error}"), help);
            None
        }
    }
}

fn health(file: HealthFile, findings: &mut Findings<'_>) -> Health {
    let mut health = Health {
        path: path(file.path, findings),
        every: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        healthy_after: 2,
        unhealthy_after: 3,
    };
    duration(file.every, &mut health.every, findings);
    duration(file.timeout, &mut health.timeout, findings);
    number(file.healthy_after, 1..=1000, &mut health.healthy_after, findings);
    number(file.unhealthy_after, 1..=1000, &mut health.unhealthy_after, findings);
    if health.path.bytes().any(|byte| !(b'!'..=b'~').contains(&byte)) {
        findings.whole(format!("the health path `{}` has characters that no URL has", health.path), "encode them");
    }
    health
}
