//! The matrix of streams (`policy-compiler/tests/matrix`) with what stands around it on the wire: chunks of any size, a content coding, and reads
//! that end anywhere. `SALLYPORT_WIRE_PAIRS` asks for more or fewer pairs, `SALLYPORT_SEED` for others.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::chunked;
use crate::data_plane::coding;
use flate2::Compression;
use matrix::{DIALECTS, Numbers, number_of, pair, plans};
use policy_compiler::redact::{StreamOutput, StreamRedactor};
use std::io::Read as _;

#[path = "../../../../policy-compiler/tests/matrix/mod.rs"]
mod matrix;

const PAIRS: u64 = 8_000;
const CODINGS: [&str; 5] = ["gzip", "gzip", "br", "zstd", "deflate"];

fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let (mut out, level) = (Vec::new(), Compression::fast());
    match coding {
        "gzip" => flate2::bufread::GzEncoder::new(body, level).read_to_end(&mut out).unwrap(),
        "deflate" => flate2::bufread::ZlibEncoder::new(body, level).read_to_end(&mut out).unwrap(),
        "br" => brotli::CompressorReader::new(body, 4096, 1, 18).read_to_end(&mut out).unwrap(),
        "zstd" => return zstd::bulk::compress(body, 1).unwrap(),
        _ => return body.to_vec(),
    };
    out
}

/// In chunks of random sizes.
fn chunks(body: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    let most = [1, 5, 40, 4000][numbers.below(4)];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((1 + numbers.below(most)).min(rest.len()));
        chunked::write_chunk(&mut out, chunk);
        rest = behind;
    }
    out.extend_from_slice(chunked::LAST_CHUNK);
    out
}

#[test]
fn chunks_and_codings_change_nothing() {
    let plans = plans();
    let pairs = number_of("SALLYPORT_WIRE_PAIRS").unwrap_or(PAIRS);
    let seed = number_of("SALLYPORT_SEED").unwrap_or(6);
    for number in 0..pairs {
        let mut numbers = Numbers(seed.wrapping_mul(0x1_0000_0003).wrapping_add(number));
        let dialect = DIALECTS[usize::try_from(number).unwrap() % DIALECTS.len()];
        let plan = &plans[numbers.below(plans.len())];
        let pair = pair(dialect, plan, &mut numbers);
        let coding = CODINGS[numbers.below(CODINGS.len())];
        let wire = chunks(&encoded(coding, pair.stream.as_bytes()), &mut numbers);

        let (mut transfer, mut content) = (chunked::Decoder::new(), coding::Decoder::new(Some(coding)).unwrap());
        let mut redactor = StreamRedactor::new(dialect.operation, plan.clone(), 1);
        let mut out = StreamOutput::default();
        let size = [1, 7, 100, 5000][numbers.below(4)];
        for read in wire.chunks(size) {
            let (mut rest, mut coded, mut plain) = (read, Vec::new(), Vec::new());
            while !rest.is_empty() {
                let taken = transfer.decode(rest, &mut coded).unwrap();
                rest = &rest[taken..];
            }
            content.push(&coded, &mut plain).unwrap();
            redactor.push(&plain, &mut out).unwrap();
        }
        assert!(transfer.is_done());
        let mut plain = Vec::new();
        content.finish(&mut plain).unwrap();
        redactor.push(&plain, &mut out).unwrap();
        redactor.finish(&mut out).unwrap();
        let masked = String::from_utf8([out.ready, out.held].concat()).unwrap();
        pair.check(&masked, &format!("pair {number} of seed {seed}, {coding}"));
    }
    println!("{pairs} pairs in chunks and codings, 0 differences");
}
