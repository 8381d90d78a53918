//! Events that carry text which was held back when no event of its channel comes any more.

use super::edits::Edits;
use super::event::StreamChannel;
use super::frames::{Framing, RawEvent};
use crate::dialect::{ChannelSpec, Step, StreamTable, steps};
use crate::json::{Document, NodeId, write_string};

/// Stands for the event's number in a [`Pattern`]: no JSON has this byte.
const NUMBER: u8 = 0;

/// The last event of a channel, to be sent once more with other text.
#[derive(Debug, Default)]
pub(crate) struct Pattern {
    /// The line that names the event.
    name: Vec<u8>,
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Pattern {
    /// Remembers an event whose text stands at `text`.
    pub(crate) fn remember(
        &mut self,
        event: &RawEvent,
        document: &Document<'_>,
        text: NodeId,
        number: Option<NodeId>,
        edits: &Edits,
    ) {
        let bytes = document.bytes();
        let text = document.range(text);
        let part = |range: std::ops::Range<usize>| {
            let mut out = Vec::new();
            let number = number
                .map(|number| document.range(number))
                .filter(|number| number.start >= range.start && number.end <= range.end);
            match number {
                Some(number) => {
                    out.extend(edits.apply_within(bytes, range.start..number.start));
                    out.push(NUMBER);
                    out.extend(edits.apply_within(bytes, number.end..range.end));
                }
                None => out.extend(edits.apply_within(bytes, range)),
            }
            // The line feed of a joined event would end the data line.
            out.retain(|&byte| byte != b'\n');
            out
        };
        self.before = part(0..text.start);
        self.behind = part(text.end..bytes.len());
        self.name = event.name_line().to_vec();
    }

    /// The event, with this text and, where the API numbers events, this number.
    pub(crate) fn event(&self, text: &[u8], number: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.before.len() + text.len() + self.behind.len() + 64);
        if !self.name.is_empty() {
            out.extend_from_slice(&self.name);
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        let number = number.to_string();
        let write = |part: &[u8], out: &mut Vec<u8>| {
            for &byte in part {
                if byte == NUMBER { out.extend_from_slice(number.as_bytes()) } else { out.push(byte) }
            }
        };
        write(&self.before, &mut out);
        write_string(text, &mut out);
        write(&self.behind, &mut out);
        out.extend_from_slice(b"\n\n");
        out
    }
}

/// Members of the head of an event, as they are written, for [`event`].
pub(crate) fn head(document: &Document<'_>) -> Vec<u8> {
    let mut head = Vec::new();
    for name in ["id", "object", "created", "model", "system_fingerprint", "model_name", "model_version"] {
        if let Ok(Some(node)) = document.get(document.root(), name) {
            write_string(name.as_bytes(), &mut head);
            head.push(b':');
            // The line feed of a joined event would end the data line.
            head.extend(document.raw(node).iter().filter(|&&byte| byte != b'\n'));
            head.push(b',');
        }
    }
    head
}

/// An event of an API whose events are all alike, made from the place of the channel's pieces.
pub(crate) fn event(
    head: &[u8],
    table: &StreamTable,
    channel: StreamChannel,
    spec: &ChannelSpec,
    text: &[u8],
    framing: Framing,
) -> Vec<u8> {
    let mut out = if framing == Framing::Events { b"data: ".to_vec() } else { Vec::new() };
    let mut ends: Vec<&[u8]> = Vec::new();
    let mut indices = channel.indices.as_slice().iter();
    out.push(b'{');
    ends.push(b"}");
    out.extend_from_slice(head);
    let steps: Vec<Step> = steps(spec.event).collect();
    let mut inside_object = true;
    for step in steps {
        match step {
            Step::Name(name) => {
                if !inside_object {
                    out.push(b'{');
                    ends.push(b"}");
                }
                write_string(name.as_bytes(), &mut out);
                out.push(b':');
                inside_object = false;
            }
            Step::Element => {
                let number = indices.next().copied().unwrap_or_default();
                out.extend_from_slice(format!("[{{\"index\":{number},").as_bytes());
                // Only a choice has a reason to finish.
                let first = ends.len() == 1 && table.marks == crate::dialect::Marks::Finish;
                ends.push(if first { b",\"finish_reason\":null}]" } else { b"}]" });
                inside_object = true;
            }
            Step::Any | Step::Below => {}
        }
    }
    write_string(text, &mut out);
    for end in ends.iter().rev() {
        out.extend_from_slice(end);
    }
    out.extend_from_slice(if framing == Framing::Events { b"\n\n" } else { b"\n" });
    out
}
