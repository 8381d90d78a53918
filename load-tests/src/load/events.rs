//! Counts the server-sent events of a stream as its bytes pass, without keeping them.

/// Bytes of a line that are kept: enough to tell the lines below apart.
const LINE_START_MAX: usize = 16;

/// Counts events in a stream of OpenAI's kind.
#[derive(Debug, Default)]
pub(super) struct EventCounter {
    /// Events complete so far, `[DONE]` included.
    pub(super) complete: u64,
    /// Events whose data is an `{"error":…}` object.
    pub(super) errors: u64,
    /// Whether `data: [DONE]` came.
    pub(super) done: bool,
    line_start: [u8; LINE_START_MAX],
    line_bytes: usize,
    has_data: bool,
}

impl EventCounter {
    /// Takes the next bytes, however they are cut. Lines end in LF or CR LF.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end_of_line(),
                b'\r' => {}
                _ => {
                    if let Some(place) = self.line_start.get_mut(self.line_bytes) {
                        *place = byte;
                    }
                    self.line_bytes += 1;
                }
            }
        }
    }

    fn end_of_line(&mut self) {
        let kept = self.line_bytes.min(LINE_START_MAX);
        let line = self.line_start.get(..kept).unwrap_or_default();
        if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.trim_ascii_start();
            self.has_data = true;
            self.errors += u64::from(data.starts_with(b"{\"error\""));
            self.done |= data == b"[DONE]";
        } else if line.is_empty() && self.has_data {
            self.complete += 1;
            self.has_data = false;
        }
        self.line_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": comment\n\ndata: {\"a\":\"xxxxxxxxxxxxxxxxxxxxxxxx\"}\n\nevent: x\r\ndata: {}\r\n\r\ndata: {\"error\":{}}\n\ndata: [DONE]\n\n";

    #[test]
    fn needs_the_end_of_an_event() {
        let mut events = EventCounter::default();
        events.read(b"data: {}\n");
        assert_eq!(events.complete, 0);
        events.read(b"\ndata: [DONE] no\n\n");
        assert_eq!((events.complete, events.done), (2, false));
    }

    proptest::proptest! {
        #[test]
        fn cuts_make_no_difference(cut in 0..STREAM.len(), second in 0..STREAM.len()) {
            let (low, high) = (cut.min(second), cut.max(second));
            let mut events = EventCounter::default();
            for part in [&STREAM[..low], &STREAM[low..high], &STREAM[high..]] {
                events.read(part.as_bytes());
            }
            proptest::prop_assert_eq!((events.complete, events.errors, events.done), (4, 1, true));
        }
    }
}
