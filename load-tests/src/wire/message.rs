//! One HTTP/1.1 message as it comes: its head whole, its body in pieces.

use std::mem::{self, MaybeUninit};
use std::ops::Range;

use super::chunked::Chunked;

/// Longest head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most headers of a message.
const HEADERS_MAX: usize = 100;

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Clone, Debug)]
pub(crate) enum Framing {
    Length(u64),
    Chunked(Chunked),
    /// Until the connection ends.
    UntilClose,
}

/// A head that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadError;

/// What kind of message is read, and what its head says.
pub(crate) trait Head: Sized {
    /// Parses a head; `None` when it is not complete. Gives its length in bytes and how its body is framed.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize, Framing)>, HeadError>;
}

/// The head of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) keep_alive: bool,
    /// The answer's `x-sallyport-request-id`.
    pub(crate) request_id: Option<String>,
}

/// The head of a request, as it came: what most requests are not asked for is not taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    bytes: Box<[u8]>,
    method: Range<usize>,
    path: Range<usize>,
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
}

impl Request {
    pub(crate) fn method(&self) -> &str {
        self.text(&self.method)
    }

    /// Path and query.
    pub(crate) fn path(&self) -> &str {
        self.text(&self.path)
    }

    /// Names in lower case; bytes that are no text are replaced.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        // It was parsed before: it is a head.
        let _ = httparse::Request::new(&mut headers).parse(&self.bytes);
        let named = headers.iter().take_while(|header| !header.name.is_empty());
        named
            .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
            .collect()
    }

    /// The first value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.bytes.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// Reads one message.
#[derive(Debug)]
pub(crate) struct Message<H> {
    /// The start of a head that came in pieces.
    partial: Vec<u8>,
    head: Option<H>,
    framing: Framing,
}

impl<H> Default for Message<H> {
    fn default() -> Self {
        Self { partial: Vec::new(), head: None, framing: Framing::Length(0) }
    }
}

impl<H: Head> Message<H> {
    /// The head, once it is complete.
    pub(crate) fn head(&self) -> Option<&H> {
        self.head.as_ref()
    }

    /// Whether no byte of the message has come yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.head.is_none() && self.partial.is_empty()
    }

    /// Whether the message is whole now, or would be if the connection ended now (`at_end`).
    pub(crate) fn is_whole(&self, at_end: bool) -> bool {
        self.head.is_some()
            && match &self.framing {
                Framing::Length(left) => *left == 0,
                Framing::Chunked(chunked) => chunked.is_done(),
                Framing::UntilClose => at_end,
            }
    }

    /// Reads on; hands over pieces of the body and says how many bytes belonged to this message.
    pub(crate) fn read(&mut self, bytes: &[u8], body: &mut dyn FnMut(&[u8])) -> Result<usize, HeadError> {
        if self.head.is_some() {
            return self.read_body(bytes, body);
        }
        if self.partial.is_empty() {
            // The usual case: the whole head in one piece, parsed where it lies.
            if let Some((head, length, framing)) = H::parse(bytes)? {
                (self.head, self.framing) = (Some(head), framing);
                return Ok(length + self.read_body(&bytes[length..], body)?);
            }
            self.partial.extend_from_slice(bytes);
        } else {
            let before = self.partial.len();
            self.partial.extend_from_slice(bytes);
            if let Some((head, length, framing)) = H::parse(&self.partial)? {
                (self.head, self.framing) = (Some(head), framing);
                let used = length.saturating_sub(before);
                self.partial = Vec::new();
                return Ok(used + self.read_body(&bytes[used..], body)?);
            }
        }
        if self.partial.len() > HEAD_BYTES_MAX { Err(HeadError) } else { Ok(bytes.len()) }
    }

    fn read_body(&mut self, bytes: &[u8], body: &mut dyn FnMut(&[u8])) -> Result<usize, HeadError> {
        match &mut self.framing {
            Framing::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= take as u64;
                if take > 0 {
                    body(&bytes[..take]);
                }
                Ok(take)
            }
            Framing::Chunked(chunked) => chunked.read(bytes, body).ok_or(HeadError),
            Framing::UntilClose => {
                body(bytes);
                Ok(bytes.len())
            }
        }
    }

    /// Gives the head away and makes ready for the next message.
    pub(crate) fn take(&mut self) -> Option<H> {
        mem::take(self).head
    }
}

impl Head for Reply {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize, Framing)>, HeadError> {
        let mut skipped = 0;
        loop {
            let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            let mut parsed = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let read = config.parse_response_with_uninit_headers(&mut parsed, &bytes[skipped..], &mut headers);
            let Ok(status) = read else { return Err(HeadError) };
            let httparse::Status::Complete(length) = status else { return Ok(None) };
            let code = parsed.code.unwrap_or(0);
            // Interim answers, such as 100 Continue, are followed by the real one.
            if (100..200).contains(&code) {
                skipped += length;
                continue;
            }
            let (framing, keep_alive) = framing(parsed.headers, parsed.version, Framing::UntilClose)?;
            let framing = if matches!(code, 204 | 304) { Framing::Length(0) } else { framing };
            let keep_alive = keep_alive && !matches!(framing, Framing::UntilClose);
            let request_id = parsed
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("x-sallyport-request-id"))
                .map(|header| String::from_utf8_lossy(header.value).into_owned());
            return Ok(Some((Self { status: code, keep_alive, request_id }, skipped + length, framing)));
        }
    }
}

impl Head for Request {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize, Framing)>, HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut []);
        let Ok(status) = parsed.parse_with_uninit_headers(bytes, &mut headers) else { return Err(HeadError) };
        let httparse::Status::Complete(length) = status else { return Ok(None) };
        let (framing, keep_alive) = framing(parsed.headers, parsed.version, Framing::Length(0))?;
        let expects_continue = parsed.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("expect") && header.value.eq_ignore_ascii_case(b"100-continue")
        });
        let place = |text: Option<&str>| {
            // Both are slices of these bytes.
            let text = text.unwrap_or_default();
            let start = (text.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
            start..start + text.len()
        };
        let request = Self {
            method: place(parsed.method),
            path: place(parsed.path),
            bytes: bytes[..length].into(),
            keep_alive,
            expects_continue,
        };
        Ok(Some((request, length, framing)))
    }
}

/// How the body ends and whether the connection lives on.
fn framing(
    headers: &[httparse::Header<'_>],
    version: Option<u8>,
    neither: Framing,
) -> Result<(Framing, bool), HeadError> {
    let (mut length, mut chunked, mut keep_alive) = (None, false, version == Some(1));
    for header in headers {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()).ok_or(HeadError)?;
            if length.replace(number).is_some_and(|before| before != number) {
                return Err(HeadError);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked |= value.to_ascii_lowercase().ends_with(b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            match value.to_ascii_lowercase().as_slice() {
                b"close" => keep_alive = false,
                b"keep-alive" => keep_alive = true,
                _ => {}
            }
        }
    }
    let framing = match (chunked, length) {
        (true, _) => Framing::Chunked(Chunked::default()),
        (false, Some(length)) => Framing::Length(length),
        (false, None) => neither,
    };
    Ok((framing, keep_alive))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn read_in_parts(bytes: &[u8], cuts: [usize; 2]) -> (Message<Reply>, Vec<u8>, usize) {
        let (mut message, mut text, mut used) = (Message::default(), Vec::new(), 0);
        let (low, high) = (cuts[0].min(cuts[1]), cuts[0].max(cuts[1]));
        for part in [&bytes[..low], &bytes[low..high], &bytes[high..]] {
            if !message.is_whole(false) {
                used += message.read(part, &mut |data| text.extend_from_slice(data)).unwrap();
            }
        }
        (message, text, used)
    }

    const ANSWER: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\
        X-Sallyport-Request-Id: r1\r\n\r\nhelloHTTP/1.1";

    proptest::proptest! {
        #[test]
        fn cuts_make_no_difference(first in 0..ANSWER.len() - 8, second in 0..ANSWER.len() - 8) {
            let (message, text, used) = read_in_parts(ANSWER, [first, second]);
            let head = message.head().unwrap();
            proptest::prop_assert_eq!((head.status, head.keep_alive, head.request_id.as_deref()), (200, true, Some("r1")));
            proptest::prop_assert_eq!((text.as_slice(), used), (&b"hello"[..], ANSWER.len() - 8));
        }
    }

    #[test]
    fn the_end_of_a_body() {
        for (head, whole_now, whole_at_end, keep) in [
            ("HTTP/1.1 204 No\r\n\r\n", true, true, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true, true, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", false, false, true),
            ("HTTP/1.1 200 OK\r\n\r\nx", false, true, false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", true, true, false),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", true, true, false),
        ] {
            let mut message = Message::<Reply>::default();
            message.read(head.as_bytes(), &mut |_| {}).unwrap();
            let got = (message.is_whole(false), message.is_whole(true), message.head().unwrap().keep_alive);
            assert_eq!(got, (whole_now, whole_at_end, keep), "{head}");
        }
        for bad in ["HTP/1.1 200\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"] {
            assert!(Message::<Reply>::default().read(bad.as_bytes(), &mut |_| {}).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request() {
        let mut message = Message::<Request>::default();
        let mut body = Vec::new();
        let bytes = b"POST /v1?x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nokGET";
        let used = message.read(bytes, &mut |data| body.extend_from_slice(data)).unwrap();
        assert_eq!((used, body.as_slice(), message.is_whole(false)), (bytes.len() - 3, &b"ok"[..], true));
        let request = message.take().unwrap();
        assert_eq!((request.method(), request.path()), ("POST", "/v1?x"));
        assert_eq!((request.header("host").as_deref(), request.header("x")), (Some("h"), None));
        assert!(request.expects_continue && request.keep_alive && message.is_untouched());
    }
}
