//! A gateway that is configured by a file, and an issuer on the loopback for it: discovery, keys, introspection and tokens over
//! real HTTP. What it answers can be changed while it runs, and it counts what it is asked.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A key that signs by ES256.
pub struct Key {
    pair: EcdsaKeyPair,
    pub kid: String,
}

impl Key {
    pub fn new(kid: &str) -> Self {
        Self { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), kid: kid.to_owned() }
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref().to_vec();
        let (x, y) = point[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "x": b64(x), "y": b64(y) })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid });
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", b64(signature))
    }
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[expect(clippy::disallowed_methods, reason = "tokens are minted against the real clock")]
pub fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What an answer is made from.
pub type Answer = Box<dyn Fn(&Request) -> (u16, Value) + Send>;

/// What an issuer was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub head: String,
    pub body: String,
}

/// An issuer; stops when dropped.
pub struct TestIssuer {
    pub address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl TestIssuer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = Self { address, answers: Arc::default(), asked: Arc::default(), stopped: Arc::default() };
        let url = issuer.url();
        issuer.answer("/.well-known/openid-configuration", move |_| {
            let at = |path: &str| format!("{url}{path}");
            let document = json!({
                "issuer": url, "jwks_uri": at("/keys"), "token_endpoint": at("/token"),
                "authorization_endpoint": at("/authorize"), "introspection_endpoint": at("/introspect"),
            });
            (200, document)
        });
        let (answers, asked, stopped) =
            (Arc::clone(&issuer.answers), Arc::clone(&issuer.asked), Arc::clone(&issuer.stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    serve(stream, &answers, &asked);
                }
            }
        });
        issuer
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn answer(&self, path: &str, with: impl Fn(&Request) -> (u16, Value) + Send + 'static) {
        self.answers.lock().unwrap().insert(path.to_owned(), Box::new(with));
    }

    pub fn publish(&self, keys: &[&Key]) {
        let set = json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
        self.answer("/keys", move |_| (200, set.clone()));
    }

    /// From now on every answer is a failure.
    pub fn break_down(&self) {
        let mut answers = self.answers.lock().unwrap();
        for answer in answers.values_mut() {
            *answer = Box::new(|_| (503, json!({})));
        }
    }

    pub fn asked(&self, path: &str) -> Vec<Request> {
        self.asked.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }

    pub fn claims(&self, subject: &str, groups: &[&str]) -> Value {
        let now = now_unix_s();
        json!({ "iss": self.url(), "aud": "inference", "sub": subject, "groups": groups, "iat": now, "exp": now + 3600 })
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, so that its thread sees it.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, answers: &Mutex<HashMap<String, Answer>>, asked: &Mutex<Vec<Request>>) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if !matches!(reader.read_line(&mut line), Ok(1..)) {
            return;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let lower = head.to_ascii_lowercase();
    let length =
        lower.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.trim().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
    let request = Request { path: path.clone(), head, body: String::from_utf8(body).unwrap() };
    asked.lock().unwrap().push(request.clone());
    let (status, value) = match answers.lock().unwrap().get(&path) {
        Some(answer) => answer(&request),
        None => (404, json!({})),
    };
    let text = value.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}

/// `sallyport run --config`; killed when dropped.
pub struct Configured {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub data: PathBuf,
    output: Arc<Mutex<String>>,
}

pub const POLICY: &str = r#"
policy "identity" version 1
rule access.all { when identity.subject is present allow }
"#;

impl Configured {
    /// Starts with this configuration; `data`, `[listen]` and `[policy]` are put before it.
    pub fn start(directory: &Path, rest: &str) -> Self {
        let data = directory.join("data");
        std::fs::write(directory.join("test.policy"), POLICY).unwrap();
        let config = directory.join("sallyport.toml");
        let admin = if rest.contains("[admin]") { "" } else { "[admin]\naddress = \"127.0.0.1:0\"\n" };
        let text = format!(
            "data = {data:?}\n[listen]\naddress = \"127.0.0.1:0\"\ncores = 1\n[policy]\npath = \"test.policy\"\n{admin}{rest}"
        );
        std::fs::write(&config, text).unwrap();
        let mut child = crate::common::binary()
            .args(["run", "--config"])
            .arg(&config)
            .env("SALLYPORT_LOG", "trace")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (mut stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&output));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = stderr.read(&mut buffer) {
                lines.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..got]));
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self { child, address: nowhere, admin: nowhere, data, output };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let output = gateway.output();
            if let Some(line) = output.lines().find(|line| line.contains(" serving ")) {
                let address =
                    |name: &str| line.split(name).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
                (gateway.address, gateway.admin) = (address("gateway="), address("admin="));
                return gateway;
            }
            if let Some(status) = gateway.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}: {output}");
            }
            assert!(Instant::now() < deadline, "the gateway did not start: {output}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Drains and ends, so that all evidence is written.
    pub fn stop(mut self) -> String {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill(2) takes no pointers; the process is our child and was not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        self.child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        self.output()
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let own: Vec<&str> = output.lines().filter(|line| line.contains("sallyport")).collect();
            eprintln!("--- the gateway said:\n{}", own.join("\n"));
        }
    }
}

/// Waits until it holds; panics with `what` after a while.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
