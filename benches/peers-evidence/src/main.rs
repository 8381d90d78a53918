//! One row per transaction in SQLite, `synchronous=FULL`, and as many in one transaction as clients would wait together; then rsyslog, if
//! it is installed, syncing its file after each message and after each batch; beside a raw synchronous write on the same disk in the same
//! run. `cargo bench -p benches --bench evidence` prints the same columns for us.
//!
//!     cargo run --release -- [directory on the disk to measure] [rows, default 2000]

use std::io::{BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

/// Of Linux, the same on all architectures that we build for.
const O_DSYNC: i32 = 0o10_000;
const RAW_WRITES: usize = 500;
const BLOCK_BYTES: usize = 4096;
const CLIENTS: [usize; 4] = [1, 8, 64, 256];
/// About what a record of ours takes, in bytes.
const ROW_BYTES: usize = 900;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().map_or_else(std::env::temp_dir, Into::into);
    let rows: usize = arguments.get(1).and_then(|number| number.parse().ok()).unwrap_or(2000);
    let raw = raw_write(&directory);
    println!("raw synchronous write of {BLOCK_BYTES} bytes: p50 {raw:?}");
    println!("{:>8} {:>8} {:>12} {:>10} {:>10} {:>8}", "journal", "clients", "records/s", "p50", "p99", "ratio");
    for journal in ["WAL", "DELETE"] {
        for clients in CLIENTS {
            measure(&directory, journal, clients, rows.max(clients * 4), raw);
        }
    }
    for batch in [1, 256] {
        match rsyslog(&directory, batch, rows) {
            Some(rate) => println!(
                "{:>8} {batch:>8} {rate:>12.0} (at most so many messages per sync; the sender is told nothing)",
                "rsyslog"
            ),
            None => println!("rsyslog is not installed, or did not start: apt-get install rsyslog"),
        }
    }
}

/// Ends the daemon with its test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Messages per second from the first that is sent until the last is in the file.
fn rsyslog(directory: &Path, batch: usize, rows: usize) -> Option<f64> {
    let dir = tempfile::tempdir_in(directory).expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let queue = match batch {
        1 => "queue.type=\"Direct\"".to_owned(),
        _ => format!("queue.type=\"FixedArray\" queue.size=\"200000\" queue.dequeueBatchSize=\"{batch}\""),
    };
    let path = dir.path().display();
    let config = format!(
        "global(workDirectory=\"{path}\")\nmain_queue({queue})\nmodule(load=\"imptcp\")\n\
         input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
         template(name=\"plain\" type=\"string\" string=\"%msg%\\n\")\n\
         action(type=\"omfile\" file=\"{path}/log\" template=\"plain\" sync=\"on\")\n"
    );
    std::fs::write(dir.path().join("conf"), config).expect("a configuration");
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(dir.path().join("conf")).arg("-i").arg(dir.path().join("pid"));
    let _daemon = Daemon(command.spawn().ok()?);
    let mut tries = 0..200;
    let stream = loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            break stream;
        }
        tries.next()?;
        std::thread::sleep(Duration::from_millis(20));
    };
    let row = "7".repeat(ROW_BYTES);
    let began = Instant::now();
    let mut out = BufWriter::new(stream);
    for number in 0..rows {
        writeln!(out, "<134>Nov 21 12:00:00 host bench: {number} {row}").expect("a message");
    }
    out.flush().expect("messages");
    // A line is the message and a few bytes.
    let whole = (rows * ROW_BYTES) as u64;
    let last = format!("{} {row}", rows - 1);
    loop {
        let log = dir.path().join("log");
        if std::fs::metadata(&log).is_ok_and(|log| log.len() > whole)
            && std::fs::read_to_string(&log).is_ok_and(|log| log.contains(&last))
        {
            return Some(rows as f64 / began.elapsed().as_secs_f64());
        }
        if began.elapsed() > Duration::from_secs(120) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn raw_write(directory: &Path) -> Duration {
    let dir = tempfile::tempdir_in(directory).expect("a directory");
    let path = dir.path().join("raw");
    std::fs::write(&path, vec![0; RAW_WRITES * BLOCK_BYTES]).expect("zeros");
    std::fs::File::open(&path).and_then(|file| file.sync_all()).expect("a sync");
    let file = std::fs::File::options().write(true).custom_flags(O_DSYNC).open(&path).expect("the file");
    let write = |number: usize| {
        let began = Instant::now();
        file.write_all_at(&[7; BLOCK_BYTES], (number * BLOCK_BYTES) as u64).expect("a write");
        began.elapsed()
    };
    percentile((0..RAW_WRITES).map(write).collect(), 50)
}

/// SQLite has one writer: clients that wait together are rows of one transaction.
fn measure(directory: &Path, journal: &str, clients: usize, rows: usize, raw: Duration) {
    let dir = tempfile::tempdir_in(directory).expect("a directory");
    let mut database = Connection::open(dir.path().join("db")).expect("a database");
    database.pragma_update(None, "journal_mode", journal).expect("the journal");
    database.pragma_update(None, "synchronous", "FULL").expect("synchronous");
    database.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, data BLOB NOT NULL)", []).expect("a table");
    let row = vec![7_u8; ROW_BYTES];
    let began = Instant::now();
    let mut latencies = Vec::new();
    for batch in 0..rows / clients {
        let began = Instant::now();
        let transaction = database.transaction().expect("a transaction");
        {
            let mut insert = transaction.prepare_cached("INSERT INTO record VALUES (?1, ?2)").expect("a statement");
            for number in 0..clients {
                insert.execute(params![(batch * clients + number) as i64, row]).expect("a row");
            }
        }
        transaction.commit().expect("a commit");
        latencies.push(began.elapsed());
    }
    let took = began.elapsed();
    let (p50, p99) = (percentile(latencies.clone(), 50), percentile(latencies, 99));
    println!(
        "{journal:>8} {clients:>8} {:>12.0} {p50:>10?} {p99:>10?} {:>8.2}",
        rows as f64 / took.as_secs_f64(),
        p50.as_secs_f64() / raw.as_secs_f64()
    );
}

fn percentile(mut durations: Vec<Duration>, percent: usize) -> Duration {
    durations.sort_unstable();
    durations.get(durations.len() * percent / 100).copied().unwrap_or_default()
}
