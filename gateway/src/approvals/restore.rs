//! From the evidence back to the map: what waited, was approved and not used, or was refused when the gateway ended.

use super::ask::Ask;
use super::request::{Made, Request};
use super::{Approvals, Deadline, Kind, Now, Stage};
use audit_shipper::RecordId;
use audit_shipper::read::{Past, PastNote};
use policy_lang::ApprovalRequirement;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What a note says of a question, beside who asks and the binding: in its text, which lies under the caller's key.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    kind: Kind,
    model: String,
    endpoint: String,
    rules: Vec<String>,
    requirements: Vec<WrittenRequirement>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenRequirement {
    groups: Vec<String>,
    by: u32,
    within_ms: u64,
    valid_ms: u64,
}

/// Collects what happened, in the order of the log.
#[derive(Debug, Default)]
pub struct Restored {
    requests: HashMap<String, Request>,
    /// In the order in which they were asked.
    order: Vec<String>,
    unreadable: usize,
}

/// The text of the note that records a question: a line for people, a line for [`Restored`], then the preview.
#[must_use]
pub fn asked_text(ask: &Ask) -> String {
    let requirements = ask.requirements.iter().map(|own| WrittenRequirement {
        groups: own.groups.clone(),
        by: own.by,
        within_ms: ms(own.within),
        valid_ms: ms(own.valid),
    });
    let written = Written {
        kind: ask.kind,
        model: ask.model.clone(),
        endpoint: ask.endpoint.clone(),
        rules: ask.rules.clone(),
        requirements: requirements.collect(),
    };
    let one_line = |text: &str| text.replace(char::is_control, " ");
    let preview = if ask.keeps_preview { ask.preview.as_str() } else { "[not kept: the policy records metadata only]" };
    let written = serde_json::to_string(&written).unwrap_or_default();
    format!("{} on {}\n{written}\n{preview}", one_line(&ask.model), one_line(&ask.endpoint))
}

impl Restored {
    /// Takes in what happened next.
    pub fn take(&mut self, past: Past, now_unix_ms: u64, now_mono_ms: u64) {
        let now = Now { unix_ms: now_unix_ms, mono_ms: now_mono_ms };
        match past {
            Past::Used { call, approval, .. } => self.used(&approval.to_string(), call),
            Past::Note(note) => {
                let Some(id) = note.about.map(|id| id.to_string()) else { return };
                if note.action == "asked" {
                    self.asked(id, &note, now);
                } else if let Some(request) = self.requests.get_mut(&id) {
                    self.unreadable += usize::from(!happened(request, &note, now));
                }
            }
        }
    }

    fn asked(&mut self, id: String, note: &PastNote, now: Now) {
        let Some(ask) = ask(note) else {
            self.unreadable += 1;
            return;
        };
        let asked_at_ms = number(note, "asked_ms").unwrap_or(note.unix_ms);
        let lapses = Deadline::since(asked_at_ms, ask.within(), now);
        let mut request = Request::new(Arc::new(ask), asked_at_ms, lapses, Stage::Pending);
        request.index = Some(note.index);
        if self.requests.insert(id.clone(), request).is_none() {
            self.order.push(id);
        }
    }

    fn used(&mut self, id: &str, call: RecordId) {
        if let Some(request) = self.requests.get_mut(id).filter(|request| !request.is_grant()) {
            request.used_by = Some(call);
            request.move_to(Stage::Consumed);
        }
    }
}

/// A decision or an end; false if it could not be read, which then does not count for the call.
fn happened(request: &mut Request, note: &PastNote, now: Now) -> bool {
    let made = note.opened.as_ref().map(|(actor, reason)| Made {
        subject: actor.subject.clone(),
        groups: names(note, "groups"),
        reason: reason.clone(),
        at_ms: note.unix_ms,
    });
    // Who was erased is not named any more, and what they refused stays refused.
    let unnamed = || Made {
        subject: "[erased]".to_owned(),
        groups: Vec::new(),
        reason: "[erased]".to_owned(),
        at_ms: note.unix_ms,
    };
    match note.action.as_str() {
        "approved" => {
            let Some(made) = made.filter(|_| request.stage() == Stage::Pending) else { return note.opened.is_some() };
            request.approve(made, now);
        }
        "denied" => request.deny(made.unwrap_or_else(unnamed)),
        "revoked" => {
            let stands = Deadline::since(note.unix_ms, request.ask.within(), now);
            request.revoke(made.unwrap_or_else(unnamed), stands);
        }
        "expired" if matches!(request.stage(), Stage::Pending | Stage::Approved) => request.move_to(Stage::Expired),
        _ => {}
    }
    true
}

fn ask(note: &PastNote) -> Option<Ask> {
    let (actor, text) = note.opened.as_ref()?;
    let mut lines = text.splitn(3, '\n').skip(1);
    let written: Written = serde_json::from_str(lines.next()?).ok()?;
    let mut binding = [0; 32];
    hex::decode_to_slice(note.details.get("binding")?.as_str()?, &mut binding).ok()?;
    let requirements = written.requirements.into_iter().map(|own| ApprovalRequirement {
        groups: own.groups,
        by: own.by,
        within: Duration::from_millis(own.within_ms),
        valid: Duration::from_millis(own.valid_ms),
    });
    Some(Ask {
        kind: written.kind,
        binding,
        subject: actor.subject.clone(),
        issuer: actor.issuer.clone(),
        tenant: actor.tenant.clone(),
        model: written.model,
        endpoint: written.endpoint,
        rules: written.rules,
        requirements: requirements.collect(),
        preview: lines.next().unwrap_or_default().to_owned(),
        keeps_preview: true,
        // It was asked, and written, before.
        keep: audit_shipper::Keep::default(),
    })
}

fn number(note: &PastNote, name: &str) -> Option<u64> {
    note.details.get(name)?.as_u64()
}

fn names(note: &PastNote, name: &str) -> Vec<String> {
    let names = note.details.get(name).and_then(serde_json::Value::as_array);
    names.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Approvals {
    /// Puts back what the evidence tells of, at the start. Returns how many requests are open again, and how many records could
    /// not be read (their people were erased, or the keys are gone): what they approved does not count.
    pub fn restore(&self, restored: Restored) -> (usize, usize) {
        let mut state = self.lock();
        let Restored { mut requests, order, unreadable } = restored;
        for id in order {
            let Some(request) = requests.remove(&id) else { continue };
            state.newest.insert(request.ask.key(), id.clone());
            state.requests.insert(id, request);
        }
        state.forget(self.now(), super::REMEMBERED);
        let open = state.requests.values().filter(|request| request.stage().is_open()).count();
        (open, unreadable)
    }

    /// Where in the log the next start has to begin to read: nothing before this leaf is still of use. `None` while that is not
    /// known. `end` is how many leaves are durable, asked for before this is.
    #[must_use]
    pub fn oldest_of_use(&self, end: u64) -> Option<u64> {
        let now = self.now();
        let state = self.lock();
        let of_use = state.requests.values().filter(|request| request.stage().is_open() || request.stands(now));
        of_use.map(|request| request.index).try_fold(end, |least, index| index.map(|index| least.min(index)))
    }
}
