//! The events of one step of a stream, in one buffer that is used again and again: a token costs no allocation.

use serde::Serialize;
use serde_json::Value;

/// Server-sent events, whole, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Events {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Events {
    /// Makes room for the next step.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// One event, written as it goes out.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// An event without a name.
    pub(crate) fn json(&mut self, value: &impl Serialize) {
        self.push(|out| {
            out.extend_from_slice(b"data: ");
            put(value, out);
            out.extend_from_slice(b"\n\n");
        });
    }

    /// An event whose name stands in it as `type` too, as OpenAI's responses and Anthropic have them.
    pub(crate) fn named(&mut self, name: &str, mut value: Value) {
        value["type"] = Value::from(name);
        self.push(|out| {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\ndata: ");
            put(&value, out);
            out.extend_from_slice(b"\n\n");
        });
    }

    /// Every event.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(move |(start, end)| &self.bytes[start..*end])
    }
}

fn put(value: &impl Serialize, out: &mut Vec<u8>) {
    // Writing these plain structs to memory has no way to fail; an empty event would be seen at once.
    let _ = serde_json::to_writer(out, value);
}
