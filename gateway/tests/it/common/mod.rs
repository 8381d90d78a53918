//! Runs the real binary over real sockets.

pub mod faults;
pub mod run;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const POLICY: &str = r#"
policy "test" version 1

rule access.chat {
    when identity in group("ml-apps") and model in { "mock-model", "finetune-model", "m" }
    allow
}
rule access.models { when request.endpoint == "/v1/models" allow }
rule data.mask-answers { mask response text with detect(us_ssn, credit_card, email, phone) as label }
rule deny.secret { when model == "secret-model" deny "The secret model is not for applications." }
rule people.finetune {
    when model == "finetune-model"
    require approval from group("ml-leads") by 1 within 15m valid 1h
}
"#;

/// A running gateway in quickstart mode; killed when dropped.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub data: PathBuf,
    output: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

pub struct Setup<'a> {
    pub data: &'a Path,
    pub policy: &'a Path,
    pub upstream: SocketAddr,
    pub cores: usize,
    pub extra: Vec<String>,
}

pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sallyport"))
}

pub fn sallyport(args: &[&str]) -> Output {
    binary().args(args).output().unwrap()
}

impl Gateway {
    pub fn start(setup: &Setup<'_>) -> Self {
        let mut child = binary()
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream"])
            .arg(format!("http://{}", setup.upstream))
            .arg("--policy")
            .arg(setup.policy)
            .arg("--data")
            .arg(setup.data)
            .args(["--cores", &setup.cores.to_string()])
            .args(&setup.extra)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = Arc::clone(&output);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = stderr.read(&mut buffer) {
                errors.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..got]));
            }
        });
        let lines = Arc::clone(&output);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap();
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        let mut gateway = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: setup.data.to_owned(),
            output,
            reader: Some(reader),
        };
        gateway.wait_until_ready();
        gateway
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.output();
            if let (Some(address), Some(admin)) = (address_after(&output, "gateway"), address_after(&output, "admin")) {
                (self.address, self.admin) = (address, admin);
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}: {output}");
            }
            assert!(Instant::now() < deadline, "the gateway did not start: {output}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub fn token(&self, user: &str, group: &str) -> String {
        token(&self.data, &["--user", user, "--group", group])
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill(2) takes no pointers; the process is our child and was not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Drains and ends; returns the exit code.
    pub fn stop(self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Waits for the end; returns the exit code.
    pub fn wait(mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        status.code()
    }

    pub fn kill_dash_nine(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway said:\n{}", self.output());
        }
    }
}

pub fn token(data: &Path, args: &[&str]) -> String {
    let output = binary().args(["token", "--data"]).arg(data).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The address in the first line that starts with the word.
fn address_after(output: &str, word: &str) -> Option<SocketAddr> {
    let line = output.lines().find(|line| line.trim_start().starts_with(word) && line.contains("http://"))?;
    let address = line.split("http://").nth(1)?;
    let end = address.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap_or(address.len());
    address[..end].parse().ok()
}

/// An answer as it stood on the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn field(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    pub fn request_id(&self) -> String {
        self.field("x-sallyport-request-id").expect("every answer has an id")
    }
}

/// Bytes both ways.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection that speaks raw HTTP/1.1.
pub struct Client {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("a connection")
    }

    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self::over(stream))
    }

    /// Over a stream that is there already.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// May fail when the gateway has already answered and closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn chat(&mut self, token: &str, body: &str) -> Answer {
        self.send(chat_request(token, body).as_bytes());
        self.answer()
    }

    pub fn try_answer_to(&mut self, request: &str) -> Option<Answer> {
        self.try_send(request.as_bytes()).ok()?;
        self.try_answer()
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// `None` when the connection ended before a whole answer was there.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let lower = head.to_ascii_lowercase();
        let body = if lower.contains("transfer-encoding: chunked") {
            self.chunked()?
        } else if let Some(at) = lower.find("content-length: ") {
            let length = lower[at + 16..].lines().next()?.trim().parse().ok()?;
            self.exactly(length)?
        } else {
            while self.more().is_some() {}
            std::mem::take(&mut self.unread)
        };
        Some(Answer { status, head, body })
    }

    /// The next head alone, as it stands on the wire.
    pub fn interim(&mut self) -> String {
        assert!(self.wait_for("\r\n\r\n"), "the connection ended");
        let end = find(&self.unread, b"\r\n\r\n").unwrap() + 4;
        String::from_utf8(self.unread.drain(..end).collect()).unwrap()
    }

    /// Whether the other side closed, with nothing left to read.
    pub fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && self.more().is_none()
    }

    /// Reads until the text appears; what was read so far stays unread.
    pub fn wait_for(&mut self, text: &str) -> bool {
        while find(&self.unread, text.as_bytes()).is_none() {
            if self.more().is_none() {
                return false;
            }
        }
        true
    }

    fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = find(&self.unread, b"\r\n") {
                    break at + 2;
                }
                self.more()?;
            };
            let line: Vec<u8> = self.unread.drain(..end).collect();
            let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
            let piece = self.exactly(size + 2)?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&piece[..size]);
        }
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.more()?;
        }
        Some(self.unread.drain(..length).collect())
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(got @ 1..) => {
                self.unread.extend_from_slice(&buffer[..got]);
                Some(())
            }
            _ => None,
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

pub fn chat_request(token: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn chat_body(model: &str, text: &str, stream: bool) -> String {
    format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

/// Joins the text deltas of a stream, as a reader would.
pub fn stream_text(body: &str) -> String {
    let events = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    events
        .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap())
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

/// A port that nobody listens on.
pub fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An upstream that answers every connection's first request with fixed bytes and closes.
pub fn fixed_upstream(answer: Vec<u8>, connections: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            while find(&seen, b"\r\n\r\n").is_none() {
                match stream.read(&mut buffer) {
                    Ok(got @ 1..) => seen.extend_from_slice(&buffer[..got]),
                    _ => break,
                }
            }
            let _ = stream.write_all(&answer);
        }
    });
    address
}

/// Whether any file below the directory contains the bytes.
pub fn any_file_contains(directory: &Path, needle: &[u8]) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = any_file_contains(&path, needle) {
                return Some(found);
            }
        } else if path.is_file() && find(&std::fs::read(&path).unwrap_or_default(), needle).is_some() {
            return Some(path);
        }
    }
    None
}
