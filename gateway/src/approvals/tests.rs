#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::identity::CallerKind;
use futures_lite::future::{block_on, poll_once};

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

    fn wait(&self, ask: Ask) -> Waiter {
        match self.approvals.ask(ask) {
            Gate::Waiting(waiter) => waiter,
            other => panic!("{other:?}"),
        }
    }

    fn approve(&self, id: &str, by: &Identity) -> Result<Status, DecideError> {
        self.approvals.decide(id, by, true, None).map(|decided| decided.status)
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
        subject: subject.to_owned(),
        issuer: "https://idp.example.com".to_owned(),
        tenant: "default".to_owned(),
        client_id: None,
        kind: CallerKind::User,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        scopes: Vec::new(),
        expires_at_unix_s: u64::MAX,
        token_id: None,
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
    let Gate::Passed(passed) = desk.approvals.resume(waiter) else { panic!() };
    assert_eq!((passed.id.as_str(), passed.approvers.as_slice()), (id.as_str(), ["grace".to_owned()].as_slice()));
    assert_eq!(passed.record.unwrap().to_string(), id);
    // The same call again needs a new approval.
    assert_ne!(desk.wait(by_leads()).id(), id);
    assert_eq!(desk.approve(&id, &grace()), Err(DecideError::NotPending));
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
    assert!(matches!(desk.approvals.resume(first), Gate::Passed(_)));
    // The other call waits on, under a new request.
    let Gate::Waiting(again) = desk.approvals.resume(second) else { panic!() };
    assert_ne!(again.id(), approved);
}

#[test]
fn a_retry_consumes_an_approval_that_came_after_its_first_call_left() {
    let desk = Desk::new();
    let id = desk.wait(by_leads()).id().to_owned();
    desk.approve(&id, &grace()).unwrap();
    desk.after(VALID - Duration::from_secs(1));
    assert!(matches!(desk.approvals.ask(by_leads()), Gate::Passed(passed) if passed.id == id));
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
fn a_denial_needs_a_reason_and_stands() {
    let desk = Desk::new();
    let mut waiter = desk.wait(by_leads());
    let id = waiter.id().to_owned();
    for reason in [None, Some("  ")] {
        assert_eq!(desk.approvals.decide(&id, &grace(), false, reason), Err(DecideError::ReasonMissing));
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
    let examined = desk.approvals.examine(&id, &grace(), true, None).unwrap();
    assert_eq!(examined.status, Status::Approved);
    assert_eq!(desk.approvals.pending(), 1);
    assert_eq!(desk.approvals.decide(&id, &grace(), true, None), Ok(examined));
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
