//! A log in a temporary directory, and records to write into it. All personal data is synthetic.

use std::path::PathBuf;

use crate::read::{self, Query, SearchOptions, Source, Verdict};
use crate::wal::format::MIN_SEGMENT_BYTES;
use crate::{
    Caller, CallerKind, Coverage, Decision, Durability, EndedBy, Evidence, EvidenceError, Frame, Intent, MaskHit,
    Moment, Options, Outcome, PayloadChunk, PolicyRef, Producer, RecordId, Refusal, RequestBody, RequestInfo, Role,
    Usage,
};

pub(super) const ORIGIN: &str = "gw.example.com/ai";

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) options: Options,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            durability: Durability::Crash,
            producers: 2,
            queue_slots: 256,
            segment_bytes: MIN_SEGMENT_BYTES,
            ..Options::new(dir.path(), ORIGIN)
        };
        Self { dir, options }
    }

    pub(super) fn try_open(&self) -> Result<Evidence, EvidenceError> {
        Evidence::open(self.options.clone())
    }

    pub(super) fn open(&self) -> Evidence {
        self.try_open().unwrap()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join("evidence").join("gw.example.com+ai")
    }

    pub(super) fn segment(&self, number: u32) -> PathBuf {
        self.log().join(format!("wal/{number:08}.seg"))
    }

    pub(super) fn source(&self) -> Source {
        Source::new(self.dir.path())
    }

    pub(super) fn verify(&self) -> (Verdict, String) {
        let mut out = Vec::new();
        let verdict = read::verify(&self.source(), &mut out).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }

    pub(super) fn search(&self, query: &str, json: bool) -> String {
        let mut out = Vec::new();
        let query = Query::parse(query).unwrap();
        read::search(&self.source(), &query, SearchOptions { json, ..SearchOptions::default() }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    pub(super) fn show(&self, id: RecordId) -> String {
        let mut out = Vec::new();
        assert!(read::show(&self.source(), id, &mut out).unwrap());
        String::from_utf8(out).unwrap()
    }

    /// Copies the whole data directory.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_directory(self.dir.path(), copy.dir.path());
        copy
    }
}

pub(super) fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// 2026-11-21T09:41:16Z
pub(super) fn moment() -> Moment {
    Moment { unix_us: 1_795_254_076_000_000, mono_us: 5_000_000 }
}

pub(super) fn caller() -> Caller {
    Caller {
        subject: "alice@example.com".to_owned(),
        issuer: "https://idp.example.com".to_owned(),
        client: "notebook".to_owned(),
        kind: CallerKind::User,
        groups: vec!["ml-apps".to_owned(), "staff".to_owned()],
        tenant: "acme".to_owned(),
        token_id: "tok-1234".to_owned(),
    }
}

pub(super) fn request() -> RequestInfo {
    RequestInfo {
        address: "192.0.2.7:50123".to_owned(),
        method: "POST".to_owned(),
        host: "llm.example.com".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        trace: Some([0xab; 16]),
    }
}

pub(super) fn policy() -> PolicyRef {
    PolicyRef { name: "quickstart".to_owned(), version: "3".to_owned(), sha256: [7; 32] }
}

pub(super) fn mask() -> MaskHit {
    MaskHit {
        rule: "mask-ssn".to_owned(),
        detector: "us_ssn".to_owned(),
        tier: "V".to_owned(),
        pointer: "/messages/0/content".to_owned(),
        offset: 12,
        length: 11,
        action: "label".to_owned(),
    }
}

pub(super) fn intent() -> Intent {
    Intent {
        at: moment(),
        caller: caller(),
        request: request(),
        declared: declared(),
        dialect: "openai".to_owned(),
        operation: "chat.completions".to_owned(),
        model: Some("gpt-secret-project".to_owned()),
        upstream: "chat".to_owned(),
        policy: policy(),
        decision: Decision::Allow,
        fired: vec!["allow-staff".to_owned(), "mask-ssn".to_owned()],
        masks: vec![mask()],
        coverage: vec![("messages".into(), Coverage::Scanned), ("images".into(), Coverage::ByReference)],
        approval: None,
        parent: None,
        body: RequestBody::Whole([9; 32]),
        keep: crate::Keep::default(),
        values: Vec::new(),
    }
}

pub(super) fn outcome() -> Outcome {
    Outcome {
        at: Moment { unix_us: moment().unix_us + 1_500_000, mono_us: moment().mono_us + 1_500_000 },
        status: 200,
        finish_reason: Some("stop".to_owned()),
        model: Some("gpt-secret-project-0926".to_owned()),
        endpoint: "http://10.0.0.5:8000".to_owned(),
        usage: Usage { input_tokens: Some(12), output_tokens: Some(34), cached_tokens: None },
        ttfb_us: Some(81_234),
        duration_us: 1_500_321,
        request_bytes: 312,
        response_bytes: 2048,
        request_body: None,
        masks: vec![MaskHit { pointer: "/choices/0/message/content".to_owned(), ..mask() }],
        coverage: vec![("content".into(), Coverage::Scanned)],
        ended_by: EndedBy::Complete,
        error: String::new(),
        values: Vec::new(),
        fired: vec!["leak.ssn".to_owned()],
    }
}

pub(super) fn refusal() -> Refusal {
    Refusal {
        at: moment(),
        caller: Caller { subject: "mallory".to_owned(), ..caller() },
        request: request(),
        declared: declared(),
        dialect: "openai".to_owned(),
        operation: "chat.completions".to_owned(),
        model: Some("gpt-secret-project".to_owned()),
        policy: Some(policy()),
        decision: Decision::Deny,
        status: 403,
        code: "policy_denied".into(),
        reason: "Interns may not use this model.".to_owned(),
        fired: vec!["deny-interns".to_owned()],
        approval: None,
        count: 1,
        keep: crate::Keep::default(),
    }
}

pub(super) fn chunk(role: Role, text: &str) -> PayloadChunk {
    let frames =
        text.split_inclusive('\n').map(|part| Frame { dt_us: 1000, bytes: part.as_bytes().to_vec() }).collect();
    PayloadChunk { role, media_type: "application/json".to_owned(), frames }
}

/// Writes a whole call and waits for each record; waits for room where there is none, as the gateway does.
pub(super) fn call(producer: &mut Producer) -> RecordId {
    let mut permit = until_room(|| producer.admit().ok());
    let id = permit.id();
    let receipt = producer.intent(&mut permit, &intent());
    receipt.commit.wait_blocking().unwrap();
    for (role, text) in [
        (Role::Request, "{\"messages\":[{\"content\":\"my number is [US_SSN], says wombat\"}]}"),
        (Role::Response, "data: {\"x\":\"hello\"}\n\ndata: [DONE]\n\n"),
    ] {
        let chunk = chunk(role, text);
        let receipt = until_room(|| match producer.payload(&mut permit, &chunk) {
            Err(EvidenceError::QueueFull) => None,
            other => Some(other.unwrap()),
        });
        receipt.commit.wait_blocking().unwrap();
    }
    let receipt = producer.outcome(permit, &outcome());
    receipt.commit.wait_blocking().unwrap();
    id
}

fn until_room<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn declared() -> crate::Declared {
    let said = |value: &str, by| Some(crate::Said { by, value: value.to_owned() });
    crate::Declared {
        purpose: said("triage", "claim"),
        basis: said("vital_interest", "policy"),
        data_subject: said("0f1e2d", "header"),
    }
}
