//! The admin API as an OpenAPI 3.1 document: one table of operations and the shapes that they take and give. A test holds the table to
//! the routes that the sources declare.

use super::Control;
use super::access::Viewer;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    /// The role that it takes; `verified` is any verified caller, `open` anybody.
    role: &'static str,
    summary: &'static str,
    /// Name and JSON type of each parameter of the query.
    query: &'static [(&'static str, &'static str)],
    /// The shape that it takes.
    body: Option<&'static str>,
    status: &'static str,
    /// Media types of the answer; JSON is an object unless a shape is named.
    answers: &'static [&'static str],
}

const JSON: &[&str] = &["application/json"];
const TEXT: &[&str] = &["text/plain"];
const SEARCH: &[(&str, &str)] =
    &[("q", "string"), ("limit", "integer"), ("before", "integer"), ("calls", "boolean"), ("format", "string")];

/// `get(PATH, ID, ROLE, SUMMARY)` gives JSON and takes nothing.
const fn reads(path: &'static str, id: &'static str, role: &'static str, summary: &'static str) -> Operation {
    Operation { method: "get", path, id, role, summary, query: &[], body: None, status: "200", answers: JSON }
}

const fn writes(path: &'static str, id: &'static str, role: &'static str, summary: &'static str) -> Operation {
    Operation { method: "post", ..reads(path, id, role, summary) }
}

const fn takes(operation: Operation, body: &'static str) -> Operation {
    Operation { body: Some(body), ..operation }
}

const fn gives(operation: Operation, answers: &'static [&'static str]) -> Operation {
    Operation { answers, ..operation }
}

const fn asks(operation: Operation, query: &'static [(&'static str, &'static str)]) -> Operation {
    Operation { query, ..operation }
}

const OPERATIONS: &[Operation] = &[
    gives(reads("/healthz", "health", "open", "Whether the process answers"), TEXT),
    reads(
        "/readyz",
        "readiness",
        "open",
        "Whether calls are served, and what speaks against it (then with status 503)",
    ),
    gives(reads("/metrics", "metrics", "viewer", "Counters in Prometheus text format"), TEXT),
    gives(reads("/log/checkpoint", "checkpoint", "verified", "The newest checkpoint (C2SP tlog-checkpoint)"), TEXT),
    gives(
        reads("/log/tile/{path}", "tile", "verified", "A tile of hashes (C2SP tlog-tiles); the path has several parts"),
        &["application/octet-stream"],
    ),
    reads("/api/v1/openapi.json", "openapi", "viewer", "This document"),
    reads(
        "/api/v1/session",
        "session",
        "viewer",
        "Who asks, their roles, and what a browser must repeat to change something",
    ),
    reads(
        "/api/v1/overview",
        "overview",
        "viewer",
        "How the gateway is: traffic, who waits, policy, evidence, upstreams",
    ),
    asks(
        reads(
            "/api/v1/approvals",
            "listApprovals",
            "viewer",
            "Calls that wait for people, grants, and those settled lately",
        ),
        &[
            ("status", "string"),
            ("kind", "string"),
            ("subject", "string"),
            ("group", "string"),
            ("rule", "string"),
            ("after", "string"),
            ("limit", "integer"),
        ],
    ),
    reads("/api/v1/approvals/{id}", "showApproval", "viewer", "One of them, with the masked request"),
    takes(
        writes(
            "/api/v1/approvals/{id}/approve",
            "approve",
            "approver",
            "Approves a call once; asks for membership of the group",
        ),
        "Decision",
    ),
    takes(
        writes(
            "/api/v1/approvals/{id}/deny",
            "deny",
            "approver",
            "Denies a call; needs a reason, which the caller reads",
        ),
        "Decision",
    ),
    reads("/api/v1/approvals/{id}/history", "approvalHistory", "viewer", "What the evidence says of it, in order"),
    takes(
        writes("/api/v1/approvals/{id}/revoke", "revoke", "approver", "Takes an unused approval or a grant back"),
        "Decision",
    ),
    reads("/api/v1/policy", "showPolicy", "viewer", "The active policy set, and why the newest files are not it"),
    reads("/api/v1/policy/rules", "listRules", "viewer", "Every rule and file of the active set"),
    reads("/api/v1/policy/traffic", "traffic", "viewer", "How many calls each rule held for, shadow rules included"),
    reads("/api/v1/policy/changes", "policyChanges", "viewer", "When sets were activated and refused"),
    takes(
        writes("/api/v1/policy/explain", "explain", "viewer", "What the active set says to a described call"),
        "DescribedCall",
    ),
    writes("/api/v1/policy/reload", "reloadPolicy", "admin", "Reads the policy files again"),
    reads("/api/v1/upstreams", "listUpstreams", "viewer", "Health, calls in flight and ejections of the model servers"),
    reads("/api/v1/config", "showConfig", "auditor", "The configuration, without secrets"),
    asks(reads("/api/v1/exchanges", "search", "auditor", "Searches the records; newest last"), SEARCH),
    asks(
        gives(reads("/api/v1/exchanges/live", "follow", "auditor", "Records as they end"), &["text/event-stream"]),
        &[("q", "string")],
    ),
    gives(
        reads(
            "/api/v1/exchanges/{id}",
            "showExchange",
            "auditor",
            "Everything about one call: text, or JSON with its frames",
        ),
        &["text/plain", "application/json"],
    ),
    reads("/api/v1/evidence/status", "evidence", "viewer", "Size, last checkpoint, lag and key of the log"),
    reads("/api/v1/evidence/proof/{id}", "prove", "verified", "Proofs that the records of a call are in the log"),
    writes("/api/v1/evidence/verify", "verify", "auditor", "Verifies the whole log"),
    asks(
        gives(
            reads(
                "/api/v1/evidence/export",
                "export",
                "auditor",
                "The records in a format: jsonl, ocsf, ecs, cef, har",
            ),
            &["application/x-ndjson", "text/plain", "application/json"],
        ),
        SEARCH,
    ),
    takes(writes("/api/v1/evidence/erase", "erase", "admin", "Destroys the keys of a person's records"), "Erasure"),
    takes(writes("/api/v1/evidence/hold", "hold", "admin", "Begins or ends a legal hold"), "Hold"),
    Operation {
        status: "201",
        ..takes(writes("/api/v1/events", "report", "verified", "Writes down what was done elsewhere"), "Event")
    },
];

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/openapi.json", get(|_: Viewer| async { Json(document()) }))
}

/// The document.
fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sallyport admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Roles are given to groups in [admin.roles]. Every change, and every reading of evidence, is itself written down.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": "sallyport-session" },
            },
            "schemas": schemas(),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query =
        operation.query.iter().map(|(name, kind)| json!({ "name": name, "in": "query", "schema": { "type": kind } }));
    let content = |media_type: &&str| {
        let shape =
            if *media_type == "application/json" { json!({ "type": "object" }) } else { json!({ "type": "string" }) };
        ((*media_type).to_owned(), json!({ "schema": shape }))
    };
    let mut responses = Map::new();
    responses.insert(
        operation.status.to_owned(),
        json!({ "description": operation.summary, "content": operation.answers.iter().map(content).collect::<Map<_, _>>() }),
    );
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "What is wrong, and how to mend it",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        }),
    );
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": format!("Role: {}.", operation.role),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": responses,
    });
    if operation.role == "open" {
        described["security"] = json!([]);
    }
    if let Some(body) = operation.body {
        let schema = json!({ "$ref": format!("#/components/schemas/{body}") });
        described["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    described
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let object = || json!({ "type": "object" });
    let closed = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    json!({
        "Error": {
            "type": "object",
            "properties": { "error": closed(json!({ "code": text(), "message": text() }), &["code", "message"]) },
            "required": ["error"],
        },
        "Decision": closed(json!({ "reason": { "type": ["string", "null"], "maxLength": crate::approvals::REASON_BYTES_MAX } }), &[]),
        "DescribedCall": closed(
            json!({ "identity": object(), "request": object(), "response": object(), "time": object(), "env": object() }),
            &[],
        ),
        "Erasure": closed(json!({ "tenant": text(), "subject": text(), "basis": text() }), &["subject", "basis"]),
        "Hold": closed(
            json!({ "tenant": text(), "subject": text(), "basis": text(), "held": { "type": "boolean" } }),
            &["subject", "basis", "held"],
        ),
        "Event": closed(
            json!({
                "action": { "type": "string", "pattern": "^[a-z0-9_.-]{1,64}$" },
                "sha256": { "type": ["string", "null"], "pattern": "^[0-9a-fA-F]{64}$" },
                "numbers": { "type": "object", "maxProperties": 32, "additionalProperties": { "type": "integer", "minimum": 0 } },
                "text": text(),
            }),
            &["action"],
        ),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Where routes are declared that are no part of the API: pages, the login, and what people answer messages with.
    const FOR_PEOPLE: [&str; 4] = ["pages", "login", "links.rs", "slack.rs"];

    /// Method and path of each route that the sources of this module declare.
    fn declared() -> BTreeSet<(String, String)> {
        let mut routes = BTreeSet::new();
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control");
        read(&own, &mut routes);
        routes
    }

    fn read(directory: &Path, routes: &mut BTreeSet<(String, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if FOR_PEOPLE.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                read(&path, routes);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for route in code.split(".route(").skip(1) {
                let route = route.split(".route(").next().unwrap().split(';').next().unwrap();
                let Some(path) = route.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                let open = ["/healthz", "/readyz", "/metrics", "/log/"].iter().any(|own| path.starts_with(own));
                let path = if open { path.to_owned() } else { format!("/api/v1{path}") };
                let path = path.replace("{*", "{");
                for method in ["get", "post", "put", "delete", "patch"] {
                    if route.contains(&format!("{method}(")) {
                        routes.insert((method.to_owned(), path.clone()));
                    }
                }
            }
        }
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let documented: BTreeSet<(String, String)> =
            OPERATIONS.iter().map(|own| (own.method.to_owned(), own.path.to_owned())).collect();
        let declared = declared();
        assert!(declared.len() > 20, "{declared:?}");
        let missing: Vec<_> = declared.difference(&documented).collect();
        let gone: Vec<_> = documented.difference(&declared).collect();
        assert!(missing.is_empty() && gone.is_empty(), "not in OPERATIONS: {missing:?}; not a route: {gone:?}");
    }

    #[test]
    fn operations_have_names_of_their_own_and_shapes_that_exist() {
        let names: BTreeSet<&str> = OPERATIONS.iter().map(|own| own.id).collect();
        assert_eq!(names.len(), OPERATIONS.len());
        let document = document();
        for operation in OPERATIONS {
            if let Some(body) = operation.body {
                assert!(document["components"]["schemas"].get(body).is_some(), "{body}");
            }
        }
    }
}
