//! docs/configuration.md, made from the tables: the test fails when they differ, and writes the page with
//! `SALLYPORT_WRITE_DOCS=1 cargo test -p gateway documentation`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::file::TABLES;
use super::*;
use std::fmt::Write as _;
use std::path::Path;

const INTRODUCTION: &str = "\
# Configuration

`sallyport run --config sallyport.toml`; `--check` checks the file and the policies and tells everything that is wrong.
`examples/sallyport.toml` is a commented file to start from. This page is generated from the types that read the file.

* A **duration** is a number with a unit: `\"250ms\"`, `\"10s\"`, `\"2m\"`, `\"1h\"`. A **size** is bytes: `4096`, or `\"32KiB\"`,
  `\"8MiB\"`, `\"1GiB\"`.
* Secrets are never in the file: `env:NAME` or `file:PATH`.
* The whole file is read again on SIGHUP, and when it or a file that it names changes. What says *read at start-up only* keeps
  its value until the next start. Running calls keep the configuration that they began with. A broken file changes nothing:
  `/readyz` and the log say what is wrong with it.
* `sallyport run --take-over` replaces a running gateway with the same data directory: the new process takes the listening
  sockets, the old one finishes its calls. Connections wait meanwhile, none is dropped.
* systemd: `Type=notify`, `ExecReload=kill -HUP $MAINPID`, and socket activation with one `ListenStream=` and `ReusePort=yes`.
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for table in TABLES {
        let _ = write!(
            page,
            "\n## `{}`\n\n{}\n\n| key | form | without it | |\n|---|---|---|---|\n",
            table.path,
            table.about.trim()
        );
        for key in table.keys {
            let about = key.about.trim().replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {} | {} | {about} |", key.name, key.form, key.default);
        }
    }
    page
}

#[test]
fn the_page_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("SALLYPORT_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/configuration.md is not what the types say; write it with: SALLYPORT_WRITE_DOCS=1 cargo test -p gateway documentation"
    );
}

#[test]
fn no_table_is_left_out() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let declared: usize = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
        .map(|text| text.lines().filter(|line| *line == "table! {").count())
        .sum();
    assert_eq!(declared, TABLES.len());
}

/// A file with every key of the tables at `paths` set to what the page says is its default.
fn with_defaults(base: &str, section: &str, path: &str) -> Config {
    let table = TABLES.iter().find(|table| table.path == path).unwrap();
    let mut text = format!("{base}\n{section}\n");
    let said = |key: &&table::Key| {
        ["duration", "size", "number"].contains(&key.form) && key.default.starts_with(|c: char| c.is_ascii_digit())
    };
    for key in table.keys.iter().filter(said) {
        let value = if key.form == "number" { key.default.to_owned() } else { format!("\"{}\"", key.default) };
        let _ = writeln!(text, "{} = {value}", key.name);
    }
    parse(Path::new("sallyport.toml"), &text).unwrap()
}

#[test]
fn defaults_are_what_the_page_says() {
    const BASE: &str = "data = \"d\"\n[listen]\naddress = \"127.0.0.1:0\"\n[[issuer]]\nurl = \"http://i\"\naudience = [\"a\"]\n\
                        [policy]\npath = \"p\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:1\"]";
    assert_eq!(with_defaults(BASE, "[listen.limits]", "[listen.limits]").listen.limits, Limits::default());
    let default = parse(Path::new("sallyport.toml"), BASE).unwrap().upstreams.remove(0);
    let upstream = |section: &str, path: &str| with_defaults(BASE, section, path).upstreams.remove(0);
    assert_eq!(upstream("", "[[upstream]]").slow_start, default.slow_start);
    assert_eq!(upstream("[upstream.limits]", "upstream.limits").limits, default.limits);
    assert_eq!(upstream("[upstream.ejection]", "upstream.ejection").ejection, default.ejection);
    assert_eq!(upstream("[upstream.retries]", "upstream.retries").retries, default.retries);
    let bare = parse(Path::new("sallyport.toml"), &format!("{BASE}\nhealth = {{ path = \"/h\" }}")).unwrap();
    let said = upstream("[upstream.health]\npath = \"/h\"", "upstream.health").health;
    let alerts = with_defaults(BASE, "[alerts]", "[alerts]").alerts;
    assert_eq!(alerts, AlertsConfig { watch: Some(WatchConfig::default()), ..AlertsConfig::default() });
    assert_eq!(bare.upstreams.first().unwrap().health, said);
}

/// Keys of limits that share a counter with another one; all others are counted under their own name, but for `drain_lag`, at which
/// nothing is cut.
const COUNTED_AS: [(&str, &str); 8] = [
    ("head_bytes", "head"),
    ("head_fields", "head"),
    ("body_inspected_bytes", "body_bytes"),
    ("body_rate_min", "body_timeout"),
    ("connections_per_core", "connections"),
    ("in_flight_per_core", "in_flight"),
    ("first_event", "stream_idle"),
    ("body_grace", "body_timeout"),
];

#[test]
fn every_limit_is_counted() {
    let page = crate::metrics::Metrics::default().render(crate::metrics::Gauges::default());
    let is_counted = |name: &str| {
        let line = format!("sallyport_limits_exceeded_total{{limit=\"{name}\"}} 0");
        assert!(page.lines().any(|own| own == line), "{line} is not in /metrics");
    };
    let keys = |path: &str| TABLES.iter().find(|table| table.path == path).unwrap().keys;
    for key in keys("[listen.limits]").iter().filter(|key| key.name != "drain_lag") {
        let shared = COUNTED_AS.iter().find(|(name, _)| *name == key.name);
        is_counted(shared.map_or(key.name, |(_, label)| *label));
    }
    for key in keys("upstream.limits") {
        is_counted(&format!("upstream_{}", key.name));
    }
    assert!(COUNTED_AS.iter().all(|(name, _)| keys("[listen.limits]").iter().any(|key| key.name == *name)));
}
