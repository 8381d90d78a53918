//! Evidence: acknowledgement latency and throughput beside a raw synchronous write on the same disk in the same run, then
//! verifying, indexing and finding. Plain tables: the disk decides more than statistics could tell.
//!
//!     cargo bench -p benches --bench evidence -- [directory on the disk to measure] [records, default 20000] [search]
//!
//! With `search`, only finding is measured: ten million records take about 10 GB, and their figures are in docs/performance.md.
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
/// One person in so many records, but never fewer people than these.
const RECORDS_PER_PERSON: u64 = 1000;
const PEOPLE_MIN: u64 = 1000;
/// The records are spread over so many days before now.
const DAYS: u64 = 30;
/// Records that are not waited for.
const UNDER_WAY: usize = 8192;
/// Times that something is looked for.
const LOOK_UPS: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let directory = arguments.first().map_or_else(std::env::temp_dir, Into::into);
    let records: usize = arguments.get(1).and_then(|number| number.parse().ok()).unwrap_or(20_000);
    if arguments.get(2).is_some_and(|part| part == "search") {
        return finding(&directory, records);
    }
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
        under_way.push_back((began, producer.refusal(id, &refusal(number as u64, PEOPLE_MIN)).commit));
    }
    for (began, commit) in under_way {
        commit.wait_blocking().unwrap();
        latencies.push(began.elapsed());
    }
    latencies
}

fn refusal(number: u64, people: u64) -> Refusal {
    Refusal {
        at: Moment::now(),
        caller: Caller { subject: person(number, people), ..Caller::default() },
        request: RequestInfo { path: "/v1/chat/completions".to_owned(), ..RequestInfo::default() },
        model: Some(format!("model-{}", number % 20)),
        policy: Some(PolicyRef { name: "bench".to_owned(), version: "1".to_owned(), sha256: [1; 32] }),
        status: if number % 100 == 7 { 429 } else { 403 },
        code: "denied_by_policy".into(),
        reason: "for the bench".to_owned(),
        fired: vec![format!("rule-{}", number % 200)],
        count: 1,
        ..Refusal::default()
    }
}

/// Shuffled, so that a person's records lie everywhere.
fn person(number: u64, people: u64) -> String {
    format!("person-{}", (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % people)
}

fn finding(directory: &Path, records: usize) {
    let data = tempfile::tempdir_in(directory).unwrap();
    let mut options = Options::new(data.path(), "bench.example/log");
    (options.durability, options.queue_slots) = (Durability::Crash, 1 << 14);
    let evidence = Evidence::open(options).unwrap();
    let mut producer = evidence.producer(0).unwrap();
    let people = (records as u64 / RECORDS_PER_PERSON).max(PEOPLE_MIN);
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        println!("{what}: {:?}", began.elapsed());
        began.elapsed()
    };
    let ids = std::cell::RefCell::new(Vec::with_capacity(records));
    let writing = timed("writing (crash mode, one producer)", &mut || {
        let step_us = DAYS * 86_400_000_000 / records as u64;
        let began_us = Moment::now().unix_us - DAYS * 86_400_000_000;
        let mut under_way: VecDeque<Receipt> = VecDeque::new();
        for number in 0..records as u64 {
            let mut refusal = refusal(number, people);
            refusal.at.unix_us = began_us + number * step_us;
            let receipt = until(|| {
                let id = producer.new_id();
                Some(producer.refusal(id, &refusal)).filter(|receipt| !matches!(receipt.commit.peek(), Some(Err(_))))
            });
            under_way.push_back(receipt);
            if under_way.len() > UNDER_WAY
                && let Some(receipt) = under_way.pop_front()
            {
                receipt.commit.wait_blocking().unwrap();
                ids.borrow_mut().push(receipt.id);
            }
        }
        for receipt in under_way.drain(..) {
            receipt.commit.wait_blocking().unwrap();
            ids.borrow_mut().push(receipt.id);
        }
    });
    let ids = ids.into_inner();
    println!("  {:.0} records/s, {people} people", records as f64 / writing.as_secs_f64());
    let source = Source::new(data.path());
    while evidence.status().tree_size < evidence.status().durable {
        std::thread::sleep(Duration::from_millis(10));
    }
    let cpu = thread_cpu();
    let indexing = timed("indexing", &mut || {
        read::update_index(&source, None).unwrap();
    });
    println!(
        "  {:.0} envelopes/s; {:?} of CPU on the reading thread",
        records as f64 / indexing.as_secs_f64(),
        thread_cpu().saturating_sub(cpu)
    );
    let sizes = ["wal", "index"].map(|part| bytes_below(&evidence.directory().join(part)) as f64 / records as f64);
    println!("  {:.0} bytes of log and {:.0} bytes of index per record", sizes[0], sizes[1]);
    let many = |what: &str, work: &mut dyn FnMut(usize)| {
        let time = |number| {
            let began = Instant::now();
            work(number);
            began.elapsed()
        };
        let times: Vec<Duration> = (0..LOOK_UPS).map(time).collect();
        println!("{what}: p50 {:?}, p95 {:?}", percentile(times.clone(), 50), percentile(times, 95));
    };
    let search = |query: &str| {
        let query = Query::parse(query).unwrap();
        read::search(&source, &query, SearchOptions::default(), &mut std::io::sink()).unwrap()
    };
    many("showing one by id", &mut |number| {
        assert!(read::show(&source, ids[number * 7919 % ids.len()], &mut std::io::sink()).unwrap());
    });
    many("searching by id", &mut |number| assert_eq!(search(&format!("id:{}", ids[number * 7919 % ids.len()])), 1));
    many("searching by subject", &mut |number| {
        assert!(search(&format!("subject:{}", person(number as u64 * 13, people))) > 0);
    });
    many("searching by a field that all have", &mut |_| assert!(search("status:403") > 0));
    many("searching by a field that few have", &mut |_| assert!(search("status:429") > 0));
    many("searching by model and rule", &mut |number| {
        assert!(search(&format!("model:model-{} rule:rule-{}", number % 20, number % 200)) > 0);
    });
    many("searching for nobody", &mut |_| assert_eq!(search("subject:nobody"), 0));
    many("a fresh record, found by its id as soon as it is acknowledged", &mut |number| {
        let id = producer.new_id();
        producer.refusal(id, &refusal(number as u64, people)).commit.wait_blocking().unwrap();
        assert_eq!(search(&format!("id:{id}")), 1);
    });
    many("a fresh record, found by its subject as soon as it is acknowledged", &mut |number| {
        let id = producer.new_id();
        let fresh = format!("fresh-{number}");
        let caller = Caller { subject: fresh.clone(), ..Caller::default() };
        producer.refusal(id, &Refusal { caller, ..refusal(7, people) }).commit.wait_blocking().unwrap();
        assert_eq!(search(&format!("subject:{fresh}")), 1);
    });
    evidence.close().unwrap();
    let options = source.options().unwrap();
    drop((producer, evidence));
    timed("starting", &mut || drop(Evidence::open(options.clone()).unwrap()));
    let mut written = 0;
    timed("everything of one person", &mut || {
        written = read::dsar(&source, "", &person(1, people), &mut std::io::sink()).unwrap();
    });
    println!("  {written} records");
    let verifying = timed("verifying", &mut || {
        read::verify(&source, &mut std::io::sink()).unwrap();
    });
    println!("  {:.0} records/s", records as f64 / verifying.as_secs_f64());
    read::drop_index(&source).unwrap();
    timed("starting without an index", &mut || drop(Evidence::open(options.clone()).unwrap()));
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

fn percentile(mut durations: Vec<Duration>, percent: usize) -> Duration {
    durations.sort_unstable();
    durations.get(durations.len() * percent / 100).copied().unwrap_or_default()
}
