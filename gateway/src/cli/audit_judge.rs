//! `audit replay --policy`: recorded calls, judged by another policy set (DECISIONS 28).
//!
//! What was recorded is masked, so detectors are not run again over it: recorded hits stand for them. A condition on what was not
//! recorded (headers, claims, scopes, `env`), or on text that touches a masked place, is unknown. A verdict that is the same
//! whatever the unknown conditions would say is the verdict; else the call is *undecidable*, and it is said why.

use super::{Place, cannot_tell, not_recorded};
use crate::cli::{Failure, printable};
use crate::clock::Clock;
use crate::config::Dialect;
use audit_shipper::read::{self, Judged, Query, Source};
use jiff::tz::TimeZone;
use policy_compiler::dialect::{BodyForm, Operation, Request};
use policy_compiler::{BuiltInDetectors, DetectorScan, PolicyTextEngine};
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{
    Atom, BodyView, Condition, DeclaredPurpose, Facts, Nothing, Phase, Program, SourceKind, StrSet, TextEngine,
    TextTest, Truth, Unread, Verdict, interpret,
};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Ways in which unknown conditions may turn out that are tried out: more make a call undecidable.
const CASES_MAX: usize = 729;
/// Groups that no token names; conditions on them stand for what is known to be true or false.
const TRUE: &str = "\u{0}true";
const FALSE: &str = "\u{0}false";
/// Lines of changes that are printed.
const LINES_SHOWN: usize = 1000;

pub(super) fn run(
    policy: &Path,
    id: Option<&str>,
    query: &str,
    zone: &str,
    place: Place,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let loaded = policy_lang::load_path(policy).map_err(|found| Failure::bad(found.render_all(false)))?;
    let zone = TimeZone::get(zone).map_err(|error| Failure::usage(format!("--zone {zone}: {error}")))?;
    if loaded.program.rules.iter().any(|rule| rule.phase == Phase::Response) {
        let _ = writeln!(out, "rules that read the answer are left out");
    }
    let terms = id.map_or_else(|| query.to_owned(), |id| format!("{query} id:{id}"));
    let query = Query::parse(&terms).map_err(Failure::usage)?;
    not_recorded();
    let judge = Judge { program: loaded.program, zone };
    let mut tally = Tally::default();
    read::judged(&Source::from(place), &query, &mut |call| {
        tally.add(&call, &judge.judge(&call), out);
        Ok(())
    })
    .map_err(cannot_tell)?;
    let Tally { same, changed, undecidable, skipped } = tally;
    let _ = writeln!(
        out,
        "{same} the same, {changed} changed, {undecidable} undecidable, {skipped} never judged by a policy"
    );
    if changed > 0 { Err(Failure::bad(format!("{changed} would be decided otherwise"))) } else { Ok(()) }
}

#[derive(Default)]
struct Tally {
    same: usize,
    changed: usize,
    undecidable: usize,
    skipped: usize,
}

impl Tally {
    fn add(&mut self, call: &Judged, judged: &Result<(&'static str, Vec<String>), String>, out: &mut dyn Write) {
        let was = if call.decision == "approved" { "pending" } else { call.decision.as_str() };
        let line = match judged {
            _ if was == "reject" => {
                self.skipped += 1;
                return;
            }
            Ok((is, _)) if *is == was => {
                self.same += 1;
                return;
            }
            Ok((is, rules)) => {
                self.changed += 1;
                format!("{} {} -> {is} ({})", call.id, call.decision, rules.join(", "))
            }
            Err(why) => {
                self.undecidable += 1;
                format!("{} {} -> undecidable: {why}", call.id, call.decision)
            }
        };
        if self.changed + self.undecidable <= LINES_SHOWN {
            let _ = writeln!(out, "{}", printable(&line));
        }
    }
}

struct Judge {
    program: Arc<Program>,
    zone: TimeZone,
}

impl Judge {
    /// The verdict and the rules that fired, or why that cannot be told.
    fn judge(&self, call: &Judged) -> Result<(&'static str, Vec<String>), String> {
        if call.envelope.is_null() {
            return Err("its encrypted part cannot be opened (erased, or no key)".to_owned());
        }
        if let Some(why) = &call.unreadable {
            return Err(format!("its request cannot be read: {why}"));
        }
        let path = call.text("path").split('?').next().unwrap_or_default().to_owned();
        let operation = Dialect::Auto.route(call.text("method"), &path);
        if call.dialect != operation.map_or("opaque", |operation| operation.dialect()) && !call.dialect.is_empty() {
            return Err(format!("the dialect `{}` is a matter of the configuration", call.dialect));
        }
        match operation {
            Some(operation) if operation.has_body() && !call.request.is_empty() => {
                let form =
                    BodyForm::of_request(operation, &call.request_type, None).map_err(|error| error.to_string())?;
                let request = Request::parse(operation, &form, &call.request).map_err(|error| error.to_string())?;
                let body = Body { view: &request, request: Some(&request), recorded: true };
                self.over(call, &path, Some(operation), &body)
            }
            Some(operation) if operation.has_body() => {
                self.over(call, &path, Some(operation), &Body { view: &Unread, request: None, recorded: false })
            }
            operation => self.over(call, &path, operation, &Body { view: &Nothing, request: None, recorded: true }),
        }
    }

    fn over(
        &self,
        call: &Judged,
        path: &str,
        operation: Option<Operation>,
        body: &Body<'_, '_>,
    ) -> Result<(&'static str, Vec<String>), String> {
        let detectors = Arc::new(Recorded::of(call));
        let engine = PolicyTextEngine::new(&self.program, Arc::clone(&detectors) as Arc<dyn DetectorScan>)
            .map_err(|error| error.to_string())?;
        let groups: Vec<String> = list(call, "groups").into_iter().chain([TRUE.to_owned()]).collect();
        let moment = Clock::manual(call.unix_ms).moment(&self.zone);
        let purposes = purposes(call);
        let mut facts =
            Facts { groups: &groups, purposes: &purposes, body: body.view, text_engine: &engine, ..Facts::empty() };
        let mut set = |field: StrField, value| {
            if let Some(slot) = facts.strings.get_mut(field as usize) {
                *slot = value;
            }
        };
        set(StrField::Subject, call.text("subject"));
        set(StrField::Issuer, call.text("issuer"));
        set(StrField::ClientId, call.text("client"));
        set(StrField::Kind, call.caller.as_str());
        set(StrField::Method, call.text("method"));
        set(StrField::Path, path);
        set(StrField::Endpoint, operation.map_or(path, |operation| operation.endpoint()));
        set(StrField::Host, call.text("host"));
        set(StrField::Model, call.text("model"));
        set(StrField::Dialect, operation.map_or("opaque", |operation| operation.dialect()));
        set(StrField::Upstream, call.upstream.as_str());
        set(StrField::Weekday, moment.weekday);
        set(StrField::Purpose, said(call, "purpose"));
        set(StrField::Basis, said(call, "basis"));
        facts.ip = call.text("address").parse().ok();
        facts.ints[IntField::Hour as usize] = Some(moment.hour);
        facts.ints[IntField::Date as usize] = Some(moment.date);
        facts.ints[IntField::RequestSize as usize] = call.request_bytes.and_then(|bytes| i64::try_from(bytes).ok());
        facts.ints[IntField::TokensRequested as usize] = body.request.and_then(|request| request.tokens_requested());
        facts.ints[IntField::ImageCount as usize] = Some(body.request.map_or(0, |request| request.image_count()));
        facts.bools[BoolField::Stream as usize] = body.request.map(|request| request.stream()).or(Some(false));
        let unknown = self.unknown(call, &facts, body, &detectors, &engine);
        decide(&self.program, &facts, &unknown)
    }

    /// The conditions whose outcome does not follow from what was recorded.
    fn unknown(
        &self,
        call: &Judged,
        facts: &Facts<'_>,
        body: &Body<'_, '_>,
        detectors: &Recorded,
        engine: &PolicyTextEngine,
    ) -> Vec<Unknown> {
        let texts = body.view.texts().unwrap_or_default();
        let masked = !call.detectors.is_empty() || texts.iter().any(|text| detectors.is_labelled(text));
        let holds = |test: &TextTest| texts.iter().any(|text| engine.test(test, text) == Some(true));
        let mut unknown = Vec::new();
        for number in self.atoms() {
            let Some(atom) = self.program.atoms.get(number) else { continue };
            let (ways, why) = match atom {
                Atom::HasScope(_) => (EITHER, "its scopes were not recorded"),
                Atom::Claim { .. } | Atom::ClaimPresent(_) => (OR_ERROR, "its claims were not recorded"),
                Atom::EnvIn { .. } => (OR_ERROR, "`env` was not recorded"),
                Atom::HeaderPresent(_) | Atom::HeaderIn { .. } => (EITHER, "its headers were not recorded"),
                Atom::Int { field: IntField::RequestSize, .. }
                    if facts.ints[IntField::RequestSize as usize].is_none() =>
                {
                    (OR_ERROR, "the size of its request was not recorded")
                }
                _ if !body.recorded && reads_body(atom) => (OR_ERROR, "its request was not recorded"),
                Atom::Text(TextTest::FindsCustom(custom)) if call.detectors.contains(&custom.name) => (TRUE_ONLY, ""),
                Atom::Text(test @ (TextTest::FindsCustom(_) | TextTest::Matches(_) | TextTest::Contains(_)))
                    if masked && !holds(test) =>
                {
                    (EITHER, "its text touches what was masked")
                }
                Atom::Json { .. } | Atom::ToolIn(_) if masked => (OR_ERROR, "what it reads may have been masked"),
                _ => continue,
            };
            unknown.push(Unknown { atom: number, ways, why });
        }
        unknown
    }

    /// The conditions that rules before the answer ask for.
    fn atoms(&self) -> BTreeSet<usize> {
        let mut atoms = BTreeSet::new();
        let rules = self.program.rules.iter().filter(|rule| rule.phase != Phase::Response);
        let mut conditions: Vec<&Condition> = rules.map(|rule| &rule.condition).collect();
        while let Some(condition) = conditions.pop() {
            match condition {
                Condition::Const(_) => {}
                Condition::Atom(atom) => {
                    atoms.insert(atom.0 as usize);
                }
                Condition::Not(inner) => conditions.push(inner),
                Condition::All(inner) | Condition::Any(inner) => conditions.extend(inner),
            }
        }
        atoms
    }
}

/// A condition of which nobody can say how it came out.
struct Unknown {
    atom: usize,
    ways: &'static [Truth],
    why: &'static str,
}

const EITHER: &[Truth] = &[Truth::False, Truth::True];
const OR_ERROR: &[Truth] = &[Truth::False, Truth::True, Truth::Error];
const TRUE_ONLY: &[Truth] = &[Truth::True];

fn reads_body(atom: &Atom) -> bool {
    matches!(
        atom,
        Atom::Text(_) | Atom::Json { .. } | Atom::JsonPresent(_) | Atom::ToolIn(_) | Atom::Bool(BoolField::Stream)
    )
}

/// Tries out every way in which the unknown conditions may have come out.
fn decide(program: &Program, facts: &Facts<'_>, unknown: &[Unknown]) -> Result<(&'static str, Vec<String>), String> {
    let reasons = || {
        let reasons: BTreeSet<&str> = unknown.iter().map(|unknown| unknown.why).filter(|why| !why.is_empty()).collect();
        reasons.into_iter().collect::<Vec<_>>().join("; ")
    };
    let cases = unknown.iter().try_fold(1_usize, |cases, unknown| cases.checked_mul(unknown.ways.len()));
    let Some(cases) = cases.filter(|cases| *cases <= CASES_MAX) else { return Err(reasons()) };
    let mut verdict = None;
    for case in 0..cases {
        let mut program = program.clone();
        let mut rest = case;
        for Unknown { atom, ways, .. } in unknown {
            let way = ways.get(rest % ways.len()).copied().unwrap_or(Truth::Error);
            rest /= ways.len();
            if let Some(atom) = program.atoms.get_mut(*atom) {
                *atom = match way {
                    Truth::False => Atom::InGroup(FALSE.to_owned()),
                    Truth::True => Atom::InGroup(TRUE.to_owned()),
                    // Nothing says what it is, so reading it is an error.
                    Truth::Error => Atom::EnvIn { name: FALSE.to_owned(), set: StrSet::default() },
                };
            }
        }
        let decision = interpret(&program, facts);
        let word = match decision.verdict {
            Verdict::Forward => "allow",
            Verdict::Pending(_) => "pending",
            Verdict::Deny(_) => "deny",
        };
        let fired = || {
            let rules = decision.fired.iter().chain(&decision.errors);
            rules.filter_map(|rule| program.rules.get(rule.0 as usize)).map(|rule| rule.name.clone()).collect()
        };
        match &verdict {
            None => verdict = Some((word, fired())),
            Some((other, _)) if *other == word => {}
            Some(_) => return Err(reasons()),
        }
    }
    verdict.ok_or_else(reasons)
}

/// The recorded body as conditions see it.
struct Body<'v, 'b> {
    view: &'v dyn BodyView,
    request: Option<&'v Request<'b>>,
    recorded: bool,
}

/// What was found when the call was recorded stands for what detectors would find.
struct Recorded {
    hits: Vec<String>,
    labels: Vec<(String, String)>,
}

impl Recorded {
    fn of(call: &Judged) -> Self {
        let labels =
            policy_compiler::detect::names().map(|name| (name.to_owned(), format!("[{}]", name.to_uppercase())));
        Self { hits: call.detectors.clone(), labels: labels.collect() }
    }

    fn is_labelled(&self, text: &str) -> bool {
        self.labels.iter().any(|(_, label)| text.contains(label.as_str()))
    }
}

impl DetectorScan for Recorded {
    fn finds(&self, detector: &str, text: &str) -> Option<bool> {
        let recorded = self.hits.iter().any(|name| name == detector)
            || self.labels.iter().any(|(name, label)| name == detector && text.contains(label.as_str()));
        // What nothing masks (tiers C and O) still stands there.
        if recorded { Some(true) } else { BuiltInDetectors.finds(detector, text) }
    }
}

fn list(call: &Judged, field: &str) -> Vec<String> {
    let list = call.envelope.get(field).and_then(serde_json::Value::as_array);
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// What was declared, and by whom.
fn said<'c>(call: &'c Judged, field: &str) -> &'c str {
    call.envelope.pointer(&format!("/{field}/value")).and_then(serde_json::Value::as_str).unwrap_or_default()
}

fn purposes(call: &Judged) -> Vec<DeclaredPurpose<'_>> {
    let (purpose, basis) = (said(call, "purpose"), said(call, "basis"));
    if purpose.is_empty() {
        return Vec::new();
    }
    let by = |field: &str| {
        let by = call.envelope.pointer(&format!("/{field}/by")).and_then(serde_json::Value::as_str);
        match by {
            Some("claim") => SourceKind::Claim,
            Some("policy") => SourceKind::Policy,
            _ => SourceKind::Header,
        }
    };
    let alone = DeclaredPurpose { purpose, basis: "", source: by("purpose") };
    if basis.is_empty() {
        return vec![alone];
    }
    // A basis counts for as much as whoever said the less of the two.
    let source = if by("basis") == SourceKind::Header { SourceKind::Header } else { alone.source };
    vec![DeclaredPurpose { basis, source, ..alone }, alone]
}
