//! The configuration as it may be shown: everything but secrets.

use super::{AccessLog, Config, Durability, Limits, ListenTls, OnFailure, Upstream, notify, redacted_identity};
use crate::second_opinion::OnDivergence;
use crate::tls::MinVersion;
use crate::tls::server::ClientCertificates;
use serde_json::{Value, json};

/// Every setting in effect, defaults included; credentials show their header only.
#[must_use]
pub fn redacted(config: &Config) -> Value {
    let issuers: Vec<Value> = config.issuers.iter().map(redacted_identity::issuer).collect();
    let upstreams: Vec<Value> = config.upstreams.iter().map(|own| upstream(own, &config.listen.limits)).collect();
    json!({
        "data": config.data,
        "listen": {
            "address": config.listen.address,
            "cores": config.listen.cores,
            "proxy_protocol": networks(&config.listen.proxy_protocol),
            "forwarded_from": networks(&config.listen.forwarded_from),
            "tls": config.listen.tls.as_ref().map(listen_tls),
            "limits": limits(&config.listen.limits),
        },
        "admin": redacted_identity::admin(&config.admin),
        "issuer": issuers,
        "identity": redacted_identity::identity(&config.identity),
        "upstream": upstreams,
        "policy": { "path": config.policy, "zone": config.facts.zone.iana_name(), "env": config.facts.env,
            "token_lifetime": seconds(config.facts.token_lifetime),
            "check_one_in": config.sampling.every, "on_divergence": match config.sampling.on_divergence {
                OnDivergence::Interpret => "interpret",
                OnDivergence::Warn => "warn",
            } },
        "limits": { "accounts": config.limits.accounts, "answer_tokens": config.limits.answer_tokens },
        "evidence": {
            "origin": config.evidence.origin,
            "durability": match config.evidence.durability {
                Durability::Strict => "strict",
                Durability::Crash => "crash",
                Durability::Observe => "observe",
            },
            "on_failure": match config.evidence.on_failure {
                OnFailure::Refuse => "refuse",
                OnFailure::Continue => "continue",
            },
            "retain": config.evidence.retain.map(seconds),
            "seal_to": config.evidence.seal_to,
            "public_log": config.evidence.public_log,
            "index_text": config.evidence.index_text,
            "index_values": config.evidence.index_values,
        },
        "approvals": {
            "hold": config.approvals.hold.map(seconds),
            "comment_every": seconds(config.approvals.comment_every),
            "held_bytes": config.approvals.held_bytes,
            "notify": notify::redacted_targets(&config.approvals.notify),
            "slack": config.approvals.slack.as_ref().map(notify::redacted_slack),
        },
        "alerts": notify::redacted_alerts(&config.alerts),
        "telemetry": {
            "access_log": config.telemetry.access_log.as_ref().map(|target| match target {
                AccessLog::Stdout => "stdout".to_owned(),
                AccessLog::Stderr => "stderr".to_owned(),
                AccessLog::File(path) => path.display().to_string(),
            }),
            "traces": config.telemetry.traces,
            "traces_sample": config.telemetry.traces_sample,
        },
    })
}

fn upstream(upstream: &Upstream, limits: &Limits) -> Value {
    let scheme = |tls: bool| if tls { "https" } else { "http" };
    let endpoints: Vec<String> =
        upstream.endpoints.iter().map(|own| format!("{}://{}", scheme(own.tls), own.authority)).collect();
    let timeouts = &upstream.timeouts;
    json!({
        "name": upstream.name,
        "endpoints": endpoints,
        "match": {
            "path": upstream.matches.path,
            "host": upstream.matches.host,
            "models": upstream.matches.models,
        },
        "dialect": upstream.dialect.to_string(),
        "count_tokens": upstream.count_tokens,
        "opaque": upstream.opaque,
        "credential": upstream.credential.as_ref().map(redacted_identity::credential),
        "tls": upstream.tls.as_ref().map(|tls| json!({
            "ca": tls.files.ca,
            "cert": tls.files.pair.as_ref().map(|pair| &pair.certificate),
            "server_name": tls.server_name.as_ref().map(|name| name.to_str().into_owned()),
        })),
        "health": upstream.health.as_ref().map(|health| json!({
            "path": health.path,
            "every": seconds(health.every),
            "timeout": seconds(health.timeout),
            "healthy_after": health.healthy_after,
            "unhealthy_after": health.unhealthy_after,
        })),
        "timeouts": {
            "connect": seconds(timeouts.connect.unwrap_or(limits.connect)),
            "first_byte": seconds(timeouts.first_byte.unwrap_or(limits.first_byte)),
            "first_event": seconds(timeouts.first_event.unwrap_or(limits.first_event)),
            "idle": seconds(timeouts.idle.unwrap_or(limits.stream_idle)),
            "keepalive": seconds(timeouts.keepalive.unwrap_or(limits.upstream_idle)),
        },
        "limits": { "in_flight": upstream.limits.in_flight, "connections": upstream.limits.connections },
        "ejection": {
            "after": upstream.ejection.after,
            "base": seconds(upstream.ejection.base),
            "at_most": seconds(upstream.ejection.at_most),
            "share_percent": upstream.ejection.share_percent,
        },
        "retries": { "percent": upstream.retries.percent, "burst": upstream.retries.burst },
        "slow_start": seconds(upstream.slow_start),
    })
}

fn networks(networks: &[ipnet::IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

fn listen_tls(tls: &ListenTls) -> Value {
    let files = &tls.files;
    json!({
        "certificates": files.pairs.iter().map(|pair| pair.certificate.display().to_string()).collect::<Vec<_>>(),
        "client_ca": files.client_ca,
        "client_certificates": files.client_ca.as_ref().map(|_| match files.client_certificates {
            ClientCertificates::Required => "required",
            ClientCertificates::Optional => "optional",
        }),
        "min_version": match files.min_version {
            MinVersion::Tls12 => "1.2",
            MinVersion::Tls13 => "1.3",
        },
    })
}

fn limits(limits: &Limits) -> Value {
    json!({
        "tls_handshake": seconds(limits.tls_handshake),
        "handshakes_per_core": limits.handshakes_per_core,
        "head_bytes": limits.head_bytes,
        "head_fields": limits.head_fields,
        "head_timeout": seconds(limits.head_timeout),
        "body_inspected_bytes": limits.body_inspected_bytes,
        "body_bytes": limits.body_bytes,
        "body_timeout": seconds(limits.body_timeout),
        "body_rate_min": limits.body_rate_min,
        "body_grace": seconds(limits.body_grace),
        "idle_keepalive": seconds(limits.idle_keepalive),
        "upstream_idle": seconds(limits.upstream_idle),
        "connections_per_core": limits.connections_per_core,
        "connections": limits.connections,
        "in_flight_per_core": limits.in_flight_per_core,
        "in_flight": limits.in_flight,
        "connect": seconds(limits.connect),
        "first_byte": seconds(limits.first_byte),
        "first_event": seconds(limits.first_event),
        "stream_idle": seconds(limits.stream_idle),
        "drain_lag": limits.drain_lag.map(seconds),
        "drain": seconds(limits.drain),
    })
}

pub(super) fn seconds(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
