//! How the bytes of a body are read: JSON, JSON lines, a form, tensors with a binary tail, text.

use super::operation::{AnswerBody, Operation, RequestBody};
use std::ops::Range;

/// How the bytes of a body are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// One JSON text.
    Json,
    /// One JSON text per line.
    Lines,
    /// JSON, then the bytes of its tensors (KServe's binary tensor extension).
    Tensors {
        /// Bytes of the JSON.
        json_bytes: usize,
    },
    /// `multipart/form-data` (RFC 7578).
    Form {
        /// Its boundary.
        boundary: String,
    },
    /// Text.
    Text,
    /// Nothing that a text policy could read.
    Opaque,
}

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Its media type is none that this operation takes or gives.
    #[error("the media type `{0}` is not one of this operation")]
    MediaType(String),
    /// A form that two readers could read differently.
    #[error("the form cannot be read: {0}")]
    Multipart(&'static str),
    /// The length of the JSON before the binary tail is no number, or longer than the body.
    #[error("`inference-header-content-length` does not fit the body")]
    HeaderLength,
    /// The binary tail does not have the length that the tensors say.
    #[error("the binary data does not fit its tensors: {0}")]
    Tensors(&'static str),
}

impl BodyForm {
    /// The form of a request.
    ///
    /// # Errors
    /// [`FormError`]
    pub fn of_request(
        operation: Operation,
        content_type: &str,
        inference_header_length: Option<&str>,
    ) -> Result<Self, FormError> {
        match operation.spec().request {
            RequestBody::Tensors(_) if inference_header_length.is_some() => tensors(inference_header_length),
            RequestBody::Form(_) | RequestBody::Upload if media_type(content_type) == "multipart/form-data" => {
                Ok(Self::Form { boundary: boundary(content_type)? })
            }
            RequestBody::Upload => Err(FormError::MediaType(media_type(content_type))),
            RequestBody::Nothing => Ok(Self::Opaque),
            RequestBody::Json(_) | RequestBody::Tensors(_) | RequestBody::Form(_) => Ok(Self::Json),
        }
    }

    /// The form of an answer that is not streamed.
    ///
    /// # Errors
    /// [`FormError`]
    pub fn of_answer(
        operation: Operation,
        content_type: &str,
        inference_header_length: Option<&str>,
    ) -> Result<Self, FormError> {
        let media_type = media_type(content_type);
        let json = media_type == "application/json" || media_type.ends_with("+json");
        match operation.spec().answer {
            AnswerBody::Tensors(_) if inference_header_length.is_some() => tensors(inference_header_length),
            AnswerBody::Lines if json || is_lines(&media_type) => Ok(Self::Lines),
            _ if json => Ok(Self::Json),
            AnswerBody::Transcript(..) if media_type.starts_with("text/") || media_type == "application/x-subrip" => {
                Ok(Self::Text)
            }
            AnswerBody::Opaque => Ok(Self::Opaque),
            _ => Err(FormError::MediaType(media_type)),
        }
    }
}

/// Media type without parameters, lower case.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_lines(media_type: &str) -> bool {
    // Servers of files rarely know what is in them.
    ["application/jsonl", "application/x-ndjson", "application/x-jsonl", "application/octet-stream", "text/plain"]
        .contains(&media_type)
}

fn tensors(length: Option<&str>) -> Result<BodyForm, FormError> {
    let json_bytes = length.and_then(|length| length.trim().parse().ok()).ok_or(FormError::HeaderLength)?;
    Ok(BodyForm::Tensors { json_bytes })
}

fn boundary(content_type: &str) -> Result<String, FormError> {
    let wrong = FormError::Multipart("its boundary is missing or unusual");
    let mut found = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    });
    let (Some(boundary), None) = (found.next(), found.next()) else { return Err(wrong) };
    let bare = boundary.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(boundary);
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    if bare.is_empty() || bare.len() > 70 || !bare.bytes().all(usual) {
        return Err(wrong);
    }
    Ok(bare.to_owned())
}

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartPart {
    /// Its field.
    pub name: String,
    /// Whether it is a file.
    pub is_file: bool,
    /// Its content, as bytes of the body.
    pub content: Range<usize>,
}

/// Parts of one form.
const PARTS_MAX: usize = 256;

/// The parts of a form. Only what every reader reads alike is taken: no preamble, no folded or unusual fields.
///
/// # Errors
/// [`FormError::Multipart`]
pub fn multipart_parts(boundary: &str, body: &[u8]) -> Result<Vec<MultipartPart>, FormError> {
    let wrong = FormError::Multipart;
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    if !body.starts_with(first.as_bytes()) {
        return Err(wrong("it does not begin with its boundary"));
    }
    let finder = memchr::memmem::Finder::new(between.as_bytes());
    let (mut parts, mut at) = (Vec::new(), first.len());
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if let Some(behind) = rest.strip_prefix(b"--") {
            return if behind.trim_ascii().is_empty() { Ok(parts) } else { Err(wrong("something follows its end")) };
        }
        if !rest.starts_with(b"\r\n") {
            return Err(wrong("a boundary is followed by something unusual"));
        }
        if parts.len() == PARTS_MAX {
            return Err(wrong("it has too many parts"));
        }
        let head_at = at + 2;
        // Searched from the CRLF, so that a part without content is found too.
        let head_end = memchr::memmem::find(body.get(at..).unwrap_or_default(), b"\r\n\r\n")
            .map(|found| at + found)
            .ok_or_else(|| wrong("a part has no end of its fields"))?;
        let head = body.get(head_at..head_end).unwrap_or_default();
        let content_at = head_end + 4;
        let end = finder
            .find(body.get(content_at - 2..).unwrap_or_default())
            .map(|found| content_at - 2 + found)
            .ok_or_else(|| wrong("it has no last boundary"))?;
        let (name, is_file) = part_head(head)?;
        parts.push(MultipartPart { name, is_file, content: content_at..end.max(content_at) });
        at = end + between.len();
    }
}

fn part_head(head: &[u8]) -> Result<(String, bool), FormError> {
    let wrong = FormError::Multipart;
    let head = std::str::from_utf8(head).map_err(|_| wrong("a field of a part is not UTF-8"))?;
    let mut found = None;
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':').ok_or_else(|| wrong("a part has a line that is no field"))?;
        if field.is_empty() || field.bytes().any(|byte| byte <= b' ' || byte >= 0x7F) {
            return Err(wrong("a part has an unusual field"));
        }
        if field.eq_ignore_ascii_case("content-transfer-encoding") {
            return Err(wrong("a part is encoded for transfer"));
        }
        if field.eq_ignore_ascii_case("content-disposition") && found.replace(disposition(value)?).is_some() {
            return Err(wrong("a part has two names"));
        }
    }
    found.ok_or_else(|| wrong("a part has no name"))
}

fn disposition(value: &str) -> Result<(String, bool), FormError> {
    let wrong = || FormError::Multipart("the name of a part is unusual");
    let mut rest = value.trim().strip_prefix("form-data").ok_or_else(wrong)?;
    let (mut name, mut is_file) = (None, false);
    while let Some(parameter) = rest.trim_start().strip_prefix(';') {
        let (key, quoted) = parameter.split_once("=\"").ok_or_else(wrong)?;
        let (text, behind) = quoted.split_once('"').ok_or_else(wrong)?;
        if text.contains(['\\', '\r', '\n']) {
            return Err(wrong());
        }
        match key.trim() {
            "name" if name.is_none() => name = Some(text.to_owned()),
            "filename" if !is_file => is_file = true,
            _ => return Err(wrong()),
        }
        rest = behind;
    }
    if !rest.trim().is_empty() {
        return Err(wrong());
    }
    Ok((name.ok_or_else(wrong)?, is_file))
}

/// The lines of a body that are not empty, as bytes of it.
pub(crate) fn lines(body: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    body.split(|&byte| byte == b'\n').filter_map(move |line| {
        let start = at;
        at += line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.trim_ascii().is_empty()).then_some(start..start + line.len())
    })
}

/// The elements of a binary BYTES tensor: each a length of four bytes, lowest first, and so many bytes.
///
/// # Errors
/// [`FormError::Tensors`]
pub(crate) fn tensor_elements(data: &[u8]) -> Result<Vec<&[u8]>, FormError> {
    let mut elements = Vec::new();
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let element = behind.get(..length).ok_or(FormError::Tensors("an element is longer than its tensor"))?;
        elements.push(element);
        rest = behind.get(length..).unwrap_or_default();
    }
    if rest.is_empty() { Ok(elements) } else { Err(FormError::Tensors("bytes are left behind the last element")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn form(text: &str) -> Result<Vec<(String, bool, String)>, FormError> {
        let body = text.replace('\n', "\r\n");
        let parts = multipart_parts("b", body.as_bytes())?;
        Ok(parts.into_iter().map(|part| (part.name, part.is_file, body[part.content].to_owned())).collect())
    }

    #[test]
    fn forms_are_read_strictly() {
        let good = "--b\nContent-Disposition: form-data; name=\"a\"\n\nx\n--b\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\nContent-Type: text/plain\n\n\n--b--\n";
        assert_eq!(
            form(good).unwrap(),
            [("a".to_owned(), false, "x".to_owned()), ("f".to_owned(), true, String::new())]
        );
        for bad in [
            "preamble\n--b--",
            "--b\nContent-Disposition: form-data; name=\"a\"\n\nx",
            "--b\nContent-Disposition: form-data; name=a\n\nx\n--b--",
            "--b\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\n\nx\n--b--",
            "--b\nContent-Disposition: form-data; name=\"a\"; filename*=utf-8''x\n\nx\n--b--",
            "--b\nContent-Disposition: form-data; name=\"a\"\nContent-Transfer-Encoding: base64\n\nx\n--b--",
            "--b\nContent-Disposition: form-data;\n name=\"a\"\n\nx\n--b--",
            "--b \nContent-Disposition: form-data; name=\"a\"\n\nx\n--b--",
            "--b\n\nx\n--b--",
            "--b--x",
        ] {
            assert!(form(bad).is_err(), "{bad}");
        }
        assert!(boundary("multipart/form-data; boundary=\"x y\"").is_err());
        assert_eq!(boundary("multipart/form-data; charset=x; Boundary=\"x.y\"").unwrap(), "x.y");
    }

    #[test]
    fn lines_and_elements() {
        let body = b"{}\r\n\n [1]\n";
        let found: Vec<&[u8]> = lines(body).map(|range| &body[range]).collect();
        assert_eq!(found, [&b"{}"[..], b" [1]"]);
        assert_eq!(tensor_elements(b"\x02\0\0\0ab\0\0\0\0").unwrap(), [&b"ab"[..], b""]);
        assert!(tensor_elements(b"\x03\0\0\0ab").is_err() && tensor_elements(b"\x00\0").is_err());
    }
}
