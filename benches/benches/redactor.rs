//! Throughput of masking: clean text, text dense with personal data, and whole streams, beside a plain copy of the same bytes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use policy_compiler::dialect::Operation::ChatCompletions;
use policy_compiler::redact::{MaskPlan, StreamOutput, StreamRedactor, redact_answer};
use policy_lang::{Mask, Matcher, Selector, Side, Transform};
use std::hint::black_box;

const CLEAN: &str = "The patient was seen on Monday and reported no further pain. We agreed on a follow-up in 6 weeks, \
    with 20 mg of the usual medication once per day. ";
const DENSE: &str =
    "Bob (bob@example.com, 415-555-2671) paid with 4111 1111 1111 1111; SSN 536-22-8145, call +1 415 555 2671. ";
const TEXT_BYTES: usize = 64 * 1024;
const DELTA_CHARS: usize = 4;

fn plan() -> MaskPlan {
    let mask = Mask {
        side: Side::Response,
        record_only: false,
        selector: Selector::Text,
        matchers: policy_lang::catalogue::detectors()
            .iter()
            .map(|detector| Matcher::Detector(detector.id.to_owned()))
            .collect(),
        transform: Transform::Label,
    };
    MaskPlan::new(Side::Response, [("bench", &mask)]).expect("the built-in detectors compile")
}

fn text(of: &str) -> String {
    of.repeat(TEXT_BYTES / of.len() + 1)
}

fn whole_answers(criterion: &mut Criterion) {
    let plan = plan();
    let mut group = criterion.benchmark_group("redact_answer");
    for (name, of) in [("clean", CLEAN), ("dense", DENSE)] {
        let body = format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, text(of));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("mask", name), &body, |bencher, body| {
            bencher.iter(|| redact_answer(ChatCompletions, &plan, black_box(body.as_bytes())));
        });
        group.bench_with_input(BenchmarkId::new("memcpy", name), &body, |bencher, body| {
            bencher.iter(|| black_box(body.as_bytes()).to_vec());
        });
    }
    group.finish();
}

fn streams(criterion: &mut Criterion) {
    let plan = plan();
    let mut group = criterion.benchmark_group("stream");
    for (name, of) in [("clean", CLEAN), ("dense", DENSE)] {
        let text = text(of);
        let events: Vec<String> = text
            .as_bytes()
            .chunks(DELTA_CHARS)
            .map(|piece| {
                let piece = String::from_utf8_lossy(piece);
                format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}},\"finish_reason\":null}}]}}\n\n")
            })
            .collect();
        group.throughput(Throughput::Elements(events.len() as u64));
        group.bench_with_input(BenchmarkId::new("events", name), &events, |bencher, events| {
            bencher.iter(|| {
                let mut redactor = StreamRedactor::new(ChatCompletions, plan.clone(), 1);
                let mut out = StreamOutput::default();
                for event in events {
                    redactor.push(black_box(event.as_bytes()), &mut out).expect("a good event");
                    out.ready.clear();
                }
                redactor.finish(&mut out)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, whole_answers, streams);
criterion_main!(benches);
