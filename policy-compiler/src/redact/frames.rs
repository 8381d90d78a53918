//! Events cut out of bytes without losing one: server-sent events (WHATWG HTML §9.2) with line ends LF, CRLF or CR, a byte
//! order mark, several `data:` lines, comments, and any of it split between two chunks; or one JSON text per line.

use super::RedactError;
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of one event.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// Bytes of room that are kept between two events.
const SPARE_BYTES_MAX: usize = 512;

/// How events are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    #[default]
    Events,
    /// One JSON text per line.
    Lines,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// An event as it came, the empty line that ends it included.
#[derive(Debug, Default)]
pub(crate) struct RawEvent {
    bytes: Vec<u8>,
    data: Vec<DataLine>,
    /// The line that names it, without its end.
    name: Range<usize>,
}

/// A `data:` line.
#[derive(Clone, Debug)]
struct DataLine {
    /// With its end.
    line: Range<usize>,
    value: Range<usize>,
}

/// What the framer found.
#[derive(Debug)]
pub(crate) enum Frame {
    /// An event.
    Event(RawEvent),
    /// The LF of a CRLF whose CR ended the event before.
    LineFeed,
}

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    framing: Framing,
    event: RawEvent,
    /// Room of an event that was dealt with.
    spare: RawEvent,
    line_start: usize,
    /// The last byte was a CR that ended a line.
    after_cr: bool,
    began: bool,
}

impl Framer {
    /// Cuts bytes that are framed so.
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, ..Self::default() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`RedactError::EventTooLong`]
    pub(crate) fn push(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), RedactError> {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            if let Some((b'\n', behind)) = rest.split_first() {
                self.late_line_feed(frames);
                rest = behind;
            }
        }
        while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
            let crlf = rest.get(at..at + 2) == Some(b"\r\n");
            let width = if crlf { 2 } else { 1 };
            let (line, behind) = rest.split_at(at + width);
            self.append(line)?;
            self.after_cr = rest.get(at) == Some(&b'\r') && !crlf && behind.is_empty();
            rest = behind;
            self.end_line(width, frames);
        }
        self.append(rest)
    }

    /// What is left when the stream ends: an event without the empty line.
    pub(crate) fn finish(&mut self) -> Option<RawEvent> {
        if self.line_start < self.event.bytes.len() {
            self.read_line(0);
        }
        let event = std::mem::take(&mut self.event);
        (!event.bytes.is_empty()).then_some(event)
    }

    /// Takes back the room of an event that was dealt with.
    pub(crate) fn recycle(&mut self, mut event: RawEvent) {
        if event.bytes.capacity() <= SPARE_BYTES_MAX {
            event.bytes.clear();
            event.data.clear();
            event.name = 0..0;
            let next = if self.event.bytes.capacity() == 0 { &mut self.event } else { &mut self.spare };
            *next = event;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), RedactError> {
        if self.event.bytes.len() + bytes.len() > EVENT_BYTES_MAX {
            return Err(RedactError::EventTooLong);
        }
        self.event.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn late_line_feed(&mut self, frames: &mut Vec<Frame>) {
        if self.event.bytes.is_empty() {
            frames.push(Frame::LineFeed);
            return;
        }
        self.event.bytes.push(b'\n');
        self.line_start += 1;
        let end = self.event.bytes.len();
        if let Some(last) = self.event.data.last_mut()
            && last.line.end + 1 == end
        {
            last.line.end = end;
        }
    }

    /// A line is complete; its end takes `width` bytes.
    fn end_line(&mut self, width: usize, frames: &mut Vec<Frame>) {
        if self.read_line(width) {
            let next = std::mem::take(&mut self.spare);
            frames.push(Frame::Event(std::mem::replace(&mut self.event, next)));
            self.line_start = 0;
        } else {
            self.line_start = self.event.bytes.len();
        }
    }

    /// Reads the last line; whether it was empty.
    fn read_line(&mut self, width: usize) -> bool {
        let end = self.event.bytes.len();
        let mut start = self.line_start;
        let line = |start: usize| self.event.bytes.get(start..end - width).unwrap_or_default();
        if !std::mem::replace(&mut self.began, true) && line(start).starts_with(BOM) {
            start += BOM.len();
        }
        let content = line(start);
        if self.framing == Framing::Lines {
            let value = start..end - width;
            if !content.trim_ascii().is_empty() {
                self.event.data.push(DataLine { line: self.line_start..end, value });
            }
            return true;
        }
        if content.is_empty() {
            return true;
        }
        if content.starts_with(b"event:") {
            self.event.name = start..end - width;
        }
        let value_at = match content.strip_prefix(b"data") {
            Some([]) => Some(4),
            Some([b':', b' ', ..]) => Some(6),
            Some([b':', ..]) => Some(5),
            _ => None,
        };
        if let Some(value_at) = value_at {
            self.event.data.push(DataLine { line: self.line_start..end, value: start + value_at..end - width });
        }
        false
    }
}

impl RawEvent {
    /// The event as it came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The line that names it; empty if there is none.
    pub(crate) fn name_line(&self) -> &[u8] {
        self.bytes.get(self.name.clone()).unwrap_or_default()
    }

    /// Its data, lines joined by LF; `None` if it has none (comments).
    pub(crate) fn data(&self) -> Option<Cow<'_, [u8]>> {
        let (first, others) = self.data.split_first()?;
        let value = |line: &DataLine| self.bytes.get(line.value.clone()).unwrap_or_default();
        if others.is_empty() {
            return Some(Cow::Borrowed(value(first)));
        }
        let mut joined = value(first).to_vec();
        for line in others {
            joined.push(b'\n');
            joined.extend_from_slice(value(line));
        }
        Some(Cow::Owned(joined))
    }

    /// What stands around its data, if that is on one line and the other data would be, too.
    pub(crate) fn around_data(&self, other: &[u8]) -> Option<(&[u8], &[u8])> {
        let [line] = self.data.as_slice() else { return None };
        let plain = memchr::memchr(b'\n', other).is_none();
        plain.then_some((self.bytes.get(..line.value.start)?, self.bytes.get(line.value.end..)?))
    }

    /// The event with other data, if given, and its other lines (comments, fields, line ends) as `other` gives them.
    pub(crate) fn rewritten(
        &self,
        data: Option<&[u8]>,
        mut other: impl FnMut(&[u8]) -> Result<Vec<u8>, RedactError>,
    ) -> Result<Vec<u8>, RedactError> {
        let slice = |range: Range<usize>| self.bytes.get(range).unwrap_or_default();
        let mut out = Vec::with_capacity(self.bytes.len() + data.map_or(0, <[u8]>::len));
        let mut at = 0;
        for (index, line) in self.data.iter().enumerate() {
            out.extend(other(slice(at..line.line.start))?);
            match data {
                None => out.extend_from_slice(slice(line.line.clone())),
                Some(data) if index == 0 => {
                    out.extend_from_slice(slice(line.line.start..line.value.start));
                    out.extend(self.data_lines(data));
                    out.extend_from_slice(slice(line.value.end..line.line.end));
                }
                // All data went into the first line's place.
                Some(_) => {}
            }
            at = line.line.end;
        }
        out.extend(other(slice(at..self.bytes.len()))?);
        Ok(out)
    }

    /// Data as it stands between the first `data:` and its line end.
    fn data_lines(&self, data: &[u8]) -> Vec<u8> {
        let line_end = self
            .data
            .first()
            .map_or(&b""[..], |first| self.bytes.get(first.value.end..first.line.end).unwrap_or_default());
        let separator: &[u8] = if line_end.is_empty() { b"\n" } else { line_end };
        let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
        lines.join(&[separator, b"data: "].concat()[..])
    }
}
