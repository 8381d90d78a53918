//! Bytes per second of masking, beside a copy of the same bytes: `cargo run --release -p policy-compiler --example redact_speed`.
//!
//! With an argument (`clean`, `dense`, `clean-all`, `dense-v`, `stream`) only that is run, once, for counting instructions under
//! callgrind; `text-clean` and `text-dense` print the texts.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use policy_compiler::dialect::Operation::ChatCompletions;
use policy_compiler::redact::{MaskPlan, PlainRedactor, StreamOutput, StreamRedactor};
use policy_lang::catalogue::{DetectorTier, detectors};
use policy_lang::{Mask, Matcher, Selector, Side, Transform};
use std::hint::black_box;
use std::time::Instant;

/// Technical prose; digits, capitals and punctuation are as frequent as they are in it.
const CLEAN: &str = "The scheduler assigns 16 blocks to each request; when memory runs low, it preempts the newest one \
    and recomputes its state later. We measured version 0.9.2 on 8 cores: throughput rose by 23 % and the latency of the first \
    token fell from 120 ms to 85 ms. See section 4.1 (page 12) for the details, and the appendix for what was left out.\n";
const DENSE: &str =
    "Bob (bob@example.com, 415-555-2671) paid with 4111 1111 1111 1111; SSN 536-22-8145, call +1 415 555 2671. ";
const TEXT_BYTES: usize = 256 * 1024;

fn plan(all: bool, regexes: usize) -> MaskPlan {
    let wanted = detectors().iter().filter(|detector| all || detector.tier == DetectorTier::Validated);
    let mut matchers: Vec<Matcher> = wanted.map(|detector| Matcher::Detector(detector.id.to_owned())).collect();
    matchers.extend((0..regexes).map(|number| Matcher::Regex(format!(r"\bPRJ{number}-[A-Z]{{3}}[0-9]{{4,8}}\b"))));
    let mask = Mask {
        side: Side::Response,
        record_only: false,
        selector: Selector::Text,
        matchers,
        transform: Transform::Label,
    };
    MaskPlan::new(Side::Response, [("speed", &mask)]).unwrap()
}

fn mask(plan: &MaskPlan, text: &str) -> usize {
    let mut redactor = PlainRedactor::new(plan);
    let mut out = Vec::with_capacity(text.len());
    for piece in text.as_bytes().chunks(16 * 1024) {
        redactor.push(black_box(piece), &mut out).unwrap();
    }
    redactor.finish(&mut out).unwrap();
    out.len()
}

fn events(text: &str) -> Vec<String> {
    let event = |piece: &[u8]| {
        let piece = String::from_utf8_lossy(piece).replace('\n', "\\n");
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    text.as_bytes().chunks(4).map(event).collect()
}

fn stream(plan: &MaskPlan, events: &[String]) -> usize {
    let mut redactor = StreamRedactor::new(ChatCompletions, plan.clone(), 1);
    let mut out = StreamOutput::default();
    let mut bytes = 0;
    for event in events {
        redactor.push(black_box(event.as_bytes()), &mut out).unwrap();
        bytes += out.ready.len();
        out.ready.clear();
    }
    redactor.finish(&mut out).unwrap();
    bytes + out.held.len()
}

/// Bytes of memory that a stream takes which has said something and waits for more.
fn idle_bytes(plan: &MaskPlan, events: &[String]) -> usize {
    const STREAMS: usize = 10_000;
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
    };
    let said = |_| {
        let mut redactor = StreamRedactor::new(ChatCompletions, plan.clone(), 1);
        let mut out = StreamOutput::default();
        events.iter().take(120).for_each(|event| redactor.push(event.as_bytes(), &mut out).unwrap());
        redactor
    };
    let mut streams: Vec<StreamRedactor> = (0..STREAMS).map(said).collect();
    let first = resident();
    streams.extend((0..STREAMS).map(said));
    black_box(&streams);
    (resident() - first) / STREAMS
}

/// The best of some runs, in seconds.
fn best(mut run: impl FnMut() -> usize) -> f64 {
    let once = |run: &mut dyn FnMut() -> usize| {
        let began = Instant::now();
        black_box(run());
        began.elapsed().as_secs_f64()
    };
    (0..7).map(|_| once(&mut run)).fold(f64::INFINITY, f64::min)
}

fn main() {
    let only = std::env::args().nth(1);
    let repeated = |of: &str| of.repeat(TEXT_BYTES / of.len() + 1);
    let (clean, dense) = (repeated(CLEAN), repeated(DENSE));
    let plan_v = plan(false, 0);
    match only.as_deref() {
        Some("clean") => return println!("{}", mask(&plan_v, &clean)),
        Some("dense") => return println!("{}", mask(&plan(true, 20), &dense)),
        Some("clean-all") => return println!("{}", mask(&plan(true, 20), &clean)),
        Some("dense-v") => return println!("{}", mask(&plan_v, &dense)),
        Some("text-clean") => return print!("{clean}"),
        Some("text-dense") => return print!("{dense}"),
        Some("stream") => return println!("{}", stream(&plan_v, &events(&clean[..64 * 1024]))),
        _ => {}
    }
    let mb = |bytes: usize, seconds: f64| bytes as f64 / seconds / 1e6;
    let plan_all = plan(true, 20);
    for (name, text) in [("clean", &clean), ("dense", &dense)] {
        println!("{name}: copy {:.0} MB/s", mb(text.len(), best(|| black_box(text.as_bytes()).to_vec().len())));
        println!("{name}: tier V {:.1} MB/s", mb(text.len(), best(|| mask(&plan_v, text))));
        println!("{name}: all and 20 regexes {:.1} MB/s", mb(text.len(), best(|| mask(&plan_all, text))));
    }
    for (name, text) in [("clean", &clean), ("dense", &dense)] {
        let events = events(&text[..64 * 1024]);
        let seconds = best(|| stream(&plan_v, &events));
        println!("{name}: {:.2} us per event of 4 characters", seconds / events.len() as f64 * 1e6);
    }
    println!("idle stream: {} bytes", idle_bytes(&plan_v, &events(&clean[..1024])));
    println!("plan of all and 20 regexes: {:.2} ms", best(|| usize::from(plan(true, 20).is_empty())) * 1e3);
}
