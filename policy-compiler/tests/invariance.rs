//! However an answer is cut, spelt and framed, its stream masks to what the whole answer masks to (MASKING §1): for every
//! dialect that streams, sampled by seed. `SALLYPORT_PAIRS` asks for more or fewer pairs, `SALLYPORT_SEED` for others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod matrix;

use matrix::{DIALECTS, Numbers, arguments, number_of, pair, pieces, plans, spelt, text};
use policy_compiler::dialect::Operation;
use policy_compiler::redact::{StreamOutput, StreamRedactor, redact_answer};
use serde_json::{Value, json};

const PAIRS: u64 = 50_000;

#[test]
fn streams_mask_like_whole_answers() {
    let plans = plans();
    let pairs = number_of("SALLYPORT_PAIRS").unwrap_or(PAIRS);
    let seed = number_of("SALLYPORT_SEED").unwrap_or(5);
    let mut changed = 0;
    for number in 0..pairs {
        let mut numbers = Numbers(seed.wrapping_mul(0x1_0000_0001).wrapping_add(number));
        let dialect = DIALECTS[usize::try_from(number).unwrap() % DIALECTS.len()];
        let plan = &plans[numbers.below(plans.len())];
        let pair = pair(dialect, plan, &mut numbers);

        let mut redactor = StreamRedactor::new(dialect.operation, plan.clone(), 1);
        let mut out = StreamOutput::default();
        let size = [1, 3, 17, 64, 1000, pair.stream.len().max(1)][numbers.below(6)];
        for piece in pair.stream.as_bytes().chunks(size) {
            redactor.push(piece, &mut out).unwrap();
        }
        redactor.finish(&mut out).unwrap();
        let masked = String::from_utf8([out.ready, out.held].concat()).unwrap();
        pair.check(&masked, &format!("pair {number} of seed {seed}"));
        if pair.expected == pair.text {
            // Nothing was found: what the stream says is what it said. Events that held nothing back are the same bytes.
            assert!(redactor.hits().is_empty(), "pair {number} of seed {seed}: {:?}", pair.text);
        }
        changed += u64::from(pair.expected != pair.text);
    }
    println!("{pairs} pairs, {changed} with something to mask, 0 differences");
    assert!(changed * 3 > pairs, "the texts must have something to mask");
}

/// Choice, call, pieces to come, and the text.
type Queue = (usize, Option<usize>, Vec<Vec<u16>>, String);

#[test]
fn four_choices_and_three_tools_interleaved() {
    let plan = plans().remove(0);
    for seed in 0..400 {
        let mut numbers = Numbers(seed);
        // Channels: four choices, each with content and three calls.
        let mut queues: Vec<Queue> = Vec::new();
        for choice in 0..4 {
            let content = text(&mut numbers);
            queues.push((choice, None, pieces(&content, &mut numbers), content));
            for call in 0..3 {
                let inner = arguments(&mut numbers);
                queues.push((choice, Some(call), pieces(&inner, &mut numbers), inner));
            }
        }
        let body = {
            let choices: Vec<Value> = (0..4)
                .map(|choice| {
                    let own: Vec<&String> =
                        queues.iter().filter(|queue| queue.0 == choice).map(|queue| &queue.3).collect();
                    let calls: Vec<Value> =
                        own[1..].iter().map(|text| json!({ "function": { "arguments": text } })).collect();
                    json!({ "index": choice, "message": { "content": own[0], "tool_calls": calls } })
                })
                .collect();
            json!({ "choices": choices }).to_string()
        };
        let (redacted, _) = redact_answer(Operation::ChatCompletions, &plan, body.as_bytes()).unwrap();
        let whole: Value = serde_json::from_slice(&redacted.body).unwrap();

        let mut stream = String::new();
        while queues.iter().any(|queue| !queue.2.is_empty()) {
            let at = numbers.below(queues.len());
            let (choice, call, rest, _) = &mut queues[at];
            if rest.is_empty() {
                continue;
            }
            let piece = spelt(&rest.remove(0), &mut numbers, 4);
            let delta = match call {
                None => format!(r#"{{"content":{piece}}}"#),
                Some(call) => format!(r#"{{"tool_calls":[{{"index":{call},"function":{{"arguments":{piece}}}}}]}}"#),
            };
            stream += &format!("data: {{\"choices\":[{{\"index\":{choice},\"delta\":{delta}}}]}}\n\n");
        }
        for choice in 0..4 {
            stream += &format!(
                "data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"
            );
        }
        let mut redactor = StreamRedactor::new(Operation::ChatCompletions, plan.clone(), 4);
        let mut out = StreamOutput::default();
        for piece in stream.as_bytes().chunks(1 + numbers.below(200)) {
            redactor.push(piece, &mut out).unwrap();
        }
        redactor.finish(&mut out).unwrap();
        let masked = String::from_utf8([out.ready, out.held].concat()).unwrap();
        let mut joined = vec![vec![String::new(); 4]; 4];
        for data in masked.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let value: Value = serde_json::from_str(data).unwrap();
            let choice = &value["choices"][0];
            let own = &mut joined[usize::try_from(choice["index"].as_u64().unwrap()).unwrap()];
            own[0] += choice["delta"]["content"].as_str().unwrap_or_default();
            for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                own[1 + usize::try_from(call["index"].as_u64().unwrap()).unwrap()] +=
                    call["function"]["arguments"].as_str().unwrap_or_default();
            }
        }
        for (choice, own) in joined.iter().enumerate() {
            let message = &whole["choices"][choice]["message"];
            assert_eq!(Some(own[0].as_str()), message["content"].as_str(), "seed {seed}, choice {choice}");
            for call in 0..3 {
                let expected = message["tool_calls"][call]["function"]["arguments"].as_str();
                assert_eq!(Some(own[1 + call].as_str()), expected, "seed {seed}, choice {choice}, call {call}");
                assert!(serde_json::from_str::<Value>(&own[1 + call]).is_ok(), "the arguments stay JSON");
            }
        }
    }
}
