//! Evidence: acknowledgement latency and throughput beside a raw synchronous write on the same disk in the same run, then
//! verifying, indexing and finding. Plain tables: the disk decides more than statistics could tell.
//!
//!     cargo bench -p benches --bench evidence -- [directory on the disk to measure] [records, default 20000]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use audit_shipper::read::{self, Query, SearchOptions, Source};
use audit_shipper::{
    Caller, Commit, Durability, Evidence, Frame, Intent, Moment, Options, Outcome, PayloadChunk, PolicyRef, Producer,
    Receipt, Refusal, RequestInfo, Role,
};
use std::collections::VecDeque;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Of Linux, the same on all architectures that we build for.
const O_DSYNC: i32 = 0o10_000;
const RAW_WRITES: usize = 500;
const BLOCK_BYTES: usize = 4096;
const CLIENTS: [usize; 4] = [1, 8, 64, 256];
const PEOPLE: u64 = 1000;
/// Times that something is looked for.
const LOOK_UPS: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let directory = arguments.first().map_or_else(std::env::temp_dir, Into::into);
    let records: usize = arguments.get(1).and_then(|number| number.parse().ok()).unwrap_or(20_000);
    let raw = raw_write(&directory);
    println!("raw synchronous write of {BLOCK_BYTES} bytes: p50 {raw:?}");
    println!(
        "{:>8} {:>8} {:>12} {:>10} {:>10} {:>8} {:>10}",
        "mode", "clients", "records/s", "p50", "p99", "ratio", "MB/s"
    );
    for durability in [Durability::Strict, Durability::Crash] {
        for clients in CLIENTS {
            let number = if clients == 1 { records / 20 } else { records };
            measure(&directory, durability, clients, number.max(clients * 4), raw);
        }
    }
    bulk(&directory);
    appending();
    finding(&directory, records);
}

/// Payload that cannot be compressed, as encrypted or compressed bodies are.
fn bulk(directory: &Path) {
    const CALLS: usize = 64;
    const CHUNKS: usize = 32;
    let data = tempfile::tempdir_in(directory).unwrap();
    let evidence = Evidence::open(Options::new(data.path(), "bench.example/log")).unwrap();
    let mut producer = evidence.producer(0).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let bytes: Vec<u8> = (0..60 << 7).flat_map(|_| noise().to_le_bytes()).collect();
    let chunk = PayloadChunk {
        role: Role::Response,
        media_type: String::new(),
        frames: vec![Frame { dt_us: 0, bytes: bytes.clone() }],
    };
    let began = Instant::now();
    for _ in 0..CALLS {
        let mut permit = until(|| producer.admit().ok());
        producer.intent(&mut permit, &Intent { at: Moment::now(), ..Intent::default() });
        for _ in 0..CHUNKS {
            until(|| producer.payload(&mut permit, &chunk).ok());
        }
        producer.outcome(permit, &Outcome { at: Moment::now(), ..Outcome::default() }).commit.wait_blocking().unwrap();
    }
    let megabytes = (CALLS * CHUNKS * bytes.len()) as f64 / 1e6;
    println!("payload, strict, one core: {:.0} MB/s", megabytes / began.elapsed().as_secs_f64());
    evidence.close().unwrap();
}

fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The tree alone, over leaves of the size of ours.
fn appending() {
    const LEAVES: usize = 500_000;
    let leaf = [7; 600];
    let began = Instant::now();
    let root = read::root_of((0..LEAVES).map(|_| leaf.as_slice()));
    let rate = LEAVES as f64 / began.elapsed().as_secs_f64();
    println!("tree: {rate:.0} appends/s of {} bytes, root {:02x}…", leaf.len(), root[0]);
}

/// The median of writing a block to zeroed space.
fn raw_write(directory: &Path) -> Duration {
    let file = tempfile::tempdir_in(directory).unwrap();
    let path = file.path().join("raw");
    std::fs::write(&path, vec![0; RAW_WRITES * BLOCK_BYTES]).unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    let file = std::fs::File::options().write(true).custom_flags(O_DSYNC).open(&path).unwrap();
    let block = [7; BLOCK_BYTES];
    let write = |number: usize| {
        let began = Instant::now();
        file.write_all_at(&block, (number * BLOCK_BYTES) as u64).unwrap();
        began.elapsed()
    };
    percentile((0..RAW_WRITES).map(write).collect(), 50)
}

fn measure(directory: &Path, durability: Durability, clients: usize, records: usize, raw: Duration) {
    let data = tempfile::tempdir_in(directory).unwrap();
    let producers = clients.min(2);
    let options =
        Options { durability, producers, queue_slots: 1 << 14, ..Options::new(data.path(), "bench.example/log") };
    let evidence = Evidence::open(options).unwrap();
    let began = Instant::now();
    let mut latencies: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|number| {
                let mut producer = evidence.producer(number).unwrap();
                scope.spawn(move || write(&mut producer, clients / producers, records / producers))
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let took = began.elapsed();
    evidence.close().unwrap();
    let stored = stored_bytes(&evidence.directory().join("wal"));
    let (p50, p99) = (percentile(latencies.clone(), 50), percentile(std::mem::take(&mut latencies), 99));
    println!(
        "{:>8} {clients:>8} {:>12.0} {:>10?} {:>10?} {:>8.2} {:>10.1}",
        format!("{durability:?}").to_lowercase(),
        records as f64 / took.as_secs_f64(),
        p50,
        p99,
        p50.as_secs_f64() / raw.as_secs_f64(),
        stored as f64 / took.as_secs_f64() / 1e6,
    );
}

/// Bytes of the segments up to the last one that is not zero.
fn stored_bytes(wal: &Path) -> u64 {
    let segments = std::fs::read_dir(wal).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    segments.map(|bytes| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)).sum()
}

/// Keeps so many records under way, as that many waiting clients would.
fn write(producer: &mut Producer, clients: usize, records: usize) -> Vec<Duration> {
    let mut under_way: VecDeque<(Instant, Commit)> = VecDeque::new();
    let mut latencies = Vec::with_capacity(records);
    for number in 0..records {
        if under_way.len() == clients
            && let Some((began, commit)) = under_way.pop_front()
        {
            commit.wait_blocking().unwrap();
            latencies.push(began.elapsed());
        }
        let began = Instant::now();
        let id = producer.new_id();
        under_way.push_back((began, producer.refusal(id, &refusal(number as u64)).commit));
    }
    for (began, commit) in under_way {
        commit.wait_blocking().unwrap();
        latencies.push(began.elapsed());
    }
    latencies
}

fn refusal(number: u64) -> Refusal {
    Refusal {
        at: Moment::now(),
        caller: Caller { subject: format!("person-{}", number % PEOPLE), ..Caller::default() },
        request: RequestInfo { path: "/v1/chat/completions".to_owned(), ..RequestInfo::default() },
        policy: Some(PolicyRef { name: "bench".to_owned(), version: "1".to_owned(), sha256: [1; 32] }),
        status: 403,
        code: "denied_by_policy".into(),
        reason: "for the bench".to_owned(),
        count: 1,
        ..Refusal::default()
    }
}

fn finding(directory: &Path, records: usize) {
    let data = tempfile::tempdir_in(directory).unwrap();
    let mut options = Options::new(data.path(), "bench.example/log");
    (options.durability, options.queue_slots, options.segment_bytes) = (Durability::Crash, 1 << 14, 4 << 20);
    let evidence = Evidence::open(options).unwrap();
    let mut producer = evidence.producer(0).unwrap();
    let receipts: Vec<Receipt> = (0..records as u64)
        .map(|number| {
            loop {
                let id = producer.new_id();
                let receipt = producer.refusal(id, &refusal(number));
                if !matches!(receipt.commit.peek(), Some(Err(_))) {
                    break receipt;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        })
        .collect();
    let ids: Vec<_> =
        receipts.into_iter().map(|receipt| receipt.commit.wait_blocking().map(|_| receipt.id).unwrap()).collect();
    let source = Source::new(data.path());
    while evidence.status().tree_size < evidence.status().durable {
        std::thread::sleep(Duration::from_millis(10));
    }
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        println!("{what}: {:?}", began.elapsed());
        began.elapsed()
    };
    let indexing = timed("indexing", &mut || {
        read::update_index(&source, None).unwrap();
    });
    println!("  {:.0} envelopes/s", records as f64 / indexing.as_secs_f64());
    let many = |what: &str, work: &mut dyn FnMut(usize)| {
        let time = |number| {
            let began = Instant::now();
            work(number);
            began.elapsed()
        };
        let times: Vec<Duration> = (0..LOOK_UPS).map(time).collect();
        println!("{what}: p50 {:?}, p95 {:?}", percentile(times.clone(), 50), percentile(times, 95));
    };
    many("showing one by id", &mut |number| {
        assert!(read::show(&source, ids[number * 7919 % ids.len()], &mut std::io::sink()).unwrap());
    });
    let search = |query: &str| {
        let query = Query::parse(query).unwrap();
        read::search(&source, &query, SearchOptions::default(), &mut std::io::sink()).unwrap()
    };
    many("searching by subject", &mut |number| {
        assert!(search(&format!("subject:person-{}", number as u64 * 13 % PEOPLE)) > 0);
    });
    many("searching by a field", &mut |_| assert!(search("status:403") > 0));
    many("searching for nobody", &mut |_| assert_eq!(search("subject:nobody"), 0));
    many("a fresh record, found as soon as it is acknowledged", &mut |number| {
        let id = producer.new_id();
        let fresh = Refusal { reason: "fresh".to_owned(), ..refusal(number as u64) };
        producer.refusal(id, &fresh).commit.wait_blocking().unwrap();
        assert_eq!(search(&format!("id:{id}")), 1);
    });
    evidence.close().unwrap();
    let options = source.options().unwrap();
    drop((producer, evidence));
    timed("starting", &mut || drop(Evidence::open(options.clone()).unwrap()));
    read::drop_index(&source).unwrap();
    timed("starting without an index", &mut || drop(Evidence::open(options.clone()).unwrap()));
    let verifying = timed("verifying", &mut || {
        read::verify(&source, &mut std::io::sink()).unwrap();
    });
    println!("  {:.0} records/s", records as f64 / verifying.as_secs_f64());
}

fn percentile(mut durations: Vec<Duration>, percent: usize) -> Duration {
    durations.sort_unstable();
    durations.get(durations.len() * percent / 100).copied().unwrap_or_default()
}
