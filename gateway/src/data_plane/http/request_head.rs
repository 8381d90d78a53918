//! The head of a request (RFC 9112 §§2–6), parsed in place on the received bytes.

use std::mem::MaybeUninit;

use super::body::Framing;
use super::fields::Fields;

/// Bounds of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

/// Most fields that can be configured: the parser's table lives on the stack.
const FIELDS_MAX: usize = 256;

/// A complete, valid request head.
#[derive(Debug, Clone)]
pub(crate) struct RequestHead {
    pub(crate) method: String,
    /// Origin form: path and query as sent.
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    /// HTTP/1.0: no chunked answer, no 1xx.
    pub(crate) is_http10: bool,
}

/// Why a head was refused. The connection is closed after the answer: its framing cannot be trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("The request head is malformed: {0}.")]
    Malformed(&'static str),
    #[error("The request head is larger than {0} bytes.")]
    TooLarge(usize),
    #[error("The request head has more than {0} fields.")]
    TooManyFields(usize),
    #[error("This HTTP version is not spoken here; use HTTP/1.1.")]
    Version,
    #[error("The transfer coding is not supported; use content-length or chunked.")]
    TransferCoding,
    #[error("The expectation in the Expect field is not supported.")]
    Expectation,
}

impl RequestHead {
    /// Parses the head at the start of `bytes`. `Ok(None)`: not complete yet. Otherwise the head and its length.
    ///
    /// # Errors
    /// [`HeadError`]; nothing after a bad head may be read as a request.
    pub(crate) fn parse(bytes: &[u8], limits: HeadLimits) -> Result<Option<(Self, usize)>, HeadError> {
        let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let fields_max = limits.fields.min(FIELDS_MAX);
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, table.get_mut(..fields_max).unwrap_or_default());
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() >= limits.bytes => {
                return Err(HeadError::TooLarge(limits.bytes));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(refusal(error, bytes, fields_max)),
        };
        if length > limits.bytes {
            return Err(HeadError::TooLarge(limits.bytes));
        }
        let head = bytes.get(..length).unwrap_or_default();
        refuse_bare_line_ends(head)?;
        let is_http10 = request.version == Some(0);
        let method = request.method.unwrap_or_default().to_owned();
        let fields = Fields::new(head, request.headers);
        if fields.all("content-type").nth(1).is_some() {
            // What a body is must not depend on who reads the head.
            return Err(HeadError::Malformed("there is more than one Content-Type field"));
        }
        let host = check_host(&fields, is_http10)?;
        let target = origin_form(request.path.unwrap_or_default(), &method, host)?;
        let framing = request_framing(&fields, is_http10)?;
        let keep_alive =
            if is_http10 { fields.lists("connection", "keep-alive") } else { !fields.lists("connection", "close") };
        let expects_continue = match fields.text("expect") {
            None => false,
            Some(value) if value.eq_ignore_ascii_case("100-continue") => !is_http10,
            Some(_) => return Err(HeadError::Expectation),
        };
        Ok(Some((Self { method, target, fields, framing, keep_alive, expects_continue, is_http10 }, length)))
    }

    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// `Host`, or nothing in HTTP/1.0.
    pub(crate) fn host(&self) -> &str {
        self.fields.text("host").unwrap_or_default()
    }
}

fn refusal(error: httparse::Error, bytes: &[u8], fields_max: usize) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields(fields_max),
        httparse::Error::Version => HeadError::Version,
        httparse::Error::HeaderName => HeadError::Malformed("a field name has a character that may not be there"),
        httparse::Error::HeaderValue => HeadError::Malformed("a field value has a character that may not be there"),
        httparse::Error::NewLine => HeadError::Malformed("a line ends wrongly"),
        // A TLS handshake starts with 0x16 0x03: worth its own words, it is the most common mistake.
        httparse::Error::Token if bytes.starts_with(&[0x16, 0x03]) => {
            HeadError::Malformed("this looks like TLS, but this port speaks plain HTTP")
        }
        _ => HeadError::Malformed("the request line is not METHOD TARGET HTTP/1.1"),
    }
}

/// A line feed without its carriage return, or the reverse, is where two parsers begin to disagree (RFC 9112 §2.2).
fn refuse_bare_line_ends(head: &[u8]) -> Result<(), HeadError> {
    let mut ends = memchr::memchr2_iter(b'\r', b'\n', head);
    while let Some(at) = ends.next() {
        let is_pair = head.get(at..at + 2) == Some(b"\r\n");
        if !is_pair || ends.next() != Some(at + 1) {
            return Err(HeadError::Malformed("a line does not end in CR LF"));
        }
    }
    Ok(())
}

fn check_host(fields: &Fields, is_http10: bool) -> Result<&str, HeadError> {
    let mut hosts = fields.all("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if is_http10 => Ok(""),
        (None, _) => Err(HeadError::Malformed("the Host field is missing")),
        (Some(_), Some(_)) => Err(HeadError::Malformed("there is more than one Host field")),
        (Some(host), None) => match std::str::from_utf8(host) {
            Ok(host) if !host.is_empty() && host.bytes().all(is_host_byte) => Ok(host),
            _ => Err(HeadError::Malformed("the Host field is not a host")),
        },
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&byte)
}

/// Origin form, also from absolute form (RFC 9112 §3.2.2), whose authority must then be the Host.
fn origin_form(target: &str, method: &str, host: &str) -> Result<String, HeadError> {
    if method == "CONNECT" {
        return Err(HeadError::Malformed("CONNECT is not served here"));
    }
    if target.contains('#') {
        return Err(HeadError::Malformed("the target has a fragment"));
    }
    // RFC 3986 has no other characters; a server behind us may read them as it likes.
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HeadError::Malformed("the target has characters that must be percent-encoded"));
    }
    if target.starts_with('/') {
        return Ok(target.to_owned());
    }
    let Some(rest) = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) else {
        return Err(HeadError::Malformed("the target is neither a path nor an absolute URL"));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !authority.eq_ignore_ascii_case(host) {
        return Err(HeadError::Malformed("the target's host is not the Host field's"));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

fn request_framing(fields: &Fields, is_http10: bool) -> Result<Framing, HeadError> {
    let mut codings = fields.all("transfer-encoding");
    let coding = codings.next();
    let has_length = fields.first("content-length").is_some();
    match (coding, has_length) {
        (None, false) => Ok(Framing::Length(0)),
        (None, true) => {
            single_length(fields).map(Framing::Length).ok_or(HeadError::Malformed("content-length is not one number"))
        }
        (Some(_), true) => Err(HeadError::Malformed("it has both content-length and transfer-encoding")),
        (Some(_), false) if is_http10 => Err(HeadError::Malformed("HTTP/1.0 has no transfer-encoding")),
        (Some(value), false) if codings.next().is_none() && value.eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        (Some(_), false) => Err(HeadError::TransferCoding),
    }
}

/// The one content-length; several are refused even when equal.
pub(super) fn single_length(fields: &Fields) -> Option<u64> {
    let mut lengths = fields.all("content-length");
    let value = lengths.next()?;
    if lengths.next().is_some() || value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 10 };

    fn parse(text: &str) -> Result<RequestHead, HeadError> {
        RequestHead::parse(text.as_bytes(), LIMITS).map(|head| head.unwrap().0)
    }

    #[test]
    fn reads_a_head_in_place() {
        let head = parse("POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n").unwrap();
        assert_eq!(
            (head.method.as_str(), head.path(), head.framing),
            ("POST", "/v1/chat/completions", Framing::Length(12))
        );
        assert!(head.keep_alive && !head.expects_continue);
    }

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        let cases = [
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: a/c\r\n\r\n",
        ];
        for case in cases {
            match RequestHead::parse(case.as_bytes(), LIMITS) {
                Err(HeadError::Malformed(_)) => {}
                other => panic!("{case:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn names_the_transfer_coding_and_the_version_it_does_not_speak() {
        let coded = |te: &str| parse(&format!("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {te}\r\n\r\n"));
        assert_eq!(coded("chunked").unwrap().framing, Framing::Chunked);
        assert_eq!(coded("gzip, chunked").unwrap_err(), HeadError::TransferCoding);
        assert_eq!(coded("chunked, identity").unwrap_err(), HeadError::TransferCoding);
        assert_eq!(parse("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_err(), HeadError::Version);
    }

    #[test]
    fn bounds_bytes_and_fields() {
        assert!(RequestHead::parse(b"GET / HTTP/1.1\r\nHost: a\r\n", LIMITS).unwrap().is_none());
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(1024));
        assert_eq!(RequestHead::parse(long.as_bytes(), LIMITS).unwrap_err(), HeadError::TooLarge(1024));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(10));
        assert_eq!(parse(&many).unwrap_err(), HeadError::TooManyFields(10));
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        assert_eq!(parse("GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().target, "/x?y");
        assert_eq!(parse("GET http://a?y HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().target, "/?y");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = RequestHead::parse(&bytes, LIMITS);
        }
    }
}
