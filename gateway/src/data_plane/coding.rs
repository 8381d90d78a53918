//! Content codings (RFC 9110 §8.4): gzip, br, zstd, deflate. What is looked into is decoded as it comes and passed on
//! without a coding; what cannot be decoded does not pass.

use std::io::{self, Write as _};

use brotli_decompressor::DecompressorWriter;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation as _, OutBuffer};

/// What one piece from the wire may become, in bytes: a bomb is stopped before it is held whole.
const PIECE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Working memory of one brotli decoder, in bytes.
const BROTLI_BUFFER_BYTES: usize = 4096;
/// And of one step of the others.
const STEP_BYTES: usize = 32 * 1024;
/// Bits of the largest zstd window (RFC 8878 §3.1.1.1.2 recommends 8 MB for decoders).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why a body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodingError {
    #[error("the content coding `{0}` is none of gzip, br, zstd and deflate")]
    Unknown(String),
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
    #[error("the body is larger than {0} bytes when it is decoded")]
    TooLarge(usize),
}

/// A decoder for one body.
pub(crate) struct Decoder {
    name: &'static str,
    state: State,
}

enum State {
    Identity,
    Gzip(Box<MultiGzDecoder<Bounded>>),
    /// Whether the bytes are zlib's (RFC 9110 §8.4.1.2) or bare, as some servers send them, shows in the first two.
    Deflate(Vec<u8>),
    Inflate(Box<Inflate>),
    Brotli(Box<DecompressorWriter<Bounded>>),
    Zstd(Box<Zstd>),
}

struct Inflate {
    decoder: Decompress,
    complete: bool,
}

struct Zstd {
    decoder: ZstdDecoder<'static>,
    /// Whether the last frame is complete.
    complete: bool,
}

/// Takes what a decoder writes, up to a bound per piece.
#[derive(Default)]
struct Bounded {
    out: Vec<u8>,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() + bytes.len() > PIECE_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    /// The decoder of a `content-encoding` field.
    ///
    /// # Errors
    /// [`CodingError::Unknown`], also for more than one coding.
    pub(crate) fn new(content_encoding: Option<&str>) -> Result<Self, CodingError> {
        let coding = content_encoding.unwrap_or_default().trim().to_ascii_lowercase();
        let bounded = Bounded::default;
        let (name, state) = match coding.as_str() {
            "" | "identity" => ("identity", State::Identity),
            "gzip" | "x-gzip" => ("gzip", State::Gzip(Box::new(MultiGzDecoder::new(bounded())))),
            "deflate" => ("deflate", State::Deflate(Vec::new())),
            "br" => ("br", State::Brotli(Box::new(DecompressorWriter::new(bounded(), BROTLI_BUFFER_BYTES)))),
            "zstd" => ("zstd", State::Zstd(Box::new(Zstd::new().map_err(|_| CodingError::Invalid("zstd"))?))),
            _ => return Err(CodingError::Unknown(coding)),
        };
        Ok(Self { name, state })
    }

    /// Whether bytes pass as they are.
    pub(crate) fn is_identity(&self) -> bool {
        matches!(self.state, State::Identity)
    }

    /// Decodes the next piece and appends what it gives.
    ///
    /// # Errors
    /// [`CodingError`]; the body must not be used any further.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        if let State::Deflate(first) = &mut self.state {
            first.extend_from_slice(piece);
            let &[method, flags, ..] = first.as_slice() else { return Ok(()) };
            // RFC 1950 §2.2: method 8, and both bytes as one number divisible by 31.
            let is_zlib = method & 0x0F == 8 && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31);
            let first = std::mem::take(first);
            self.state = State::Inflate(Box::new(Inflate { decoder: Decompress::new(is_zlib), complete: false }));
            return self.push(&first, out);
        }
        let written = match &mut self.state {
            State::Identity | State::Deflate(_) => {
                out.extend_from_slice(piece);
                return Ok(());
            }
            State::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            State::Inflate(decoder) => decoder.push(piece, out),
            State::Brotli(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            State::Zstd(decoder) => decoder.push(piece, out),
        };
        written.map_err(|error| self.explain(&error))?;
        let decoded = match &mut self.state {
            State::Gzip(decoder) => &mut decoder.get_mut().out,
            State::Brotli(decoder) => &mut decoder.get_mut().out,
            State::Identity | State::Deflate(_) | State::Inflate(_) | State::Zstd(_) => return Ok(()),
        };
        out.append(decoded);
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// [`CodingError`] if it is not complete.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), CodingError> {
        let finished = match &mut self.state {
            State::Identity => Ok(()),
            // One byte is no deflate stream; nothing at all is an empty body.
            State::Deflate(first) if first.is_empty() => Ok(()),
            State::Deflate(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            State::Gzip(decoder) => decoder.try_finish(),
            State::Brotli(decoder) => decoder.close(),
            State::Inflate(decoder) if decoder.complete => Ok(()),
            State::Zstd(decoder) if decoder.complete => Ok(()),
            State::Inflate(_) | State::Zstd(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        finished.map_err(|error| self.explain(&error))?;
        match &mut self.state {
            State::Gzip(decoder) => out.append(&mut decoder.get_mut().out),
            State::Brotli(decoder) => out.append(&mut decoder.get_mut().out),
            State::Identity | State::Deflate(_) | State::Inflate(_) | State::Zstd(_) => {}
        }
        Ok(())
    }

    fn explain(&self, error: &io::Error) -> CodingError {
        match error.kind() {
            io::ErrorKind::StorageFull => CodingError::TooLarge(PIECE_BYTES_MAX),
            _ => CodingError::Invalid(self.name),
        }
    }
}

impl Inflate {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut step = vec![0; STEP_BYTES];
        let (start, mut rest) = (out.len(), piece);
        loop {
            if self.complete {
                return if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) };
            }
            let (taken, given) = (self.decoder.total_in(), self.decoder.total_out());
            let status = self.decoder.decompress(rest, &mut step, FlushDecompress::None).map_err(io::Error::other)?;
            let taken = usize::try_from(self.decoder.total_in() - taken).unwrap_or(rest.len());
            let given = usize::try_from(self.decoder.total_out() - given).unwrap_or(STEP_BYTES);
            rest = rest.get(taken..).unwrap_or_default();
            out.extend_from_slice(step.get(..given).unwrap_or_default());
            self.complete = status == Status::StreamEnd;
            if out.len() - start > PIECE_BYTES_MAX {
                return Err(io::ErrorKind::StorageFull.into());
            }
            // A full buffer may have more behind it although the input is used up.
            if !self.complete && rest.is_empty() && given < STEP_BYTES {
                return Ok(());
            }
        }
    }
}

impl Zstd {
    fn new() -> io::Result<Self> {
        let mut decoder = ZstdDecoder::new()?;
        decoder.set_parameter(zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self { decoder, complete: true })
    }

    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if piece.is_empty() {
            // libzstd would take it for the beginning of another frame, and many in a row for a stream that does not get on.
            return Ok(());
        }
        let mut input = InBuffer::around(piece);
        let mut step = vec![0; STEP_BYTES];
        let start = out.len();
        loop {
            let mut output = OutBuffer::around(step.as_mut_slice());
            let hint = self.decoder.run(&mut input, &mut output)?;
            let written = output.pos();
            out.extend_from_slice(step.get(..written).unwrap_or_default());
            self.complete = hint == 0;
            if out.len() - start > PIECE_BYTES_MAX {
                return Err(io::ErrorKind::StorageFull.into());
            }
            // A full buffer may have more behind it although the input is used up.
            if input.pos() == piece.len() && written < STEP_BYTES {
                return Ok(());
            }
        }
    }
}

/// Decodes a whole body of at most so many bytes.
///
/// # Errors
/// [`CodingError`]
pub(crate) fn decode_whole(
    content_encoding: Option<&str>,
    body: Vec<u8>,
    bytes_max: usize,
) -> Result<Vec<u8>, CodingError> {
    let mut decoder = Decoder::new(content_encoding)?;
    if decoder.is_identity() {
        return Ok(body);
    }
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(bytes_max));
    // In steps, so that the bound holds before everything is decoded.
    for piece in body.chunks(4096) {
        decoder.push(piece, &mut out)?;
        if out.len() > bytes_max {
            return Err(CodingError::TooLarge(bytes_max));
        }
    }
    decoder.finish(&mut out)?;
    if out.len() > bytes_max { Err(CodingError::TooLarge(bytes_max)) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use flate2::Compression;
    use std::io::Read as _;

    fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let level = Compression::default();
        match coding {
            "gzip" => flate2::bufread::GzEncoder::new(body, level).read_to_end(&mut out),
            "deflate" => flate2::bufread::ZlibEncoder::new(body, level).read_to_end(&mut out),
            "bare" => flate2::bufread::DeflateEncoder::new(body, level).read_to_end(&mut out),
            "br" => brotli::CompressorReader::new(body, 4096, 5, 20).read_to_end(&mut out),
            "zstd" => Ok(zstd::bulk::compress(body, 3).map(|bytes| out = bytes).map(|()| 0).unwrap()),
            _ => Ok(0),
        }
        .unwrap();
        out
    }

    #[test]
    fn every_coding_in_pieces_of_every_size() {
        let body = "SSN 536-22-8145 and more text, and more text, and more. ".repeat(200);
        for coding in ["gzip", "deflate", "bare", "br", "zstd"] {
            let bytes = encoded(coding, body.as_bytes());
            let field = if coding == "bare" { "deflate" } else { coding };
            for size in [1, 2, 3, 7, 64, bytes.len()] {
                let mut decoder = Decoder::new(Some(field)).unwrap();
                let mut out = Vec::new();
                for piece in bytes.chunks(size) {
                    decoder.push(piece, &mut out).unwrap();
                    // As chunk sizes give that come alone.
                    decoder.push(&[], &mut out).unwrap();
                }
                decoder.finish(&mut out).unwrap();
                assert_eq!(out, body.as_bytes(), "{coding} by {size}");
            }
            // A body that breaks off is no body.
            assert!(decode_whole(Some(field), bytes[..bytes.len() / 2].to_vec(), 1 << 20).is_err(), "{coding}");
        }
    }

    proptest::proptest! {
        #[test]
        fn streams_mask_alike_through_every_coding(
            words in proptest::collection::vec(
                proptest::sample::select(vec!["536-22-8145", "4111 1111 1111 1111", "bob@example.com", " ", "fine ", "5", "é", "-"]),
                0..8,
            ),
            cuts in proptest::collection::vec(1_usize..6, 1..20),
            size in 1_usize..90,
        ) {
            let text = words.concat();
            let (mut stream, mut rest) = (String::new(), text.as_str());
            for cut in cuts.into_iter().cycle() {
                let at = rest.char_indices().nth(cut).map_or(rest.len(), |(at, _)| at);
                let (piece, behind) = rest.split_at(at);
                stream += &format!(
                    "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{}}}}}]}}\n\n",
                    serde_json::Value::from(piece)
                );
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            stream += "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
            let expected = masked([stream.as_bytes()].into_iter());
            for coding in ["gzip", "deflate", "br", "zstd"] {
                let bytes = encoded(coding, stream.as_bytes());
                let mut decoder = Decoder::new(Some(coding)).unwrap();
                let mut pieces = Vec::new();
                for piece in bytes.chunks(size) {
                    let mut out = Vec::new();
                    decoder.push(piece, &mut out).unwrap();
                    pieces.push(out);
                }
                proptest::prop_assert_eq!(&masked(pieces.iter().map(Vec::as_slice)), &expected);
            }
        }
    }

    /// What a stream says in these pieces, masked, as bytes.
    fn masked<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> String {
        use policy_compiler::dialect::Operation;
        use policy_compiler::redact::{MaskPlan, StreamOutput, StreamRedactor};
        use policy_lang::Side;
        thread_local! {
            static PLAN: MaskPlan = MaskPlan::recorded(Side::Response, []).unwrap();
        }
        let plan = PLAN.with(Clone::clone);
        let mut redactor = StreamRedactor::new(Operation::ChatCompletions, plan, 1);
        let mut out = StreamOutput::default();
        for piece in pieces {
            redactor.push(piece, &mut out).unwrap();
        }
        redactor.finish(&mut out).unwrap();
        String::from_utf8([out.ready, out.held].concat()).unwrap()
    }

    #[test]
    fn bombs_nonsense_and_unknown_codings_are_refused() {
        let zeroes = vec![0; 64 << 20];
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let bomb = encoded(coding, &zeroes);
            let error = decode_whole(Some(coding), bomb, 1 << 20).unwrap_err();
            assert!(matches!(error, CodingError::TooLarge(_)), "{coding}: {error}");
            assert!(
                decode_whole(Some(coding), b"\x42 this is not coded at all".to_vec(), 1 << 20).is_err(),
                "{coding}"
            );
        }
        for unknown in ["compress", "gzip, br", "aws-chunked"] {
            assert!(matches!(Decoder::new(Some(unknown)), Err(CodingError::Unknown(_))), "{unknown}");
        }
        assert_eq!(decode_whole(Some("Identity"), b"x".to_vec(), 10).unwrap(), b"x");
        assert_eq!(decode_whole(None, b"x".to_vec(), 10).unwrap(), b"x");
    }
}
