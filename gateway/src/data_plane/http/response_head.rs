//! The head of an upstream's answer (RFC 9112 §§4, 6.3).

use std::mem::MaybeUninit;

use super::body::Framing;
use super::fields::Fields;
use super::request_head::single_length;

/// Bounds of an answer's head: model servers are trusted more than callers, but not without end.
const BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 128;

/// A complete head of a final answer.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
}

/// The upstream answered something that is not HTTP/1.1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's answer is malformed: {0}")]
pub(crate) struct ResponseHeadError(pub(crate) &'static str);

impl ResponseHead {
    /// Parses the head at the start of `bytes`; `Ok(None)`: not complete yet.
    ///
    /// # Errors
    /// [`ResponseHeadError`]; the connection must not be used again.
    pub(crate) fn parse(bytes: &[u8], to_head_request: bool) -> Result<Option<(Self, usize)>, ResponseHeadError> {
        let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut table);
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() >= BYTES_MAX => {
                return Err(ResponseHeadError("its head is too large"));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(ResponseHeadError("its head cannot be read")),
        };
        let status = response.code.unwrap_or_default();
        let is_http10 = response.version == Some(0);
        let fields = Fields::new(bytes.get(..length).unwrap_or_default(), response.headers);
        let framing = framing(status, &fields, to_head_request)?;
        let keep_alive = framing != Framing::UntilClose
            && if is_http10 { fields.lists("connection", "keep-alive") } else { !fields.lists("connection", "close") };
        Ok(Some((Self { status, fields, framing, keep_alive }, length)))
    }

    /// Whether this is an interim answer (RFC 9110 §15.2), to be followed by another head.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Media type without parameters, lower case.
    pub(crate) fn media_type(&self) -> String {
        let value = self.fields.text("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

fn framing(status: u16, fields: &Fields, to_head_request: bool) -> Result<Framing, ResponseHeadError> {
    if to_head_request || status == 204 || status == 304 || (100..200).contains(&status) {
        return Ok(Framing::Length(0));
    }
    if fields.first("transfer-encoding").is_some() {
        if fields.first("content-length").is_some() {
            return Err(ResponseHeadError("it has both content-length and transfer-encoding"));
        }
        let mut codings = fields.tokens("transfer-encoding");
        return match (codings.next(), codings.next()) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            _ => Err(ResponseHeadError("its transfer coding is not supported")),
        };
    }
    if fields.first("content-length").is_some() {
        return single_length(fields)
            .map(Framing::Length)
            .ok_or(ResponseHeadError("its content-length is not one number"));
    }
    Ok(Framing::UntilClose)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<ResponseHead, ResponseHeadError> {
        ResponseHead::parse(text.as_bytes(), false).map(|head| head.unwrap().0)
    }

    #[test]
    fn framing_follows_rfc_9112_section_6_3() {
        assert_eq!(parse("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").unwrap().framing, Framing::Length(0));
        assert_eq!(parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap().framing, Framing::Chunked);
        assert_eq!(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap().framing, Framing::Length(5));
        let until_close = parse("HTTP/1.1 200 OK\r\n\r\n").unwrap();
        assert!(until_close.framing == Framing::UntilClose && !until_close.keep_alive);
        assert!(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n").is_err());
        assert!(parse("nonsense\r\n\r\n").is_err());
        assert!(parse("HTTP/1.1 100 Continue\r\n\r\n").unwrap().is_interim());
    }

    #[test]
    fn media_type_is_without_parameters() {
        let head = parse("HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n").unwrap();
        assert_eq!(head.media_type(), "text/event-stream");
    }
}
