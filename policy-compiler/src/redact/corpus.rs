//! Every value of the detectors' list in every sentence of a corpus, cut in many ways; and how much ordinary text is held back.
//!
//! `CORPUS=all` cuts every text everywhere; otherwise a sample of the texts is, and the others are cut at random.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::channel::{Core, Masked, Sink};
use super::laws::{check_every_split, masks, run, whole};
use crate::detect::tests::VALUES;
use crate::dialect::TextKind;
use policy_lang::Transform as Wanted;

/// Where a value can stand. `#` is the value.
const SENTENCES: &[&str] = include!("../detect/tests/sentences.in");

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn texts() -> Vec<String> {
    VALUES.iter().flat_map(|value| SENTENCES.iter().map(move |sentence| sentence.replace('#', value))).collect()
}

#[test]
fn no_cut_of_the_corpus_changes_the_result() {
    let texts = texts();
    assert!(texts.len() >= 3_000, "{}", texts.len());
    let masks = masks(&Wanted::Label, &["(?i)zz+top"]);
    let everything = std::env::var("CORPUS").is_ok_and(|value| value == "all");
    let mut state = 7;
    let mut pairs = 0;
    for (number, text) in texts.iter().enumerate() {
        let expected = whole(TextKind::Plain, &masks, text);
        assert_eq!(whole(TextKind::Plain, &masks, &expected), expected, "masked twice: {text:?}");
        let bytes = text.as_bytes();
        assert_eq!(run(TextKind::Plain, &masks, bytes.chunks(1)).last(), Some(&expected), "byte by byte: {text:?}");
        pairs += 1;
        if everything || number % 7 == 0 {
            check_every_split(TextKind::Plain, &masks, text);
            pairs += bytes.len();
        }
        for _ in 0..4 {
            let mut pieces = Vec::new();
            let mut rest = bytes;
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(1 + (next(&mut state) % 12) as usize));
                pieces.push(piece);
                rest = behind;
            }
            assert_eq!(run(TextKind::Plain, &masks, pieces).last(), Some(&expected), "in pieces: {text:?}");
            pairs += 1;
        }
    }
    println!("{} texts, {pairs} ways to cut them", texts.len());
}

/// How many bytes came out.
#[derive(Default)]
struct Count(usize);

impl Sink for Count {
    fn keep(&mut self, text: &[u8]) {
        self.0 += text.len();
    }

    fn mask(&mut self, masked: Masked<'_>) {
        self.0 += masked.text.len();
    }
}

#[test]
fn little_of_ordinary_text_is_held_back() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut prose = String::new();
    for page in ["README.md", "docs/architecture.md", "docs/evidence/threat-model.md", "docs/evidence/record.md"] {
        prose += &std::fs::read_to_string(root.join(page)).unwrap();
    }
    let masks = masks(&Wanted::Label, &[]);
    let mut core = Core::new(masks.uses);
    let (mut count, mut given, mut state) = (Count::default(), 0, 7);
    let mut held = Vec::new();
    let mut rest = prose.as_bytes();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(2 + (next(&mut state) % 6) as usize));
        core.feed(piece, false, &mut count).unwrap();
        given += piece.len();
        held.push(given - count.0);
        rest = behind;
    }
    held.sort_unstable();
    let mean = held.iter().sum::<usize>() as f64 / held.len() as f64;
    let (p99, most) = (held[held.len() * 99 / 100], held[held.len() - 1]);
    println!("held back with all detectors: mean {mean:.1} bytes, p99 {p99}, max {most}, over {} deltas", held.len());
    assert!(mean <= 6.0 && p99 <= 32 && most <= 320, "mean {mean:.1}, p99 {p99}, max {most}");
}
