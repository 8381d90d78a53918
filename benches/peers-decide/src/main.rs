//! Decisions over 20 to 10,000 rules, beside cedar-policy, regorus (its virtual machine), cel and wirefilter-engine on rules of the same
//! meaning: `cargo run --release` prints a table; with `--no-default-features` nothing of the peers is built and only ours run. With
//! `SIZE allow|"no match"|deny` behind it, ours alone judges 2,000,000 calls of that row, for a tool that counts instructions.
//!
//! The median is of batches by the thread's CPU time, so that what else runs on the machine does not count; the tail is of single
//! decisions by the wall clock, less what reading the clock takes. Contenders take turns; the medians of the rounds are printed.
//! Ours makes facts from the call's texts in every decision and yields trace and obligations; only the caller's part is at hand.
//! The peers get their requests ready-made.

mod ours;
#[cfg(feature = "peers")]
mod peers;
mod set;

use ours::Ours;
#[cfg(feature = "peers")]
use peers::{Cedar, Cel, Peer, Regorus, Wirefilter};
use policy_compiler::{CompileOptions, Layout};
use set::{CALLS, Call, Kind, calls, rules};
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 4] = [20, 200, 1_000, 10_000];
const ROUNDS: usize = 7;
/// CPU time that a contender gets in a round.
const TURN: Duration = Duration::from_millis(40);
const BATCH: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [size, kind] = arguments.as_slice() {
        return only(size.parse().expect("a number of rules"), kind);
    }
    println!("| rules | calls | engine | p50 | p99.9 |\n|--:|---|---|--:|--:|");
    for size in SIZES {
        let rules = rules(size);
        let policy = Ours::new(&ours::texts(&rules), size, CompileOptions::default());
        eprintln!("{size} rules: {}", policy.describe());
        for (kind, name) in Kind::ALL {
            let calls = calls(size, kind);
            for call in &calls {
                assert_eq!(policy.is_forwarded(call), kind == Kind::Allow);
            }
            #[cfg_attr(not(feature = "peers"), allow(unused_mut))]
            let mut contenders: Vec<(&str, Contender<'_>)> = vec![("sallyport", Contender::Ours(&policy, &calls))];
            #[cfg(feature = "peers")]
            {
                contenders.push(("cedar-policy", Contender::Peer(Box::new(Cedar::new(&rules, &calls)))));
                // Its programs have at most 65,535 instructions; 10,000 rules would be 184,014.
                if size <= 1_000 {
                    contenders.push(("regorus (RVM)", Contender::Peer(Box::new(Regorus::new(&rules, &calls)))));
                }
                contenders.push(("cel", Contender::Peer(Box::new(Cel::new(&rules, &calls)))));
                contenders.push(("wirefilter", Contender::Peer(Box::new(Wirefilter::new(&rules, &calls)))));
            }
            for (engine, contender) in &mut contenders {
                for number in 0..8 {
                    assert_eq!(contender.judge(number), kind == Kind::Allow, "{engine} on call {number}");
                }
            }
            print_rows(size, name, &mut contenders);
        }
    }
    println!(
        "\nThe worst case: nothing can be looked up.\n\n| rules | calls | engine | p50 | p99.9 |\n|--:|---|---|--:|--:|"
    );
    for size in SIZES {
        let rules = rules(size);
        let texts = ours::worst_texts(&rules);
        let straight = CompileOptions { layout: Layout::StraightLine, ..CompileOptions::default() };
        let policies = [CompileOptions::default(), straight].map(|options| Ours::new(&texts, size, options));
        let calls = calls(size, Kind::Allow);
        let names = ["sallyport", "sallyport, straight-line code"];
        let contenders = names.into_iter().zip(&policies).map(|(name, policy)| (name, Contender::Ours(policy, &calls)));
        print_rows(size, "allow", &mut contenders.collect::<Vec<_>>());
    }
}

fn only(size: usize, kind: &str) {
    let (kind, _) = Kind::ALL.into_iter().find(|(_, name)| *name == kind).expect("allow, no match or deny");
    let policy = Ours::new(&ours::texts(&rules(size)), size, CompileOptions::default());
    let calls = calls(size, kind);
    for call in calls.iter().cycle().take(2_000_000) {
        black_box(policy.decide(call));
    }
}

enum Contender<'a> {
    Ours(&'a Ours, &'a [Call]),
    #[cfg(feature = "peers")]
    Peer(Box<dyn Peer + 'a>),
}

impl Contender<'_> {
    #[inline]
    fn judge(&mut self, number: usize) -> bool {
        match self {
            Self::Ours(policy, calls) => {
                black_box(policy.decide(&calls[number])).verdict == policy_lang::Verdict::Forward
            }
            #[cfg(feature = "peers")]
            Self::Peer(peer) => peer.judge(number),
        }
    }

    /// Medians over batches by CPU time, and the tail of single decisions, in nanoseconds.
    fn turn(&mut self, next: &mut usize) -> (f64, f64) {
        let mut number = || {
            *next = (*next + 1) % CALLS;
            *next
        };
        let (mut batches, mut singles) = (Vec::new(), Vec::new());
        let start = cpu_time();
        while batches.len() < 3 || cpu_time() - start < TURN {
            let batch = if matches!(self, Self::Ours(..)) { BATCH } else { 1 };
            let before = cpu_time();
            for _ in 0..batch {
                black_box(self.judge(number()));
            }
            batches.push((cpu_time() - before).as_nanos() as f64 / batch as f64);
        }
        let start = Instant::now();
        while singles.len() < 3 || start.elapsed() < TURN {
            for _ in 0..BATCH.min(batches.len()) {
                let before = Instant::now();
                black_box(self.judge(number()));
                singles.push(before.elapsed().as_nanos() as f64);
            }
        }
        (quantile(&mut batches, 0.5), quantile(&mut singles, 0.999))
    }
}

fn print_rows(size: usize, calls: &str, contenders: &mut [(&str, Contender<'_>)]) {
    let mut next = vec![0; contenders.len()];
    let mut turns: Vec<Vec<(f64, f64)>> = vec![Vec::new(); contenders.len()];
    let clock = clock_ns();
    for _ in 0..ROUNDS {
        for (((_, contender), next), turns) in contenders.iter_mut().zip(&mut next).zip(&mut turns) {
            turns.push(contender.turn(next));
        }
    }
    for ((engine, _), turns) in contenders.iter().zip(turns) {
        let median = |pick: fn(&(f64, f64)) -> f64| quantile(&mut turns.iter().map(pick).collect::<Vec<_>>(), 0.5);
        println!(
            "| {size} | {calls} | {engine} | {} | {} |",
            time(median(|turn| turn.0)),
            time(median(|turn| turn.1) - clock)
        );
    }
}

/// What reading the wall clock twice takes.
fn clock_ns() -> f64 {
    let mut empty: Vec<f64> = (0..10_000).map(|_| Instant::now().elapsed().as_nanos() as f64).collect();
    quantile(&mut empty, 0.5)
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() as f64 * share) as usize).min(values.len() - 1)]
}

fn time(ns: f64) -> String {
    if ns < 10_000.0 { format!("{ns:.0} ns") } else { format!("{:.0} µs", ns / 1_000.0) }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
