//! `sallyport mask`: what a policy's masks make of a text, a JSON body or a recorded stream.

use super::Failure;
use crate::policy_slot;
use clap::ValueEnum;
use policy_compiler::dialect::{self, BodyForm, Operation};
use policy_compiler::redact::{self, Framing, Hit, MaskPlan, PlainRedactor, RedactError, StreamOutput, StreamRedactor};
use policy_lang::{Effect, Program, Side};
use serde_json::json;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Bytes of the largest JSON body that is read.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes that are read at once, and that the kind of the input is told from.
const PIECE_BYTES: usize = 64 * 1024;
/// Choices of a stream whose request is not known.
const CHOICES: u32 = 1;

/// Reads standard input, writes it masked to standard output.
///
/// The masks of every enforced rule apply, whatever the rule's condition: conditions are about calls, and this is none.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A `.policy` file, or a directory of them
    #[arg(long, value_name = "PATH")]
    policy: PathBuf,
    /// What the input is: an API's path such as `/v1/messages`; `chat`, `completions`, `responses`, `messages`, `tgi` or
    /// `kserve`; `json` for JSON or JSON lines of any kind; `text`. Without it, it is told from the first bytes
    #[arg(long, value_name = "D")]
    dialect: Option<String>,
    /// Whose masks apply
    #[arg(long, value_enum, default_value_t = Of::Response)]
    side: Of,
    /// Prints each hit to standard error as a line of JSON; never the value
    #[arg(long)]
    hits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// The masks of requests
    Request,
    /// The masks of answers
    Response,
}

/// What the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Text,
    /// JSON of any kind: every string is looked at.
    AnyJson,
    Body(Operation),
    Stream(Operation, Framing),
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let prepared = policy_slot::prepare(&args.policy, true).map_err(|error| Failure::bad(error.render(false)))?;
    let program = prepared.compiled.program();
    let mut input = io::stdin().lock();
    let mut first = Vec::new();
    input.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut first).map_err(Failure::cannot_tell)?;
    let kind = kind(args.dialect.as_deref(), &first)?;
    let side = if args.side == Of::Request { Side::Request } else { Side::Response };
    let plan = if kind == Input::AnyJson {
        MaskPlan::over_everything(side, masks(program))
    } else {
        MaskPlan::new(side, masks(program))
    }
    .map_err(Failure::bad)?;
    if plan.is_empty() {
        let message = format!("the policy has no mask for a {}; see --side", word(side));
        return Err(Failure::bad(message));
    }
    let mut input = first.as_slice().chain(input);
    let hits = match kind {
        Input::Text => text(&plan, &mut input)?,
        Input::Stream(operation, framing) => stream(&plan, operation, framing, &mut input)?,
        Input::AnyJson | Input::Body(_) => {
            let mut body = Vec::new();
            input.take(BODY_BYTES_MAX + 1).read_to_end(&mut body).map_err(Failure::cannot_tell)?;
            if body.len() as u64 > BODY_BYTES_MAX {
                return Err(Failure::bad(format!("the body is larger than {BODY_BYTES_MAX} bytes")));
            }
            match kind {
                Input::Body(operation) => whole(&plan, operation, side, &body)?,
                _ => any_json(&plan, &body)?,
            }
        }
    };
    if args.hits {
        hits.iter().for_each(print_hit);
    }
    Ok(())
}

fn word(side: Side) -> &'static str {
    if side == Side::Request { "request" } else { "response" }
}

/// The masks of every rule that is enforced.
fn masks(program: &Program) -> impl Iterator<Item = (&str, &policy_lang::Mask)> {
    program.rules.iter().filter(|rule| !rule.shadow).flat_map(|rule| {
        rule.effects.iter().filter_map(|effect| match effect {
            Effect::Mask(mask) => Some((rule.name.as_str(), mask)),
            _ => None,
        })
    })
}

fn kind(dialect: Option<&str>, first: &[u8]) -> Result<Input, Failure> {
    let start = first.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first).trim_ascii_start();
    let is_stream = [&b"data:"[..], b"event:", b":", b"id:", b"retry:"].iter().any(|field| start.starts_with(field));
    let is_json = matches!(start.first(), Some(b'{' | b'['));
    let operation = match dialect {
        Some("text") => return Ok(Input::Text),
        Some("json") => return Ok(Input::AnyJson),
        None if is_stream => guessed(first),
        None if is_json => return Ok(Input::AnyJson),
        None => return Ok(Input::Text),
        Some(name) => named(name)?,
    };
    if is_stream {
        return Ok(Input::Stream(operation, Framing::Events));
    }
    Ok(Input::Body(operation))
}

fn named(name: &str) -> Result<Operation, Failure> {
    let path = match name {
        "chat" => "/v1/chat/completions",
        "completions" => "/v1/completions",
        "responses" => "/v1/responses",
        "messages" => "/v1/messages",
        "tgi" => "/generate",
        "kserve" => "/v2/models/any/infer",
        path => path,
    };
    dialect::route("POST", path).or_else(|| dialect::route("GET", path)).ok_or_else(|| {
        let known = "chat, completions, responses, messages, tgi, kserve, json, text, or a path such as /v1/embeddings";
        Failure::usage(format!("there is no dialect `{name}`; known are {known}"))
    })
}

/// Which API streams so.
fn guessed(first: &[u8]) -> Operation {
    let says = |text: &str| memchr_of(first, text.as_bytes());
    if says("\"response.") {
        Operation::Responses
    } else if says("message_start") || says("content_block") {
        Operation::Messages
    } else if says("\"generated_text\"") {
        Operation::TgiGenerateStream
    } else if says("text_completion") {
        Operation::Completions
    } else {
        Operation::ChatCompletions
    }
}

fn memchr_of(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn text(plan: &MaskPlan, input: &mut impl Read) -> Result<Vec<Hit>, Failure> {
    let mut redactor = PlainRedactor::new(plan);
    let mut out = Vec::new();
    each_piece(input, |piece| {
        redactor.push(piece, &mut out)?;
        Ok(std::mem::take(&mut out))
    })?;
    let mut rest = Vec::new();
    redactor.finish(&mut rest).map_err(failed)?;
    write(&rest)?;
    Ok(redactor.take())
}

fn stream(plan: &MaskPlan, operation: Operation, framing: Framing, input: &mut impl Read) -> Result<Vec<Hit>, Failure> {
    let mut redactor = StreamRedactor::new(operation, plan.clone(), CHOICES).framed(framing);
    let mut out = StreamOutput::default();
    each_piece(input, |piece| {
        redactor.push(piece, &mut out)?;
        // There is no record to wait for.
        let mut ready = std::mem::take(&mut out.ready);
        ready.append(&mut out.held);
        Ok(ready)
    })?;
    redactor.finish(&mut out).map_err(failed)?;
    out.ready.append(&mut out.held);
    write(&out.ready)?;
    Ok(redactor.hits().to_vec())
}

fn whole(plan: &MaskPlan, operation: Operation, side: Side, body: &[u8]) -> Result<Vec<Hit>, Failure> {
    let redacted = match side {
        Side::Request => redact::redact_request(operation, plan, body),
        Side::Response => redact::redact_answer(operation, plan, body).map(|(redacted, _)| redacted),
    };
    let redacted = redacted.map_err(failed)?;
    write(&redacted.body)?;
    Ok(redacted.hits)
}

/// One JSON text, or one per line. Lines that are none are looked at as text.
fn any_json(plan: &MaskPlan, body: &[u8]) -> Result<Vec<Hit>, Failure> {
    let mask = |part: &[u8]| {
        let redacted =
            redact::redact_request_as(Operation::ChatCompletions, &BodyForm::Json, plan, part).map_err(failed)?;
        write(&redacted.body)?;
        Ok(redacted.hits)
    };
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        return mask(body);
    }
    let mut hits = Vec::new();
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        hits.extend(mask(line)?);
    }
    Ok(hits)
}

/// Reads to the end; what each piece released is written before the next one is read.
fn each_piece(
    input: &mut impl Read,
    mut mask: impl FnMut(&[u8]) -> Result<Vec<u8>, RedactError>,
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let got = match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::cannot_tell(error)),
        };
        let released = mask(piece.get(..got).unwrap_or_default()).map_err(failed)?;
        write(&released)?;
    }
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(Failure::bad)
}

fn failed(error: RedactError) -> Failure {
    Failure::bad(format!("the input cannot be masked, so the rest of it is not written: {error}"))
}

fn print_hit(hit: &Hit) {
    let line = json!({
        "rule": &*hit.rule,
        "detector": &*hit.detector,
        "pointer": hit.pointer,
        "channel": hit.channel,
        "offset": hit.offset,
        "length": hit.length,
        "action": hit.action,
    });
    eprintln!("{line}");
}
