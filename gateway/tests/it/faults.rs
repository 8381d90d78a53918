//! A disk that fails and a clock that goes back, under the whole binary: what a caller saw the end of is in the evidence, nothing is
//! answered whole without it, and what is left is sound.

use std::path::Path;

use load_tests::mock_model::{self, MockHandle, MockOptions};

use crate::common::faults::Faults;
use crate::common::run::{House, Running};
use crate::common::{Client, binary, chat_body, chat_request};

fn house() -> (MockHandle, House, Faults) {
    let mock = mock_model::spawn(MockOptions::default()).unwrap();
    let house = House::new();
    house.configure("", &format!("[[upstream]]\nname = \"mock\"\nendpoints = [\"{}\"]", mock.url()));
    let faults = Faults::build(house.directory.path());
    (mock, house, faults)
}

fn start(house: &House, faults: &Faults) -> Running {
    let mut command = house.command();
    command.envs(faults.variables());
    Running::spawn(command)
}

/// Status of the answer and the id of its call, if it came whole.
fn call(gateway: &Running, token: &str) -> Option<(u16, String)> {
    let answer =
        Client::try_connect(gateway.address)?.try_answer_to(&chat_request(token, &chat_body("m", "hi", true)))?;
    Some((answer.status, answer.field("x-sallyport-request-id").unwrap_or_default()))
}

fn audit(data: &Path, args: &[&str]) -> String {
    let output = binary().arg("audit").args(args).arg("--data").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Every one of them stands in the evidence with its end, after the next start.
fn all_there(house: &House, answered: &[String]) {
    assert_eq!(house.start().stop(), Some(0));
    let data = house.path("data");
    let table = audit(&data, &["search", "--json", "--limit", "10000", "kind:call"]);
    for id in answered {
        let row = table.lines().find(|line| line.contains(id.as_str()));
        assert!(row.is_some_and(|row| row.contains("\"ended_by\":\"complete\"")), "{id}: {row:?}");
    }
    assert!(audit(&data, &["verify"]).contains("SOUND"));
}

#[test]
fn a_disk_that_fails_now_and_then_loses_nothing_that_was_answered() {
    let (_mock, house, faults) = house();
    let token = house.token();
    let mut answered = Vec::new();
    for every in [50, 7, 3, 2] {
        faults.fail_writes(0, 0);
        let gateway = start(&house, &faults);
        // How many pass with the ill disk depends on how the writes fall; these do in any case.
        for _ in 0..3 {
            let (status, id) = call(&gateway, &token).unwrap();
            assert_eq!(status, 200);
            answered.push(id);
        }
        faults.fail_writes(every, libc::EIO);
        for _ in 0..40 {
            match call(&gateway, &token) {
                Some((200, id)) => answered.push(id),
                Some((status, _)) => assert_eq!(status, 503),
                // Cut: the end could not be written down.
                None => {}
            }
        }
        assert!(faults.writes() > 0, "nothing was ever written, so this showed nothing");
        faults.fail_writes(0, 0);
        // Whether its end is good or not is the log's affair; the next start must be.
        gateway.stop();
    }
    assert!(!answered.is_empty());
    all_there(&house, &answered);
}

#[test]
fn a_full_disk_lets_no_call_through_and_a_start_with_room_goes_on() {
    let (mock, house, faults) = house();
    let token = house.token();
    let gateway = start(&house, &faults);
    let before = call(&gateway, &token).unwrap();
    assert_eq!(before.0, 200);
    faults.fail_writes(1, libc::ENOSPC);
    let seen = mock.requests_seen();
    for _ in 0..5 {
        let status = call(&gateway, &token).map(|(status, _)| status);
        assert!(matches!(status, Some(503) | None), "{status:?}");
    }
    assert_eq!(mock.requests_seen(), seen, "the model saw a call that is not written down");
    faults.fail_writes(0, 0);
    gateway.stop();
    let gateway = start(&house, &faults);
    let after = call(&gateway, &token).unwrap();
    assert_eq!(after.0, 200);
    assert_eq!(gateway.stop(), Some(0));
    all_there(&house, &[before.1, after.1]);
}

#[test]
fn a_clock_that_goes_back_changes_no_order_and_loses_nothing() {
    let (_mock, house, faults) = house();
    let token = house.token();
    let gateway = start(&house, &faults);
    let mut answered = Vec::new();
    // Within what tokens are allowed to be off.
    for by_s in [0, 20, -25, 5, -29, 0] {
        faults.turn_clock(by_s);
        for _ in 0..5 {
            let (status, id) = call(&gateway, &token).unwrap();
            assert_eq!(status, 200);
            answered.push(id);
        }
    }
    assert!(answered.is_sorted(), "ids go on in order: {answered:?}");
    assert_eq!(gateway.stop(), Some(0));
    // Days back, over a start: nobody is known then, and that is written down.
    faults.turn_clock(-3 * 86_400);
    let gateway = start(&house, &faults);
    assert_eq!(call(&gateway, &token).unwrap().0, 401);
    assert_eq!(gateway.stop(), Some(0));
    let data = house.path("data");
    let rows = audit(&data, &["search", "--json", "--limit", "1000", "kind:call"]);
    let found: Vec<&str> = rows.lines().filter_map(|row| row.split("\"id\":\"").nth(1)?.split('"').next()).collect();
    assert_eq!(found, answered, "the log's order is the order of the calls");
    all_there(&house, &answered);
}
