//! The configuration as it may be shown: everything but secrets.

use super::{Config, Durability, Limits, OnFailure, redacted_identity};
use serde_json::{Value, json};

/// Every setting in effect, defaults included; credentials show their header only.
#[must_use]
pub fn redacted(config: &Config) -> Value {
    let issuers: Vec<Value> = config.issuers.iter().map(redacted_identity::issuer).collect();
    let upstreams: Vec<Value> = config
        .upstreams
        .iter()
        .map(|upstream| {
            json!({
                "name": upstream.name,
                "endpoints": upstream.endpoints.iter().map(|own| own.authority.as_str()).collect::<Vec<_>>(),
                "match": { "path": upstream.match_path },
                "dialect": upstream.dialect.to_string(),
                "count_tokens": upstream.count_tokens,
                "opaque": upstream.opaque,
                "credential": upstream.credential.as_ref().map(redacted_identity::credential),
            })
        })
        .collect();
    json!({
        "data": config.data,
        "listen": {
            "address": config.listen.address,
            "cores": config.listen.cores,
            "limits": limits(&config.listen.limits),
        },
        "admin": redacted_identity::admin(&config.admin),
        "issuer": issuers,
        "identity": redacted_identity::identity(&config.identity),
        "upstream": upstreams,
        "policy": { "path": config.policy, "zone": config.facts.zone.iana_name(), "env": config.facts.env },
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
        },
        "approvals": { "hold": seconds(config.approvals.hold) },
    })
}

fn limits(limits: &Limits) -> Value {
    json!({
        "head_bytes": limits.head_bytes,
        "head_fields": limits.head_fields,
        "head_timeout": seconds(limits.head_timeout),
        "body_inspected_bytes": limits.body_inspected_bytes,
        "body_timeout": seconds(limits.body_timeout),
        "idle_keepalive": seconds(limits.idle_keepalive),
        "upstream_idle": seconds(limits.upstream_idle),
        "connections_per_core": limits.connections_per_core,
        "connect": seconds(limits.connect),
        "first_byte": seconds(limits.first_byte),
        "stream_idle": seconds(limits.stream_idle),
        "drain": seconds(limits.drain),
    })
}

pub(super) fn seconds(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
