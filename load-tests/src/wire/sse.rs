//! Server-sent events (WHATWG HTML, section 9.2.6) taken from a stream as its bytes pass.

/// Bytes of one event's data that are kept; the rest of a longer one is read over.
const DATA_BYTES_MAX: usize = 256 * 1024;

/// Gets the data of each complete event.
pub(crate) trait EventSink {
    /// One event; the lines of its data are joined by LF.
    fn event(&mut self, data: &[u8]);
}

/// Splits a stream into events. Lines end in LF or CR LF.
#[derive(Debug, Default)]
pub(crate) struct EventSplitter {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl EventSplitter {
    /// Takes the next bytes, however they are cut.
    pub(crate) fn read(&mut self, bytes: &[u8], sink: &mut impl EventSink) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (now, later) = rest.split_at(end + 1);
            rest = later;
            if self.line.is_empty() {
                self.end_of_line(now, sink);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(now);
                self.end_of_line(&line, sink);
                line.clear();
                self.line = line;
            }
        }
        if self.line.len() < DATA_BYTES_MAX {
            self.line.extend_from_slice(rest);
        }
    }

    fn end_of_line(&mut self, line: &[u8], sink: &mut impl EventSink) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(data) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            if self.data.len() < DATA_BYTES_MAX {
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
        } else if line.is_empty() && self.has_data {
            sink.event(&self.data);
            self.data.clear();
            self.has_data = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct All(Vec<String>);

    impl EventSink for All {
        fn event(&mut self, data: &[u8]) {
            self.0.push(String::from_utf8_lossy(data).into_owned());
        }
    }

    const STREAM: &str = ": comment\n\ndata: {\"a\":1}\n\nevent: x\r\ndata: {}\r\n\r\ndata:one\ndata: two\n\ndata: [DONE]\n\ndata: open\n";

    proptest::proptest! {
        #[test]
        fn cuts_make_no_difference(cut in 0..STREAM.len(), second in 0..STREAM.len()) {
            let (low, high) = (cut.min(second), cut.max(second));
            let (mut splitter, mut all) = (EventSplitter::default(), All::default());
            for part in [&STREAM[..low], &STREAM[low..high], &STREAM[high..]] {
                splitter.read(part.as_bytes(), &mut all);
            }
            proptest::prop_assert_eq!(all.0, ["{\"a\":1}", "{}", "one\ntwo", "[DONE]"]);
        }
    }
}
