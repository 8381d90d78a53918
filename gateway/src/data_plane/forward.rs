//! The request as the upstream sees it: hop-by-hop fields and the caller's credential out, ours in (RFC 9110 §7.6).

use std::net::IpAddr;

use super::answer::push_field;
use super::http::{Framing, RequestHead, is_hop_by_hop};

/// What is put into the forwarded head beside the caller's fields.
pub(crate) struct Forwarded<'a> {
    pub(crate) authority: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) client: IpAddr,
    /// Name and value of the upstream's own credential.
    pub(crate) credential: Option<(&'a str, &'a str)>,
    pub(crate) traceparent: &'a str,
    /// Framing of the body that follows.
    pub(crate) framing: Framing,
    /// The answer will be looked into, so it must not be compressed.
    pub(crate) identity_only: bool,
}

/// Fields that are replaced or must not travel on: credentials of the caller, framing, and claims about the client that only
/// this gateway can make.
const REPLACED: [&str; 17] = [
    "host",
    "content-length",
    "expect",
    "authorization",
    "x-api-key",
    "api-key",
    "x-sallyport-request-id",
    "x-sallyport-purpose",
    "x-sallyport-basis",
    "x-sallyport-data-subject",
    "traceparent",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "proxy",
];

/// Serialises the head.
pub(crate) fn request_head(request: &RequestHead, forwarded: &Forwarded<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    push_field(&mut out, "host", forwarded.authority.as_bytes());
    for (name, value) in request.fields.iter() {
        let replaced = REPLACED.iter().any(|field| name.eq_ignore_ascii_case(field))
            || forwarded.credential.is_some_and(|(credential, _)| name.eq_ignore_ascii_case(credential))
            || (forwarded.identity_only && name.eq_ignore_ascii_case("accept-encoding"));
        if !replaced && !is_hop_by_hop(&request.fields, name) {
            push_field(&mut out, name, value);
        }
    }
    if let Some((name, value)) = forwarded.credential {
        push_field(&mut out, name, value.as_bytes());
    }
    if forwarded.identity_only {
        push_field(&mut out, "accept-encoding", b"identity");
    }
    push_field(&mut out, "traceparent", forwarded.traceparent.as_bytes());
    push_field(&mut out, "x-forwarded-for", forwarded.client.to_string().as_bytes());
    push_field(&mut out, "x-sallyport-request-id", forwarded.request_id.as_bytes());
    match forwarded.framing {
        Framing::Chunked => push_field(&mut out, "transfer-encoding", b"chunked"),
        Framing::Length(0) if matches!(request.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS") => {}
        Framing::Length(length) => push_field(&mut out, "content-length", length.to_string().as_bytes()),
        Framing::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::http::HeadLimits;
    use super::*;

    #[test]
    fn strips_what_belongs_to_one_connection_and_the_callers_credential() {
        let raw = "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer caller\r\nx-api-key: caller\r\n\
                   Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Forwarded-For: 9.9.9.9\r\n\
                   Content-Length: 2\r\nX-Kept: yes\r\n\r\n";
        let limits = HeadLimits { bytes: 4096, fields: 50 };
        let (head, _) = RequestHead::parse(raw.as_bytes(), limits).unwrap().unwrap();
        let forwarded = Forwarded {
            authority: "model:8000",
            request_id: "id",
            client: IpAddr::from([127, 0, 0, 1]),
            credential: Some(("authorization", "Bearer upstream")),
            traceparent: "00-0-0-01",
            framing: Framing::Length(2),
            identity_only: true,
        };
        insta::assert_snapshot!(String::from_utf8(request_head(&head, &forwarded)).unwrap().replace("\r\n", "\n"), @r"
        POST /v1/chat/completions HTTP/1.1
        host: model:8000
        X-Kept: yes
        authorization: Bearer upstream
        accept-encoding: identity
        traceparent: 00-0-0-01
        x-forwarded-for: 127.0.0.1
        x-sallyport-request-id: id
        content-length: 2
        ");
    }
}
