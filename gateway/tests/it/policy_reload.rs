//! Policies are edited while calls pass: every way in which files are exchanged is seen, no call fails, and each is judged by one
//! set from its beginning to its end.

use crate::common::run::{House, Running};
use crate::common::{Client, binary, chat_body, sallyport, stream_text};
use load_tests::mock_model::{self, MockOptions};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// A set that masks the mark by its own version.
fn set(version: u64) -> String {
    format!(
        "policy \"storm\" version {version}\nrule access.v{version} {{ allow }}\n\
         rule data.mark {{ mask response text with /GENMARK/ as \"<{version}>\" }}\n"
    )
}

fn configured(policy: &str) -> (House, mock_model::MockHandle) {
    let say = Some("GENMARK once, and GENMARK twice".to_owned());
    let between_tokens = Duration::from_millis(2);
    let model = mock_model::spawn(MockOptions { say, between_tokens, ..MockOptions::default() }).unwrap();
    let house = House::new();
    house.configure("", &format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"{}\"]\n", model.url()));
    let file = house.path("sallyport.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("test.policy", policy);
    std::fs::write(&file, text).unwrap();
    (house, model)
}

fn two_cores(house: &House) -> Running {
    let mut command = binary();
    command.args(["run", "--cores", "2", "--config"]).arg(house.path("sallyport.toml"));
    Running::spawn(command)
}

fn version(running: &Running, token: &str) -> u64 {
    let active: Value = serde_json::from_slice(&running.get("/api/v1/policy", token).body).unwrap();
    active["version"].as_u64().unwrap()
}

fn wait_for(running: &mut Running, token: &str, wanted: u64) {
    running.wait_until(&format!("version {wanted} is in force"), |running| version(running, token) == wanted);
}

#[test]
fn every_way_to_exchange_a_file_is_seen() {
    let (house, _model) = configured("policies/main.policy");
    let directory = house.path("policies");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("main.policy");
    std::fs::write(&file, set(1)).unwrap();
    let (mut running, token) = (house.start(), house.token());
    let mut next = 1;
    // Twice each, since the second time the file is another one than the one that was watched at the start.
    for _ in 0..2 {
        for way in [in_place, renamed_over, moved_away_and_written_anew, removed_and_written_anew] {
            next += 1;
            way(&file, &set(next));
            wait_for(&mut running, &token, next);
        }
    }
    // What is broken changes nothing, and what mends it is seen.
    in_place(&file, "policy \"storm\" version 99\nrule broken {");
    running.wait_until("it is told", |running| running.log().contains("were not taken"));
    assert_eq!(version(&running, &token), next);
    renamed_over(&file, &set(next + 1));
    wait_for(&mut running, &token, next + 1);
}

fn in_place(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}

/// As most editors and deployment tools do it.
fn renamed_over(file: &Path, text: &str) {
    let other = file.with_extension("tmp");
    std::fs::write(&other, text).unwrap();
    std::fs::rename(&other, file).unwrap();
}

/// As vim does it with `backupcopy=no`.
fn moved_away_and_written_anew(file: &Path, text: &str) {
    let backup = file.with_extension("policy~");
    std::fs::rename(file, &backup).unwrap();
    std::fs::write(file, text).unwrap();
    std::fs::remove_file(&backup).unwrap();
}

fn removed_and_written_anew(file: &Path, text: &str) {
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, text).unwrap();
}

/// A mounted ConfigMap, as the kubelet updates it: a new directory, a new link `..data` to it that is moved over the old one.
struct ConfigMap<'a>(&'a Path);

impl ConfigMap<'_> {
    fn update(&self, version: u64) {
        let directory = format!("..2026_11_21_{version}");
        std::fs::create_dir(self.0.join(&directory)).unwrap();
        std::fs::write(self.0.join(&directory).join("main.policy"), set(version)).unwrap();
        symlink(&directory, self.0.join("..data_tmp")).unwrap();
        std::fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
        if version > 1 {
            std::fs::remove_dir_all(self.0.join(format!("..2026_11_21_{}", version - 1))).unwrap();
        }
    }
}

#[test]
fn a_config_map_is_seen_as_a_directory_as_a_file_and_behind_a_link() {
    for policy in ["mount", "mount/main.policy", "link", "link/main.policy"] {
        let (house, _model) = configured(policy);
        let mount = house.path("mount");
        std::fs::create_dir(&mount).unwrap();
        let map = ConfigMap(&mount);
        map.update(1);
        symlink("..data/main.policy", mount.join("main.policy")).unwrap();
        symlink("mount", house.path("link")).unwrap();
        let (mut running, token) = (house.start(), house.token());
        for version in 2..5 {
            map.update(version);
            wait_for(&mut running, &token, version);
        }
    }
}

#[test]
fn a_link_above_the_files_is_exchanged() {
    let (house, _model) = configured("current/policies");
    for release in 1..4u64 {
        let directory = house.path(&format!("release-{release}/policies"));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("main.policy"), set(release)).unwrap();
    }
    symlink("release-1", house.path("current")).unwrap();
    let (mut running, token) = (house.start(), house.token());
    for release in 2..4u64 {
        symlink(format!("release-{release}"), house.path("next")).unwrap();
        std::fs::rename(house.path("next"), house.path("current")).unwrap();
        wait_for(&mut running, &token, release);
    }
}

/// Reloads, in the suites; SALLYPORT_RELOADS sets another number.
const RELOADS: u64 = 60;

/// What a caller got: the id of the call, and its text.
type Got = (String, String);

#[test]
fn reloads_under_traffic_fail_no_call_and_mix_no_generations() {
    let reloads = std::env::var("SALLYPORT_RELOADS").map_or(RELOADS, |text| text.parse().unwrap());
    let (house, _model) = configured("main.policy");
    let file = house.path("main.policy");
    std::fs::write(&file, set(1)).unwrap();
    let (mut running, token) = (two_cores(&house), house.token());
    let (address, over) = (running.address, AtomicBool::new(false));
    let mut code = Vec::new();
    let got: HashMap<String, String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..6)
            .map(|number| {
                let (token, over) = (token.clone(), &over);
                scope.spawn(move || call_until(address, &token, over, number % 2 == 0))
            })
            .collect();
        for next in 2..reloads + 2 {
            renamed_over(&file, &set(next));
            wait_for(&mut running, &token, next);
            code.push(executable_bytes(running.pid()));
        }
        over.store(true, SeqCst);
        callers.into_iter().flat_map(|caller| caller.join().expect("no call failed")).collect()
    });
    assert_eq!(running.metric(&token, "sallyport_policy_reloads_total{result=\"failed\"}"), 0);
    assert_eq!(running.metric(&token, "sallyport_policy_judged_twice_total{result=\"different\"}"), 0);
    // Of each set there is one page of code; a core and calls may hold on to old ones, so a few are there at a time.
    let (early, late) = (code[..code.len() / 2].iter().max(), code[code.len() / 2..].iter().max());
    let (early, late) = (*early.unwrap(), *late.unwrap());
    assert!(late <= early + 64 * 1024, "code pages grew from {early} to {late} bytes over {reloads} reloads");
    assert_eq!(running.stop(), Some(0));
    consistent(&house.path("data"), &got, reloads);
    recorded_calls_can_be_judged_again(&house.path("data"), &file);
}

/// Calls until told to stop; each must pass.
fn call_until(address: SocketAddr, token: &str, over: &AtomicBool, stream: bool) -> Vec<Got> {
    let (mut client, mut got) = (Client::connect(address), Vec::new());
    while !over.load(SeqCst) {
        let answer = client.chat(token, &chat_body("m", "hello", stream));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = if stream { stream_text(&answer.text()) } else { answer.text() };
        got.push((answer.request_id(), text));
        // Now and then from another core.
        if got.len() % 16 == 0 {
            client = Client::connect(address);
        }
    }
    got
}

/// The evidence names one set per call, and that is the set whose rules held, whose masks the caller got and which were recorded.
fn consistent(data: &Path, got: &HashMap<String, String>, reloads: u64) {
    let exported = sallyport(&["audit", "export", "kind:call", "--data", data.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let (mut seen, mut versions) = (0, Vec::new());
    for line in String::from_utf8(exported.stdout).unwrap().lines() {
        let call: Value = serde_json::from_str(line).unwrap();
        let leaf = &call["record"]["leaf"];
        let version: u64 = leaf["policy"]["version"].as_str().unwrap().parse().unwrap();
        assert!(leaf["fired"].as_array().unwrap().contains(&format!("access.v{version}").into()), "{leaf}");
        let text = &got[leaf["id"].as_str().unwrap()];
        assert!(text.contains(&format!("<{version}> once, and <{version}> twice")), "version {version}: {text}");
        assert!(!text.contains("GENMARK"));
        let recorded = call["response"].to_string();
        assert!(!recorded.contains("GENMARK"), "{recorded}");
        versions.push(version);
        seen += 1;
    }
    assert_eq!(seen, got.len(), "every call is in the evidence");
    versions.sort_unstable();
    versions.dedup();
    assert!(versions.len() as u64 > reloads / 4, "the calls saw {} of {reloads} sets", versions.len());
    let verified = sallyport(&["audit", "verify", "--data", data.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

fn recorded_calls_can_be_judged_again(data: &Path, policy: &Path) {
    let (data, policy) = (data.to_str().unwrap(), policy.to_str().unwrap());
    let bench =
        sallyport(&["policy", "bench", "--data", data, "--calls", "50", "--rounds", "1", "--format", "json", policy]);
    let report: Value = serde_json::from_slice(&bench.stdout).unwrap();
    let counts = ["unreadable", "verdicts"].map(|name| report[0][name].to_string());
    assert_eq!(counts, ["0", r#"{"deny":0,"forward":50,"pending":0}"#], "{report}");
}

/// Bytes of memory that may be executed and come from no file.
fn executable_bytes(pid: u32) -> u64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut counted = false;
    let mut bytes = 0;
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // A mapping: addresses, rights, offset, device, inode, and a name if it has one.
            [_, rights, _, _, inode, ..] if rights.len() == 4 && !words[0].ends_with(':') => {
                counted = rights.contains('x') && *inode == "0" && words.len() == 5;
            }
            ["Size:", kilobytes, "kB"] if counted => bytes += kilobytes.parse::<u64>().unwrap() * 1024,
            _ => {}
        }
    }
    bytes
}
