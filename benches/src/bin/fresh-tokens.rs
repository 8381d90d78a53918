//! Do callers whose tokens are remembered feel it when others come with fresh ones? Runs a gateway in front of the mock model and
//! prints the latency of remembered callers alone, and beside 2,000 fresh ES256 tokens a second (DECISIONS 37).
//!
//! `fresh-tokens SALLYPORT [SECONDS] [FRESH_PER_SECOND] [REMEMBERED_PER_SECOND]`; scripts/fresh-tokens builds and runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use load_tests::load::{self, Arrivals, Plan, Report, Target};
use load_tests::mock_model::{self, MockOptions};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ISSUER: &str = "https://idp.example.com";
/// Connections that bring fresh tokens.
const CONNECTIONS: usize = 16;
const WARMUP: Duration = Duration::from_secs(2);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let program = args.get(1).expect("usage: fresh-tokens SALLYPORT [SECONDS] [FRESH_PER_S] [REMEMBERED_PER_S]");
    let number = |index: usize, default: u64| args.get(index).map_or(default, |text| text.parse().unwrap());
    let (seconds, fresh_per_s, remembered_per_s) = (number(2, 20), number(3, 2000), number(4, 500));
    let directory = std::env::temp_dir().join(format!("sallyport-fresh-tokens-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let model = mock_model::spawn(MockOptions::default()).unwrap();
    let (mut gateway, address) = start(program, &directory, &key, &model.url());

    let alone = run(address, seconds, remembered_per_s, &mint(&key, 0));
    // Minted before, so that signing them costs the measured time nothing.
    let count = fresh_per_s * (seconds + WARMUP.as_secs());
    let tokens: Vec<String> = (1..=count).map(|number| mint(&key, number)).collect();
    let passed = Arc::new(AtomicU64::new(0));
    let flood = flood(address, tokens, fresh_per_s, &passed);
    let beside = run(address, seconds, remembered_per_s, &mint(&key, 0));
    flood.into_iter().for_each(|thread| thread.join().unwrap());

    println!(
        "{remembered_per_s} calls/s with a remembered token, {seconds} s each; latency in µs from the intended start"
    );
    println!("{:>28} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p99", "p99.9", "failed");
    for (what, report) in [("alone", &alone), ("beside fresh tokens", &beside)] {
        let latency = report.latency.as_ref().expect("something was answered");
        let us = |ns: u64| ns / 1000;
        let bad = report.due - report.ok;
        println!("{what:>28} {:>8} {:>8} {:>8} {bad:>8}", us(latency.p50), us(latency.p99), us(latency.p999));
    }
    println!("fresh ES256 tokens: {count} sent at {fresh_per_s}/s, {} passed", passed.load(Ordering::SeqCst));
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}

fn start(program: &str, directory: &Path, key: &EcdsaKeyPair, model: &str) -> (Child, SocketAddr) {
    let point = key.public_key().as_ref().to_vec();
    let (x, y) = point[1..].split_at(32);
    let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "x": b64(x), "y": b64(y) }] });
    std::fs::write(directory.join("keys.json"), keys.to_string()).unwrap();
    std::fs::write(
        directory.join("all.policy"),
        "policy \"all\" version 1\nrule all { when identity.subject is present allow }\n",
    )
    .unwrap();
    let config = format!(
        "data = \"data\"\n[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[[issuer]]\nurl = \"{ISSUER}\"\n\
         audience = [\"inference\"]\njwks = \"file:keys.json\"\n[[upstream]]\nname = \"m\"\nendpoints = [\"{model}\"]\n\
         [policy]\npath = \"all.policy\"\n"
    );
    std::fs::write(directory.join("sallyport.toml"), config).unwrap();
    let mut child = Command::new(program)
        .args(["run", "--config"])
        .arg(directory.join("sallyport.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains(" serving ")).expect("the gateway serves");
    std::thread::spawn(move || lines.for_each(drop));
    let address = line.split("gateway=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    (child, address)
}

fn run(address: SocketAddr, seconds: u64, per_s: u64, token: &str) -> Report {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let target = Target::new(&format!("http://{address}/v1/chat/completions")).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a rate of a few thousand")]
    let arrivals = Arrivals::Open { rate: per_s as f64, connections: Some(64) };
    let mut plan = Plan::new(target, arrivals, Duration::from_secs(seconds), body.into());
    plan.warmup = WARMUP;
    plan.headers.push(("authorization".parse().unwrap(), format!("Bearer {token}").parse().unwrap()));
    load::run(plan).unwrap()
}

/// Each token once, at the rate, over a few connections.
fn flood(
    address: SocketAddr,
    tokens: Vec<String>,
    per_s: u64,
    passed: &Arc<AtomicU64>,
) -> Vec<std::thread::JoinHandle<()>> {
    let begin = Instant::now();
    let (mut senders, mut threads) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let (sender, own) = mpsc::channel::<(Duration, String)>();
        senders.push(sender);
        let passed = Arc::clone(passed);
        threads.push(std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; 16 * 1024];
            for (at, token) in own {
                std::thread::sleep(at.saturating_sub(begin.elapsed()));
                // Neither body nor model: what is measured is the token.
                write!(stream, "GET /v1/models HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
                let got = stream.read(&mut buffer).unwrap();
                if buffer[..got].starts_with(b"HTTP/1.1 200") {
                    passed.fetch_add(1, Ordering::SeqCst);
                }
            }
        }));
    }
    for (number, token) in tokens.into_iter().enumerate() {
        let at = Duration::from_nanos(1_000_000_000 / per_s * number as u64);
        senders[number % CONNECTIONS].send((at, token)).unwrap();
    }
    threads
}

fn mint(key: &EcdsaKeyPair, number: u64) -> String {
    #[expect(clippy::disallowed_methods, reason = "tokens are minted against the real clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": ISSUER, "aud": "inference", "sub": format!("caller-{number}"), "exp": now + 3600, "jti": number.to_string(),
        "groups": ["ml-apps", "staff"],
    });
    let header = b64(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#);
    let signed = format!("{header}.{}", b64(claims.to_string()));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature))
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
