//! What must not be masked: identifiers of machines, times, versions, and ordinary technical prose. All tier V detectors together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::detect;

/// False masks per megabyte of prose that are allowed.
const PER_MEGABYTE: f64 = 5.0;

struct Random(u64);

impl Random {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn hex(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from_digit((self.next() % 16) as u32, 16).unwrap()).collect()
    }
}

fn clean(kind: &str, make: impl Fn(&mut Random) -> String) {
    let mut random = Random(42);
    for _ in 0..20_000 {
        let text = format!("see {} there", make(&mut random));
        let found = detect::find_validated(&text);
        assert!(found.is_empty(), "{kind}: {text}: {found:?}");
    }
}

#[test]
fn identifiers_of_machines_stay() {
    clean("UUID", |r| {
        let (a, b, c, d, e) = (r.hex(8), r.hex(4), r.hex(3), r.hex(3), r.hex(12));
        format!("{a}-{b}-4{c}-a{d}-{e}")
    });
    clean("SHA-256", |r| r.hex(64));
    clean("SHA-1", |r| r.hex(40));
    clean("MD5", |r| r.hex(32));
    clean("image", |r| format!("sha256:{}", r.hex(64)));
}

#[test]
fn times_stay() {
    clean("seconds", |r| (1_000_000_000 + r.below(1_000_000_000)).to_string());
    clean("milliseconds", |r| (1_400_000_000_000 + r.below(500_000_000_000)).to_string());
    clean("microseconds", |r| (1_400_000_000_000_000 + r.below(500_000_000_000_000)).to_string());
    clean("nanoseconds", |r| (1_400_000_000_000_000_000 + r.below(500_000_000_000_000_000)).to_string());
    let date =
        |r: &mut Random| (1990 + r.below(45), 1 + r.below(12), 1 + r.below(28), r.below(24), r.below(60), r.below(60));
    clean("RFC 3339", move |r| {
        let (y, m, d, h, min, s) = date(r);
        format!("{y}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}.{:06}Z", r.below(1_000_000))
    });
    clean("log", move |r| {
        let (y, m, d, h, min, s) = date(r);
        format!("{y}-{m:02}-{d:02} {h:02}:{min:02}:{s:02},{:03}", r.below(1000))
    });
    clean("compact", move |r| {
        let (y, m, d, h, min, s) = date(r);
        format!("{y}{m:02}{d:02}{h:02}{min:02}{s:02}")
    });
    clean("file name", move |r| {
        let (y, m, d, h, min, _) = date(r);
        format!("backup-{y}{m:02}{d:02}-{h:02}{min:02}")
    });
}

#[test]
fn versions_stay() {
    clean("two", |r| format!("{}.{}", r.below(100), r.below(1000)));
    clean("three", |r| format!("v{}.{}.{}", r.below(100), r.below(1000), r.below(10_000)));
    clean("four", |r| format!("{}.{}.{}.{}", r.below(10), r.below(32), r.below(32), r.below(32)));
    clean("browser", |r| format!("Chrome/{}.0.{}.{}", 60 + r.below(80), 1000 + r.below(8000), r.below(250)));
    clean("pre-release", |r| {
        format!("{}.{}.{}-rc.{}+build.{}", r.below(9), r.below(99), r.below(99), r.below(9), r.below(9999))
    });
}

#[test]
fn fractions_stay() {
    clean("probability", |r| format!("0.{:016}", r.below(10_000_000_000_000_000)));
    clean("log probability", |r| format!("-0.{:012}", r.below(1_000_000_000_000)));
}

/// Technical prose that is at hand wherever this is built: pages of this project (not those whose examples show secrets and numbers) and
/// the comments of its sources.
#[test]
fn prose_stays() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut prose = String::new();
    for room in [
        "docs/decisions",
        "docs/evidence",
        "gateway/src",
        "audit-shipper/src",
        "policy-lang/src/lower",
        "load-tests/src",
    ] {
        collect(&root.join(room), &mut prose);
    }
    // More of it, by hand: a directory of Markdown files.
    if let Some(more) = std::env::var_os("PROSE_DIRECTORY") {
        collect(std::path::Path::new(&more), &mut prose);
    }
    // An address is one, also in prose.
    let mut found = detect::find_validated(&prose);
    found.retain(|finding| !matches!(finding.detector, "ipv4" | "ipv6" | "email"));
    let megabytes = prose.len() as f64 / 1e6;
    for finding in &found {
        println!("{} {:?}", finding.detector, &prose[finding.range.clone()]);
    }
    println!("{} masks in {megabytes:.2} MB", found.len());
    assert!(found.len() as f64 <= (PER_MEGABYTE * megabytes).max(PER_MEGABYTE), "{} in {megabytes:.2} MB", found.len());
}

fn collect(directory: &std::path::Path, prose: &mut String) {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, prose);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let page = path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("detectors.md");
        for line in text.lines() {
            let line = line.trim_start();
            if page || line.starts_with("//") {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
}
