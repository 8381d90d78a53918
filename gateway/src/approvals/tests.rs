#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::clock::Clock;
use crate::identity::Identity;
use audit_shipper::read::{Past, PastNote};
use audit_shipper::{Caller, RecordId};
use futures_lite::future::{block_on, poll_once};
use policy_lang::ApprovalRequirement;
use serde_json::json;
use tokio::sync::mpsc;

const WITHIN: Duration = Duration::from_mins(15);
const VALID: Duration = Duration::from_hours(1);

struct Desk {
    clock: Clock,
    approvals: Approvals,
    events: mpsc::Receiver<Event>,
}

impl Desk {
    fn new() -> Self {
        let clock = Clock::manual(1_700_000_000_000);
        let (approvals, events) = Approvals::new(clock.clone(), &[7; 32]);
        Self { clock, approvals, events }
    }

    /// Asks, and says that the question is written down.
    fn wait(&self, ask: Ask) -> Waiter {
        match self.approvals.ask(ask) {
            Gate::Waiting(waiter) => {
                self.approvals.recorded(waiter.id(), Some(7));
                waiter
            }
            other => panic!("{other:?}"),
        }
    }

    fn approve(&self, id: &str, by: &Identity) -> Result<Status, DecideError> {
        self.approvals.decide(id, by, true, Some("fine")).map(|decided| decided.status)
    }

    /// The stage of a request, as the API names it.
    fn status(&self, id: &str) -> Status {
        self.approvals.show(id, &grace()).unwrap().status
    }

    fn after(&self, duration: Duration) {
        self.clock.advance_ms(u64::try_from(duration.as_millis()).unwrap());
    }
}

fn requirement(group: &str, by: u32) -> ApprovalRequirement {
    ApprovalRequirement { groups: vec![group.to_owned()], by, within: WITHIN, valid: VALID }
}

fn ask(binding: u8, requirements: &[ApprovalRequirement]) -> Ask {
    Ask {
        kind: Kind::Call,
        keeps_preview: true,
        keep: audit_shipper::Keep::default(),
        binding: [binding; 32],
        subject: "alice".to_owned(),
        issuer: "https://idp.example.com".to_owned(),
        tenant: "default".to_owned(),
        model: "finetune-model".to_owned(),
        endpoint: "/v1/chat/completions".to_owned(),
        rules: vec!["access.finetune".to_owned()],
        requirements: requirements.to_vec(),
        preview: "{}".to_owned(),
    }
}

fn by_leads() -> Ask {
    ask(1, &[requirement("ml-leads", 1)])
}

fn person(subject: &str, groups: &[&str]) -> Identity {
    Identity {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..Identity::new(subject, "https://idp.example.com")
    }
}

fn grace() -> Identity {
    person("grace", &["ml-leads"])
}

#[test]
fn an_approval_is_good_for_one_call() {
    let desk = Desk::new();
    let mut waiter = desk.wait(by_leads());
    let id = waiter.id().to_owned();
    assert!(block_on(poll_once(waiter.resolved())).is_none());
    assert_eq!(desk.approve(&id, &grace()), Ok(Status::Approved));
    block_on(waiter.resolved());
    let Gate::Passed(pass) = desk.approvals.resume(waiter) else { panic!() };
    let passed = pass.approval().clone();
    assert_eq!((passed.id.as_str(), passed.approvers.as_slice()), (id.as_str(), ["grace".to_owned()].as_slice()));
    assert_eq!(passed.record.unwrap().to_string(), id);
    assert!(pass.fits(&by_leads()) && !pass.fits(&ask(1, &[requirement("ml-leads", 2)])));
    // While it is in the call's hands, the same call waits, whatever becomes of this one.
    let Gate::Waiting(mut other) = desk.approvals.ask(by_leads()) else { panic!() };
    assert!(block_on(poll_once(other.resolved())).is_none());
    pass.writing(RecordId(5));
    pass.used();
    assert_eq!(desk.approvals.show(&id, &grace()).unwrap().used_by, Some(RecordId(5).to_string()));
    block_on(other.resolved());
    assert!(matches!(desk.approvals.resume(other), Gate::Again));
    // The same call again needs a new approval.
    assert_ne!(desk.wait(by_leads()).id(), id);
    assert_eq!(desk.approve(&id, &grace()), Err(DecideError::NotPending));
}

#[test]
fn an_approval_is_used_up_only_by_an_intent_that_may_be_durable() {
    let desk = Desk::new();
    let id = desk.wait(by_leads()).id().to_owned();
    desk.approve(&id, &grace()).unwrap();
    let claim = || match desk.approvals.ask(by_leads()) {
        Gate::Passed(pass) => pass,
        other => panic!("{other:?}"),
    };
    // Dropped before its INTENT (the upstream was full, the caller left): given back.
    drop(claim());
    assert_eq!(desk.status(&id), Status::Approved);
    // The INTENT could not be written: given back.
    let pass = claim();
    pass.writing(RecordId(5));
    pass.unused();
    drop(pass);
    assert_eq!(desk.status(&id), Status::Approved);
    // Nobody knows whether the INTENT is durable (a panic): used up.
    let pass = claim();
    pass.writing(RecordId(6));
    drop(pass);
    assert_eq!(desk.status(&id), Status::Consumed);
}

#[test]
fn identical_calls_attach_and_only_one_passes() {
    let desk = Desk::new();
    let (first, second) = (desk.wait(by_leads()), desk.wait(by_leads()));
    assert_eq!(first.id(), second.id());
    assert_ne!(first.id(), desk.wait(ask(2, &[requirement("ml-leads", 1)])).id(), "another call");
    assert_ne!(first.id(), desk.wait(ask(1, &[requirement("ml-leads", 2)])).id(), "other requirements");
    let mut of_bob = by_leads();
    of_bob.subject = "bob".to_owned();
    assert_ne!(first.id(), desk.wait(of_bob).id(), "another caller");

    desk.approve(first.id(), &grace()).unwrap();
    let approved = first.id().to_owned();
    let Gate::Passed(pass) = desk.approvals.resume(first) else { panic!() };
    let Gate::Waiting(second) = desk.approvals.resume(second) else { panic!() };
    pass.writing(RecordId(5));
    drop(pass);
    // The other call asks again, under a new request.
    assert!(matches!(desk.approvals.resume(second), Gate::Again));
    assert_ne!(desk.wait(by_leads()).id(), approved);
}

#[test]
fn a_retry_consumes_an_approval_that_came_after_its_first_call_left() {
    let desk = Desk::new();
    let id = desk.wait(by_leads()).id().to_owned();
    desk.approve(&id, &grace()).unwrap();
    desk.after(VALID - Duration::from_secs(1));
    assert!(matches!(desk.approvals.ask(by_leads()), Gate::Passed(pass) if pass.approval().id == id));
}

#[test]
fn who_may_decide() {
    let desk = Desk::new();
    let id = desk.wait(by_leads()).id().to_owned();
    let stranger = Identity { tenant: "other".to_owned(), ..grace() };
    let table = [
        (person("alice", &["ml-leads"]), DecideError::OwnRequest),
        (
            Identity { issuer: "https://other.example.com".to_owned(), ..person("alice", &["ml-leads"]) },
            DecideError::OwnRequest,
        ),
        (person("eve", &["ml-apps"]), DecideError::NotInGroup),
        (stranger.clone(), DecideError::NotFound),
    ];
    for (who, expected) in table {
        for approve in [true, false] {
            let decided = desk.approvals.decide(&id, &who, approve, Some("because"));
            assert_eq!(decided, Err(expected), "{who:?}");
        }
    }
    assert_eq!(desk.approve("no-such-id", &grace()), Err(DecideError::NotFound));
    // Other tenants do not even see it.
    assert!(desk.approvals.list(&stranger).is_empty());
    assert!(desk.approvals.show(&id, &stranger).is_none());
    assert_eq!(desk.approvals.list(&person("eve", &[])).len(), 1);
}

#[test]
fn several_distinct_people_and_groups_may_be_needed() {
    let desk = Desk::new();
    let id = desk.wait(ask(1, &[requirement("ml-leads", 2), requirement("security", 1)])).id().to_owned();
    assert_eq!(desk.approve(&id, &grace()), Ok(Status::Pending));
    assert_eq!(desk.approve(&id, &grace()), Err(DecideError::AlreadyApproved));
    assert_eq!(desk.approve(&id, &person("sam", &["security"])), Ok(Status::Pending));
    let view = desk.approvals.show(&id, &grace()).unwrap();
    let counts: Vec<_> = view.requirements.iter().map(|own| (own.groups[0].as_str(), own.approved, own.by)).collect();
    assert_eq!(counts, [("ml-leads", 1, 2), ("security", 1, 1)]);
    assert_eq!(desk.approve(&id, &person("linus", &["ml-leads"])), Ok(Status::Approved));
}

#[test]
fn a_decision_needs_a_reason_and_a_denial_stands() {
    let desk = Desk::new();
    let mut waiter = desk.wait(by_leads());
    let id = waiter.id().to_owned();
    for reason in [None, Some("  ")] {
        assert_eq!(desk.approvals.decide(&id, &grace(), false, reason), Err(DecideError::ReasonMissing));
        assert_eq!(desk.approvals.decide(&id, &grace(), true, reason), Err(DecideError::ReasonMissing));
    }
    let long = "x".repeat(REASON_BYTES_MAX + 1);
    assert_eq!(desk.approvals.decide(&id, &grace(), false, Some(&long)), Err(DecideError::ReasonTooLong));
    desk.approvals.decide(&id, &grace(), false, Some("too costly")).unwrap();
    block_on(waiter.resolved());
    assert!(matches!(
        desk.approvals.resume(waiter),
        Gate::Refused { by, reason, .. } if by == "grace" && reason == "too costly"
    ));
    // A retry hears the same until the question would have lapsed; then it may be asked anew.
    assert!(matches!(desk.approvals.ask(by_leads()), Gate::Refused { .. }));
    desk.after(WITHIN);
    assert!(matches!(desk.approvals.ask(by_leads()), Gate::Waiting(_)));
}

#[test]
fn questions_and_approvals_lapse() {
    let mut desk = Desk::new();
    let mut waiter = desk.wait(by_leads());
    let id = waiter.id().to_owned();
    desk.after(WITHIN);
    assert_eq!(desk.approve(&id, &grace()), Err(DecideError::NotPending));
    desk.approvals.sweep();
    block_on(waiter.resolved());
    assert!(matches!(desk.approvals.resume(waiter), Gate::Expired { id: own } if own == id));

    let unused = desk.wait(by_leads()).id().to_owned();
    desk.approve(&unused, &grace()).unwrap();
    desk.after(VALID);
    assert!(matches!(desk.approvals.ask(by_leads()), Gate::Waiting(waiter) if waiter.id() != unused));

    let mut told = Vec::new();
    while let Ok(event) = desk.events.try_recv() {
        told.push(match event {
            Event::Asked(..) => "asked",
            Event::Expired(_) => "expired",
        });
    }
    assert_eq!(told, ["asked", "expired", "asked", "expired", "asked"]);
    // What has been over for a while is forgotten.
    desk.after(Duration::from_hours(2));
    desk.approvals.sweep();
    desk.after(Duration::from_hours(2));
    desk.approvals.sweep();
    assert!(desk.approvals.list(&grace()).is_empty());
}

#[test]
fn examining_changes_nothing() {
    let desk = Desk::new();
    let id = desk.wait(by_leads()).id().to_owned();
    let examined = desk.approvals.examine(&id, &grace(), true, Some("fine")).unwrap();
    assert_eq!(examined.status, Status::Approved);
    assert_eq!(desk.approvals.pending(), 1);
    assert_eq!(desk.approvals.decide(&id, &grace(), true, Some("fine")), Ok(examined));
}

#[test]
fn one_caller_cannot_fill_the_desk() {
    let desk = Desk::new();
    for number in 0..WAITING_PER_SUBJECT_MAX {
        desk.wait(ask(u8::try_from(number).unwrap(), &[requirement("ml-leads", 1)]));
    }
    assert!(matches!(desk.approvals.ask(ask(255, &[requirement("ml-leads", 1)])), Gate::TooMany));
    assert!(matches!(desk.approvals.ask(by_leads()), Gate::Waiting(_)), "an identical call still attaches");
}

#[test]
fn the_binding_tells_parts_apart() {
    let desk = Desk::new();
    let binding = |parts: &[&[u8]]| desk.approvals.binding(parts);
    assert_eq!(binding(&[b"ab", b"c"]), binding(&[b"ab", b"c"]));
    assert_ne!(binding(&[b"ab", b"c"]), binding(&[b"a", b"bc"]));
    assert_ne!(binding(&[b"ab"]), Approvals::new(Clock::manual(0), &[8; 32]).0.binding(&[b"ab"]));
}

#[test]
fn previews_are_cut_between_characters() {
    let desk = Desk::new();
    let mut long = by_leads();
    long.preview = "é".repeat(PREVIEW_BYTES_MAX);
    let id = desk.wait(long).id().to_owned();
    assert!(desk.approvals.show(&id, &grace()).unwrap().preview.len() <= PREVIEW_BYTES_MAX);
}

#[test]
fn nobody_sees_a_question_before_it_is_in_the_evidence() {
    let desk = Desk::new();
    let Gate::Waiting(mut waiter) = desk.approvals.ask(by_leads()) else { panic!() };
    let id = waiter.id().to_owned();
    assert!(block_on(poll_once(waiter.recorded())).is_none());
    assert!(desk.approvals.list(&grace()).is_empty() && desk.approvals.show(&id, &grace()).is_none());
    assert_eq!(desk.approve(&id, &grace()), Err(DecideError::NotFound));
    desk.approvals.recorded(&id, None);
    block_on(waiter.recorded());
    assert_eq!(desk.status(&id), Status::Pending);

    // One that cannot be written is not asked, and does not stand in the way of the next.
    let Gate::Waiting(mut other) = desk.approvals.ask(ask(2, &[requirement("ml-leads", 1)])) else { panic!() };
    desk.approvals.unrecorded(other.id());
    block_on(other.resolved());
    assert!(matches!(desk.approvals.resume(other), Gate::Unrecorded));
    desk.wait(ask(2, &[requirement("ml-leads", 1)]));
}

#[test]
fn setting_the_clock_back_makes_nothing_last_longer() {
    let desk = Desk::new();
    let began = desk.clock.unix_ms();
    let id = desk.wait(by_leads()).id().to_owned();
    desk.clock.set_unix_ms(began - 3_600_000);
    desk.after(WITHIN - Duration::from_secs(1));
    assert_eq!(desk.status(&id), Status::Pending);
    desk.after(Duration::from_secs(1));
    assert_eq!(desk.approve(&id, &grace()), Err(DecideError::NotPending));

    // An approval likewise; and setting it forward ends it early, which is the strict side.
    let id = desk.wait(by_leads()).id().to_owned();
    desk.approve(&id, &grace()).unwrap();
    desk.clock.set_unix_ms(began - 7_200_000);
    desk.after(VALID);
    assert_eq!(desk.status(&id), Status::Expired);
    let id = desk.wait(by_leads()).id().to_owned();
    desk.approve(&id, &grace()).unwrap();
    desk.clock.set_unix_ms(began + 86_400_000);
    assert!(matches!(desk.approvals.ask(by_leads()), Gate::Waiting(waiter) if waiter.id() != id));
}

fn access() -> Ask {
    Ask { kind: Kind::Grant, ..ask(9, &[requirement("ml-leads", 1)]) }
}

#[test]
fn a_grant_lasts_for_its_time_and_can_be_taken_back() {
    let desk = Desk::new();
    let id = desk.wait(access()).id().to_owned();
    assert_eq!(desk.approvals.revoke(&id, &grace(), Some("no")), Err(DecideError::NotInForce));
    desk.approve(&id, &grace()).unwrap();
    for _ in 0..3 {
        assert!(matches!(desk.approvals.ask(access()), Gate::Granted(grant) if grant.id == id));
    }
    assert_eq!(desk.approvals.granted(), 1);
    let filter = Filter { kind: Some(Kind::Grant), status: Some(Status::Approved), ..Filter::default() };
    assert_eq!(desk.approvals.page(&grace(), &filter).approvals.len(), 1);
    assert_eq!(desk.approvals.revoke(&id, &person("eve", &[]), Some("no")), Err(DecideError::NotInGroup));
    assert_eq!(desk.approvals.revoke(&id, &grace(), None), Err(DecideError::ReasonMissing));
    assert_eq!(desk.approvals.revoke(&id, &grace(), Some("left the team")).unwrap().status, Status::Revoked);
    assert!(matches!(
        desk.approvals.ask(access()),
        Gate::Refused { revoked: true, reason, .. } if reason == "left the team"
    ));
    desk.after(WITHIN);
    let again = desk.wait(access()).id().to_owned();
    desk.approve(&again, &grace()).unwrap();
    desk.after(VALID);
    assert!(matches!(desk.approvals.ask(access()), Gate::Waiting(_)), "its time is over");
}

#[test]
fn pages_follow_one_another() {
    let desk = Desk::new();
    for number in 0..5 {
        desk.clock.advance_ms(1);
        desk.wait(ask(number, &[requirement("ml-leads", 1)]));
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = desk.approvals.page(&grace(), &Filter { limit: Some(2), after, ..Filter::default() });
        seen.extend(page.approvals.into_iter().map(|view| view.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let all: Vec<String> = desk.approvals.list(&grace()).into_iter().map(|view| view.id).collect();
    assert_eq!((seen.len(), &seen), (5, &all));
    let none = Filter { subject: Some("bob".to_owned()), ..Filter::default() };
    assert!(desk.approvals.page(&grace(), &none).approvals.is_empty());
}

#[test]
fn held_calls_have_a_bound_together() {
    let desk = Desk::new();
    let first = desk.approvals.hold(600, 1000).unwrap();
    assert!(desk.approvals.hold(600, 1000).is_none());
    let second = desk.approvals.hold(400, 1000);
    assert!(second.is_some());
    drop((first, second));
    assert!(desk.approvals.hold(1000, 1000).is_some());
}

/// What the evidence holds of one request, for a start.
struct Log {
    index: u64,
    at_ms: u64,
    events: Vec<Past>,
}

impl Log {
    fn note(&mut self, id: &str, action: &str, who: &Identity, text: String, details: serde_json::Value) {
        self.index += 1;
        let actor = Caller {
            subject: who.subject.clone(),
            issuer: who.issuer.clone(),
            tenant: who.tenant.clone(),
            ..Caller::default()
        };
        self.events.push(Past::Note(Box::new(PastNote {
            index: self.index,
            action: action.to_owned(),
            about: id.parse().ok(),
            unix_ms: self.at_ms,
            details,
            opened: Some((actor, text)),
        })));
    }

    fn asked(&mut self, ask: &Ask) -> String {
        let id = RecordId((u128::from(self.at_ms) << 80) | u128::from(self.index)).to_string();
        let alice = person("alice", &[]);
        self.note(
            &id,
            "asked",
            &alice,
            asked_text(ask),
            json!({ "binding": hex::encode(ask.binding), "asked_ms": self.at_ms }),
        );
        id
    }

    fn decided(&mut self, id: &str, action: &str, who: &Identity) {
        self.note(id, action, who, "because".to_owned(), json!({ "groups": who.groups }));
    }

    fn restore(self, desk: &Desk) -> (usize, usize) {
        let mut restored = Restored::default();
        for event in self.events {
            restored.take(event, desk.clock.unix_ms(), desk.clock.mono_ms());
        }
        desk.approvals.restore(restored)
    }
}

#[test]
fn a_start_brings_back_what_still_counts() {
    let desk = Desk::new();
    let mut log = Log { index: 40, at_ms: desk.clock.unix_ms() - 60_000, events: Vec::new() };
    let by_two = |binding| ask(binding, &[requirement("ml-leads", 2)]);
    let by_one = |binding| ask(binding, &[requirement("ml-leads", 1)]);
    let half = log.asked(&by_two(1));
    log.decided(&half, "approved", &grace());
    let unused = log.asked(&by_one(2));
    log.decided(&unused, "approved", &grace());
    let used = log.asked(&by_one(3));
    log.decided(&used, "approved", &grace());
    log.events.push(Past::Used { call: RecordId(99), approval: used.parse().unwrap(), index: 50 });
    let denied = log.asked(&by_one(4));
    log.decided(&denied, "denied", &grace());
    let granted = log.asked(&access());
    log.decided(&granted, "approved", &grace());
    log.events.push(Past::Used { call: RecordId(98), approval: granted.parse().unwrap(), index: 51 });
    let lapsed = log.asked(&by_one(5));
    log.decided(&lapsed, "expired", &grace());
    // Whose key is gone asks nothing any more.
    let erased = log.asked(&by_one(6));
    if let Some(Past::Note(note)) = log.events.last_mut() {
        note.opened = None;
    }
    assert_eq!(log.restore(&desk), (3, 1));

    let view = desk.approvals.show(&half, &grace()).unwrap();
    assert_eq!((view.status, view.requirements[0].approved, view.preview.as_str()), (Status::Pending, 1, "{}"));
    assert_eq!(view.rules, ["access.finetune"]);
    assert_eq!(desk.approve(&half, &grace()), Err(DecideError::AlreadyApproved));
    assert!(matches!(desk.approvals.ask(by_two(1)), Gate::Waiting(waiter) if waiter.id() == half), "it attaches");
    assert_eq!(desk.approve(&half, &person("linus", &["ml-leads"])), Ok(Status::Approved));

    assert!(matches!(desk.approvals.ask(by_one(2)), Gate::Passed(pass) if pass.approval().id == unused));
    assert!(matches!(desk.approvals.ask(by_one(3)), Gate::Waiting(waiter) if waiter.id() != used), "used is used");
    assert!(matches!(desk.approvals.ask(by_one(4)), Gate::Refused { reason, .. } if reason == "because"));
    assert!(matches!(desk.approvals.ask(access()), Gate::Granted(grant) if grant.id == granted));
    assert_eq!(desk.status(&lapsed), Status::Expired);
    assert!(desk.approvals.show(&erased, &grace()).is_none());
    // The next start must read from the oldest that still counts; the one just asked is not written down yet.
    assert_eq!(desk.approvals.oldest_of_use(1000), None);

    // What is left of their time is what the clock says.
    desk.after(VALID);
    assert_eq!(desk.status(&granted), Status::Expired);
}

#[test]
fn a_start_reads_from_the_oldest_request_that_counts() {
    let desk = Desk::new();
    assert_eq!(desk.approvals.oldest_of_use(1000), Some(1000));
    let waiter = desk.wait(by_leads());
    assert_eq!(desk.approvals.oldest_of_use(1000), Some(7));
    desk.approvals.decide(waiter.id(), &grace(), false, Some("no")).unwrap();
    assert_eq!(desk.approvals.oldest_of_use(1000), Some(7), "a denial stands");
    desk.after(WITHIN);
    assert_eq!(desk.approvals.oldest_of_use(1000), Some(1000));
}

#[test]
fn setting_the_clock_back_before_a_start_makes_nothing_last_longer() {
    let desk = Desk::new();
    let mut log = Log { index: 0, at_ms: desk.clock.unix_ms(), events: Vec::new() };
    let id = log.asked(&by_leads());
    desk.clock.set_unix_ms(desk.clock.unix_ms() - 86_400_000);
    log.restore(&desk);
    desk.after(WITHIN - Duration::from_secs(1));
    assert_eq!(desk.status(&id), Status::Pending);
    desk.after(Duration::from_secs(1));
    assert_eq!(desk.status(&id), Status::Expired);
}
