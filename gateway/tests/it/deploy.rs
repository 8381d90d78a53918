//! The files of examples/deploy hold together: the configuration is good, and every metric that they watch is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::Client;
use crate::common::run::House;
use crate::common::{binary, dead_address};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy").join(name)
}

#[test]
fn the_configuration_and_its_policies_are_good() {
    let output = binary().args(["run", "--check", "--config"]).arg(deploy("sallyport.toml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Names of metrics in a text, as they stand on the page: histograms by their family.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let names = words.filter(|word| word.starts_with("sallyport_"));
    names.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_watch_metrics_that_are_there() {
    let house = House::new();
    let upstream = format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"http://{}\"]\n", dead_address());
    house.configure("", &upstream);
    let running = house.start();
    let mut client = Client::connect(running.admin);
    client.send(
        format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", house.token()).as_bytes(),
    );
    let page = client.answer().text();
    let there: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned)).collect();
    for file in ["prometheus/alerts.yml", "grafana/sallyport.json"] {
        let watched = metrics_in(&std::fs::read_to_string(deploy(file)).unwrap());
        assert!(watched.len() > 5, "{file} watches {watched:?}");
        let missing: Vec<_> = watched.difference(&there).collect();
        assert!(missing.is_empty(), "{file} watches {missing:?}, which are not on the page");
    }
}

#[test]
fn the_seccomp_profile_lets_io_uring_in() {
    let profile: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(deploy("docker/seccomp.json")).unwrap()).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let names = profile["syscalls"][0]["names"].as_array().unwrap();
    for needed in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(names.iter().any(|name| name == needed), "{needed}");
    }
}
