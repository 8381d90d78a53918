//! One call from its facts to what goes on: the decision, the masks, the answer.

use super::call::Call;
use super::host::{Head, Host, MaskJob};
use crate::decision::{Decision, Denial, Verdict};
use crate::facts::Facts;
use crate::interpreter::{interpret, interpret_response, with_risk};
use crate::program::{Mask, Phase, Program, RecordLevel, Side};
use std::borrow::Cow;

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the caller meets: the denial of a response-phase rule included.
    pub verdict: Verdict,
    /// The decision before the call goes in; none when the gateway refuses what it cannot read.
    pub request: Option<Decision>,
    /// The decision over the answer, if one is given and the call is not refused. A pending call counts as approved.
    pub response: Option<Decision>,
    /// Why the gateway refuses the call whatever the rules say.
    pub refused: Option<String>,
    /// The bodies as they go on and as they are kept.
    pub bodies: Bodies,
}

/// Bodies after masking; none when nothing goes on, or nothing is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bodies {
    /// To the model.
    pub request: Option<Vec<u8>>,
    /// To the caller.
    pub response: Option<Vec<u8>>,
    /// The recorded copy of the request.
    pub recorded_request: Option<Vec<u8>>,
    /// The recorded copy of the answer.
    pub recorded_response: Option<Vec<u8>>,
}

/// Judges a call in both phases. `look` sees the facts of each phase, `request.risk` included.
pub fn judge(program: &Program, host: &dyn Host, call: &Call, look: &mut dyn FnMut(Phase, &Facts<'_>)) -> Outcome {
    let head = call.head(host);
    let request = match host.view_request(&head, call.body(&head)) {
        Ok(request) => request,
        Err(why) => return refuse(400, why),
    };
    let decision = call.see(&head, host, &request, None, |facts| {
        look(Phase::Request, &with_risk(program, facts));
        interpret(program, facts)
    });
    let mut outcome = Outcome {
        verdict: decision.verdict.clone(),
        request: None,
        response: None,
        refused: None,
        bodies: Bodies::default(),
    };
    if let (Some(body), false) = (call.answer_body(), matches!(decision.verdict, Verdict::Deny(_))) {
        let answer = host.view_response(&head, body);
        let answered = call.see(&head, host, &request, Some(&answer), |facts| {
            look(Phase::Response, &with_risk(program, facts));
            interpret_response(program, facts)
        });
        if let (Verdict::Forward, Verdict::Deny(_)) = (&outcome.verdict, &answered.verdict) {
            outcome.verdict = answered.verdict.clone();
        }
        outcome.response = Some(answered);
    }
    outcome.request = Some(decision);
    if let Err(why) = outcome.mask(program, host, call, head) {
        outcome.refuse(403, why);
    }
    outcome
}

fn refuse(status: u16, why: String) -> Outcome {
    let mut outcome =
        Outcome { verdict: Verdict::Forward, request: None, response: None, refused: None, bodies: Bodies::default() };
    outcome.refuse(status, why);
    outcome
}

impl Outcome {
    /// The decisions of both phases.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.request.iter().chain(&self.response)
    }

    fn refuse(&mut self, status: u16, why: String) {
        self.verdict = Verdict::Deny(Denial { text: why.as_str().into(), status, rule: None });
        self.refused = Some(why);
        self.bodies = Bodies::default();
    }

    fn mask(&mut self, program: &Program, host: &dyn Host, call: &Call, head: Head<'_>) -> Result<(), String> {
        let Some(request) = self.request.as_ref().filter(|decision| !matches!(decision.verdict, Verdict::Deny(_)))
        else {
            return Ok(());
        };
        let masks: Vec<(&str, &Mask)> =
            self.decisions().flat_map(|decision| decision.obligations.resolve(program)).collect();
        let mask = |side: Side, recorded: bool, body: &[u8]| {
            host.mask(&MaskJob { head, side, recorded, masks: &masks, body })
                .map_err(|why| format!("the masks cannot be carried out: {why}"))
        };
        let keeps = |decision: &Decision| decision.obligations.record == RecordLevel::Full;
        let kept = keeps(request);
        let sent = mask(Side::Request, false, call.body(&head))?;
        let mut bodies = Bodies { request: sent, ..Bodies::default() };
        if let (true, Some(sent)) = (kept, &bodies.request) {
            bodies.recorded_request = mask(Side::Request, true, sent)?;
        }
        let answered = self.response.as_ref().filter(|decision| !matches!(decision.verdict, Verdict::Deny(_)));
        if let (Some(body), Some(answered)) = (call.answer_body(), answered) {
            bodies.response = mask(Side::Response, false, body)?;
            if let (true, Some(delivered)) = (kept && keeps(answered), &bodies.response) {
                bodies.recorded_response = mask(Side::Response, true, delivered)?;
            }
        }
        self.bodies = bodies;
        Ok(())
    }
}

/// A body as text, for messages.
pub(super) fn shown(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}
