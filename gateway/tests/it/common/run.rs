//! Runs `sallyport run` with a configuration file, with tokens from a key set on disk.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sallyport::dev_issuer::{DEV_AUDIENCE, DEV_ISSUER_URL, DevIssuer};

use super::{Answer, Client, POLICY, binary, token};

/// A directory with everything that a configuration needs but its `[listen]` and `[[upstream]]`.
pub struct House {
    pub directory: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        DevIssuer::open_or_create(&data).unwrap();
        let pkcs8 = std::fs::read(data.join("dev-issuer/ed25519.pkcs8")).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
        let key_id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key().as_ref());
        let jwks = serde_json::json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
            "kid": format!("dev-{}", hex::encode(&key_id.as_ref()[..4])),
            "x": URL_SAFE_NO_PAD.encode(key.public_key().as_ref()),
        }] });
        std::fs::write(directory.path().join("jwks.json"), jwks.to_string()).unwrap();
        std::fs::write(directory.path().join("test.policy"), POLICY).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn token(&self) -> String {
        token(&self.path("data"), &["--user", "alice", "--group", "ml-apps"])
    }

    /// Writes the configuration: `listen` is what follows `[listen]`'s address, `upstreams` whole tables.
    pub fn configure(&self, listen: &str, upstreams: &str) {
        let text = format!(
            "data = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [admin.roles]\nviewer = [\"*\"]\nauditor = [\"*\"]\nadmin = [\"*\"]\n[[issuer]]\nurl = \"{DEV_ISSUER_URL}\"\n\
             audience = [\"{DEV_AUDIENCE}\"]\njwks = \"file:jwks.json\"\n[policy]\npath = \"test.policy\"\n\
             {upstreams}\n[listen]\naddress = \"127.0.0.1:0\"\n{listen}\n"
        );
        // Exchanged, so that nobody reads half of it.
        std::fs::write(self.path("next.toml"), text).unwrap();
        std::fs::rename(self.path("next.toml"), self.path("sallyport.toml")).unwrap();
    }

    pub fn start(&self) -> Running {
        self.start_with(&[])
    }

    pub fn start_with(&self, extra: &[&str]) -> Running {
        let mut command = self.command();
        command.args(extra);
        Running::spawn(command)
    }

    /// How it is started, for whoever adds to that.
    pub fn command(&self) -> std::process::Command {
        let mut command = binary();
        command.args(["run", "--cores", "1", "--config"]).arg(self.path("sallyport.toml"));
        command
    }
}

/// A running gateway; killed when dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Running {
    pub fn spawn(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap();
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = Self { child, address: none, admin: none, log };
        running.wait_until("serves", |running| {
            let log = running.log();
            let after = |word: &str| log.split(word).nth(1)?.split_whitespace().next()?.parse().ok();
            let (Some(address), Some(admin)) = (after("gateway="), after("admin=")) else { return false };
            (running.address, running.admin) = (address, admin);
            true
        });
        running
    }

    /// Waits, a minute at most, until something holds.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "{what} did not come true: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill(2) takes no pointers; the process is our child and was not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for the end; returns the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub fn stop(self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    pub fn get(&self, path: &str, token: &str) -> Answer {
        let mut client = Client::connect(self.admin);
        let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        client.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n{auth}\r\n").as_bytes());
        client.answer()
    }

    /// The value of a line of /metrics, named with its labels.
    pub fn metric(&self, token: &str, name: &str) -> u64 {
        let page = self.get("/metrics", token).text();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{page}")).trim().parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway said:\n{}", self.log());
        }
    }
}
