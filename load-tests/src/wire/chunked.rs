//! Chunked transfer coding (RFC 9112, section 7.1), read piece by piece.

/// Longest line of a size, its extensions or a trailer, in bytes.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Where in the coding we are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data {
        left: u64,
    },
    DataEnd,
    Trailer,
    Done,
}

impl Chunked {
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on. Hands over the data and says how many bytes belonged to the message; `None` if this is no chunked coding.
    pub(crate) fn read(&mut self, bytes: &[u8], data: &mut dyn FnMut(&[u8])) -> Option<usize> {
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Done {
            if let State::Data { left } = &mut self.state {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                let (now, later) = rest.split_at(take);
                data(now);
                *left -= take as u64;
                rest = later;
                if *left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.line.extend_from_slice(rest);
                rest = &[];
                if self.line.len() > LINE_BYTES_MAX {
                    return None;
                }
                continue;
            };
            let (now, later) = rest.split_at(end + 1);
            self.line.extend_from_slice(now);
            rest = later;
            self.state = next(self.state, self.line.trim_ascii())?;
            self.line.clear();
        }
        Some(bytes.len() - rest.len())
    }
}

fn next(state: State, line: &[u8]) -> Option<State> {
    Some(match state {
        State::Size => {
            let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
            match u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()? {
                0 => State::Trailer,
                left => State::Data { left },
            }
        }
        State::DataEnd if line.is_empty() => State::Size,
        State::DataEnd => return None,
        State::Trailer if line.is_empty() => State::Done,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const CODED: &[u8] = b"5;x=y\r\nhello\r\n1\r\n \r\n0A\r\n0123456789\r\n0\r\nTrailer: a\r\n\r\nnext";

    proptest::proptest! {
        #[test]
        fn cuts_make_no_difference(cut in 0..CODED.len(), second in 0..CODED.len()) {
            let (low, high) = (cut.min(second), cut.max(second));
            let (mut chunked, mut text, mut used) = (Chunked::default(), Vec::new(), 0);
            for part in [&CODED[..low], &CODED[low..high], &CODED[high..]] {
                used += chunked.read(part, &mut |data| text.extend_from_slice(data)).unwrap();
            }
            proptest::prop_assert!(chunked.is_done());
            proptest::prop_assert_eq!(used, CODED.len() - 4);
            proptest::prop_assert_eq!(text, b"hello 0123456789");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for bad in [&b"x\r\n"[..], b"\r\n", b"3\r\nabcd\r\n", b"fffffffffffffffff\r\n"] {
            assert_eq!(Chunked::default().read(bad, &mut |_| {}), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
