//! The log in other people's formats, and what belongs to one person.

use serde_json::Value;

use super::support::{Bench, call, refusal};
use crate::RecordId;
use crate::read::{self, ExportFormat, Query};

fn log() -> (Bench, RecordId) {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let id = call(&mut producer);
    let refused = producer.new_id();
    let mut refusal = refusal();
    refusal.reason = "no = pipes | or\nlines".to_owned();
    producer.refusal(refused, &refusal).commit.wait_blocking().unwrap();
    evidence.close().unwrap();
    (bench, id)
}

fn exported(bench: &Bench, query: &str, format: ExportFormat) -> String {
    let mut out = Vec::new();
    read::export(&bench.source(), &Query::parse(query).unwrap(), format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_lines_hold_everything_and_the_exact_leaf() {
    let (bench, id) = log();
    let all = lines(&exported(&bench, "", ExportFormat::JsonLines));
    assert_eq!(all.len(), 3, "boot, call, refusal");
    let own = all.iter().find(|line| line["record"]["leaf"]["id"] == id.to_string().as_str()).unwrap();
    assert_eq!(own["envelope"]["subject"], "alice@example.com");
    assert_eq!(own["end"]["leaf"]["status"], 200);
    assert_eq!(own["response"]["events"][0], serde_json::json!([1000, "data: {\"x\":\"hello\"}\n"]));
    assert_eq!(lines(&exported(&bench, "decision:deny", ExportFormat::JsonLines)).len(), 1);
}

#[test]
fn ocsf_and_ecs_events_have_what_their_schemas_require() {
    let (bench, id) = log();
    let events = lines(&exported(&bench, "kind:call", ExportFormat::Ocsf));
    let event = &events[0];
    for required in [
        "activity_id",
        "actor",
        "api",
        "category_uid",
        "class_uid",
        "metadata",
        "severity_id",
        "src_endpoint",
        "time",
        "type_uid",
    ] {
        assert!(!event[required].is_null(), "{required}");
    }
    assert_eq!((event["class_uid"].as_u64(), event["type_uid"].as_u64()), (Some(6003), Some(600_399)));
    assert_eq!(event["metadata"]["uid"], id.to_string().as_str());
    assert_eq!(event["duration"], 1500);
    let events = lines(&exported(&bench, "kind:refusal", ExportFormat::Ecs));
    assert_eq!(events[0]["event"]["outcome"], "failure");
    assert_eq!(events[0]["event"]["type"], serde_json::json!(["access", "denied"]));
    assert_eq!(events[0]["http"]["response"]["status_code"], 403);
}

#[test]
fn cef_escapes_and_har_is_one_document() {
    let (bench, id) = log();
    let line = exported(&bench, "kind:refusal", ExportFormat::Cef);
    assert_eq!(line.lines().count(), 1);
    assert!(line.starts_with("CEF:0|Sallyport|Sallyport|"), "{line}");
    assert!(line.contains("reason=no \\= pipes | or\\nlines "), "{line}");
    let har: Value = serde_json::from_str(&exported(&bench, "", ExportFormat::Har)).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["comment"].as_str().unwrap().starts_with(&id.to_string()));
    assert_eq!(entries[0]["response"]["content"]["text"], "data: {\"x\":\"hello\"}\n\ndata: [DONE]\n\n");
    assert!(entries[0]["request"]["postData"]["text"].as_str().unwrap().contains("[US_SSN]"));
}

#[test]
fn text_is_found_in_the_masked_payload_only() {
    let (bench, id) = log();
    assert!(bench.search("text:\"SAYS wombat\"", false).contains(&id.to_string()));
    assert_eq!(bench.search("text:platypus", false), "nothing found\n");
    assert_eq!(bench.search("text:wombat kind:refusal", false), "nothing found\n");
    assert!(bench.search("tenant:acme operation:chat* until:0s", false).contains(&id.to_string()));
}

#[test]
fn a_person_gets_what_is_theirs_and_a_call_can_be_replayed() {
    let (bench, id) = log();
    let person = |tenant: &str, subject: &str| {
        let mut out = Vec::new();
        let written = read::dsar(&bench.source(), tenant, subject, &mut out).unwrap();
        (written, String::from_utf8(out).unwrap())
    };
    let (written, text) = person("acme", "alice@example.com");
    assert!(written == 1 && text.contains("wombat") && !text.contains("mallory"), "{text}");
    assert_eq!(person("other", "alice@example.com").0, 0);
    let recorded = read::recorded(&bench.source(), id).unwrap().unwrap();
    assert_eq!((recorded.method.as_str(), recorded.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(recorded.status, Some(200));
    assert_eq!(recorded.response.iter().map(|frame| frame.dt_us).sum::<u64>(), 4000);
    assert!(read::recorded(&bench.source(), RecordId(1)).unwrap().is_none());
}
