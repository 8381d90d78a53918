//! The conformance kit against this gateway: nothing leaks, and nothing is withheld that could be masked.

use std::time::Duration;

use crate::common::{Gateway, Setup, dead_address};
use load_tests::leak::{self, LeakPlan};
use load_tests::load::Target;

const POLICY: &str = r#"
policy "leak" version 1
rule access.apps { when identity in group("ml-apps") allow }
rule data.mask-answers { mask response text with detect(us_ssn, credit_card, email) as label }
"#;

#[test]
fn nothing_leaks() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, POLICY).unwrap();
    let data = directory.path().join("data");
    let upstream = dead_address();
    let gateway = Gateway::start(&Setup { data: &data, policy: &policy, upstream, cores: 1, extra: Vec::new() });
    let report = leak::run(&LeakPlan {
        target: Target::new(&format!("http://{}", gateway.address)).unwrap(),
        listen: upstream,
        token: Some(gateway.token("alice", "ml-apps")),
        headers: Vec::new(),
        model: "m".to_owned(),
        timeout: Duration::from_secs(60),
    })
    .unwrap();
    assert_eq!((report.leaked(), report.withheld()), (0, 0), "{report}");
}
