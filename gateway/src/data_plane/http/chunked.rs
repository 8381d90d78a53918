//! The chunked transfer coding (RFC 9112 §7.1), read strictly and written plainly.

/// Hexadecimal digits of a chunk size.
const SIZE_DIGITS_MAX: u32 = 15;
/// Bytes of chunk extensions and trailers that are skipped before the sender is suspected.
const IGNORED_BYTES_MAX: usize = 8 * 1024;

/// The end of a chunked body without trailers.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends `data` as one chunk; nothing for no data (an empty chunk would end the body).
pub(crate) fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Incremental decoder.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    size: u64,
    digits: u32,
    ignored: usize,
    line_is_empty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    Done,
}

/// The body is not chunked as it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunked body is malformed: {0}")]
pub(crate) struct ChunkError(&'static str);

impl Decoder {
    pub(super) fn new() -> Self {
        Self { state: State::Size, size: 0, digits: 0, ignored: 0, line_is_empty: true }
    }

    /// Whether the last chunk and its trailers were read.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads from `input`, appends data to `out` until it has at least `enough` more bytes; returns how much input was taken.
    ///
    /// # Errors
    /// [`ChunkError`] at the first byte that may not be there.
    pub(super) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Data => {
                    let available = input.len() - at;
                    let take = usize::try_from(self.size).map_or(available, |size| size.min(available));
                    out.extend_from_slice(input.get(at..at + take).unwrap_or_default());
                    at += take;
                    self.size -= take as u64;
                    if self.size == 0 {
                        self.state = State::DataCr;
                    }
                    continue;
                }
                State::Done => return Ok(at),
                _ => self.step(byte)?,
            }
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digits += 1;
                if self.digits > SIZE_DIGITS_MAX {
                    return Err(ChunkError("a chunk size is too large"));
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                self.size = self.size * 16 + u64::from(digit);
                State::Size
            }
            (State::Size, _) if self.digits == 0 => return Err(ChunkError("a chunk size is missing")),
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            (State::Size, _) => return Err(ChunkError("a chunk size is not hexadecimal")),
            (State::Extension, b'\n') => return Err(ChunkError("a line ends wrongly")),
            (State::Extension, _) => self.ignore(State::Extension)?,
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                if self.size == 0 { State::Trailer } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, b'\n') => return Err(ChunkError("a line ends wrongly")),
            (State::Trailer, _) => {
                self.line_is_empty = false;
                self.ignore(State::Trailer)?
            }
            (State::TrailerLf, b'\n') if self.line_is_empty => State::Done,
            (State::TrailerLf, b'\n') => {
                self.line_is_empty = true;
                State::Trailer
            }
            _ => return Err(ChunkError("a line does not end in CR LF")),
        };
        Ok(())
    }

    fn ignore(&mut self, next: State) -> Result<State, ChunkError> {
        self.ignored += 1;
        if self.ignored > IGNORED_BYTES_MAX {
            return Err(ChunkError("its extensions or trailers are too long"));
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decode(bytes: &[u8]) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let (mut decoder, mut out) = (Decoder::new(), Vec::new());
        let taken = decoder.decode(bytes, &mut out)?;
        Ok((out, taken, decoder.is_done()))
    }

    #[test]
    fn decodes_and_stops_at_the_end() {
        let (out, taken, done) = decode(b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\nGET /").unwrap();
        assert_eq!((out.as_slice(), taken, done), (b"hello!".as_slice(), 31, true));
    }

    #[test]
    fn refuses_sloppy_chunks() {
        for bad in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "5\nhello",
            "1\r\nab",
            "1\r\na\nb",
            "1000000000000000000\r\n",
            "0x5\r\n",
            "5;\n",
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_split_gives_the_same(chunks: Vec<Vec<u8>>, cut in 1usize..20) {
            let (mut coded, mut plain) = (Vec::new(), Vec::new());
            for chunk in &chunks {
                write_chunk(&mut coded, chunk);
                plain.extend_from_slice(chunk);
            }
            coded.extend_from_slice(LAST_CHUNK);
            let (mut decoder, mut out) = (Decoder::new(), Vec::new());
            for part in coded.chunks(cut) {
                let taken = decoder.decode(part, &mut out).unwrap();
                proptest::prop_assert_eq!(taken, part.len());
            }
            proptest::prop_assert!(decoder.is_done());
            proptest::prop_assert_eq!(out, plain);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
