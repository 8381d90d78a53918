//! One measuring thread: its part of the schedule, its own connections, its own tally; one epoll descriptor and no lock.

mod connection;
mod requests;
mod work;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::live::Sample;
use super::plan::{Plan, share};
use super::stream::Seen;
use super::tally::Tally;
use super::timeline::Timeline;
use crate::wire::{Reactor, Ready};
use connection::{Connection, Progress};
use requests::Requests;
use work::Due;
pub(super) use work::Work;

/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 * 1024;

/// Time between two samples for a live screen.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);

/// Most latencies in one sample.
const SAMPLE_LATENCIES_MAX: usize = 4096;

/// Sockets served before the schedule is looked at again.
const EVENTS_BETWEEN_LOOKS: usize = 16;

/// Pause of a closed model's caller whose connection failed, so that a dead server is not hammered.
const FAILED_PAUSE: Duration = Duration::from_millis(1);

/// What all threads of a run share.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Plan,
    requests: Requests,
    journal: Option<File>,
    start: Instant,
    measured_from: Instant,
    end: Instant,
}

impl Job {
    pub(super) fn new(plan: Plan, journal: Option<File>, start: Instant, measured_from: Instant, end: Instant) -> Self {
        Self { requests: Requests::new(&plan), plan, journal, start, measured_from, end }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Call {
    number: u64,
    due: Due,
    deadline: Instant,
    /// When it was handed to its connection.
    sent: Option<Instant>,
    retried: bool,
    stream: bool,
    ends_with_marker: bool,
    seen: Seen,
    body_bytes: u64,
}

/// Why there was no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Connect(io::ErrorKind),
    /// The connection broke before the answer's head.
    NoAnswer,
    /// The answer is no HTTP.
    NotHttp,
    /// The connection broke inside the body.
    BrokenBody,
    /// The stream ended without its API's last event.
    NoDone,
    /// The stream carried an error event.
    ErrorEvent,
    Timeout,
}

impl Failure {
    /// As it stands in the report.
    fn label(self) -> String {
        match self {
            Self::Connect(kind) => format!("connect: {kind}"),
            Self::NoAnswer => "connection closed before an answer".to_owned(),
            Self::NotHttp => "answer is not HTTP".to_owned(),
            Self::BrokenBody => "answer broke off".to_owned(),
            Self::NoDone => "stream ended without its last event".to_owned(),
            Self::ErrorEvent => "error event in stream".to_owned(),
            Self::Timeout => "timeout".to_owned(),
        }
    }
}

pub(super) struct Engine<'j> {
    job: &'j Job,
    reactor: Reactor,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Idle connections with their generation, the last used on top: the fewest stay warm.
    idle: Vec<(usize, u32)>,
    open: usize,
    connections_max: Option<usize>,
    /// Calls for which there is no connection yet, in order.
    waiting: VecDeque<Call>,
    /// Deadlines in the order in which they pass, with the connection and the number of the call.
    deadlines: VecDeque<(Instant, usize, u64)>,
    in_flight: usize,
    in_flight_max: usize,
    calls: u64,
    /// Callers of a closed model whose turn it is, and those who wait a moment after a failure.
    turns: usize,
    paused: VecDeque<Instant>,
    generation: u32,
    scratch: Vec<u8>,
    tally: Tally,
    sample: Sample,
    samples: Sender<Sample>,
}

impl<'j> Engine<'j> {
    pub(super) fn new(job: &'j Job, thread: usize, threads: usize, samples: Sender<Sample>) -> io::Result<Self> {
        Ok(Self {
            job,
            reactor: Reactor::new()?,
            connections: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            open: 0,
            connections_max: job.plan.connections().map(|all| share(all, thread, threads)),
            waiting: VecDeque::new(),
            deadlines: VecDeque::new(),
            in_flight: 0,
            in_flight_max: share(job.plan.in_flight_max, thread, threads),
            calls: 0,
            turns: 0,
            paused: VecDeque::new(),
            generation: 0,
            scratch: vec![0; READ_BYTES],
            tally: Tally { timeline: Timeline::new(job.plan.duration), ..Tally::default() },
            sample: Sample::default(),
            samples,
        })
    }

    /// Works until the schedule is done and every request has come to its end.
    pub(super) fn run(mut self, mut work: Work) -> io::Result<Tally> {
        let (mut ready, mut next_sample) = (Vec::new(), self.job.start + SAMPLE_EVERY);
        let mut cpu_from = None;
        while !(work.is_done() && self.in_flight == 0) {
            let turn_began = Instant::now();
            if cpu_from.is_none() && turn_began >= self.job.measured_from {
                cpu_from = Some((turn_began, cpu_time()));
            }
            self.begin_what_is_due(&mut work);
            self.expire();
            self.tally.times.turn.record(turn_began.elapsed());
            let wait = self.time_to_wait(&work, next_sample);
            self.reactor.wait(wait, &mut ready)?;
            let woke = Instant::now();
            for (number, event) in ready.iter().enumerate() {
                if number % EVENTS_BETWEEN_LOOKS == EVENTS_BETWEEN_LOOKS - 1 {
                    self.begin_what_is_due(&mut work);
                }
                self.socket_is_ready(*event, woke);
            }
            if !ready.is_empty() {
                self.tally.times.turn.record(woke.elapsed());
            }
            if woke >= next_sample {
                self.send_sample(woke);
                next_sample = woke + SAMPLE_EVERY;
            }
        }
        self.send_sample(Instant::now());
        if let Some((since, cpu)) = cpu_from {
            let wall = since.elapsed().as_secs_f64().max(1e-9);
            self.tally.client_busy.push((cpu_time().saturating_sub(cpu)).as_secs_f64() / wall);
        }
        Ok(self.tally)
    }

    fn begin_what_is_due(&mut self, work: &mut Work) {
        match work {
            Work::Scheduled(part) => {
                while let Some(at) = part.next_at() {
                    let (begun, at) = (Instant::now(), self.job.start + at);
                    if at > begun {
                        return;
                    }
                    let (number, measured) = part.take();
                    self.begin(Due { at, number, measured }, begun);
                }
            }
            Work::Callers(callers) => {
                let now = Instant::now();
                if now < self.job.start || *callers == usize::MAX {
                    return;
                }
                while self.paused.front().is_some_and(|until| *until <= now) {
                    self.paused.pop_front();
                    self.turns += 1;
                }
                self.turns += std::mem::take(callers);
                if now >= self.job.end {
                    work.end();
                    (self.turns, self.paused) = (0, VecDeque::new());
                    return;
                }
                for _ in 0..std::mem::take(&mut self.turns) {
                    let at = Instant::now();
                    let due = Due { at, number: self.calls, measured: at >= self.job.measured_from };
                    self.begin(due, at);
                }
            }
        }
    }

    /// A request is due: it is sent, waits for a connection, or is dropped.
    fn begin(&mut self, due: Due, begun: Instant) {
        self.sample.due += 1;
        if due.measured {
            self.tally.is_due(self.since_measured(due.at), begun.saturating_duration_since(due.at));
        }
        if self.in_flight >= self.in_flight_max {
            self.sample.bad += 1;
            if due.measured {
                self.tally.dropped += 1;
                self.tally.timeline.bad(self.since_measured(due.at));
            }
            return;
        }
        self.in_flight += 1;
        let number = self.calls;
        self.calls += 1;
        let request = self.job.requests.get(due.number);
        self.place(Call {
            number,
            due,
            deadline: begun + self.job.plan.timeout,
            sent: None,
            retried: false,
            stream: request.stream,
            ends_with_marker: request.ends_with_marker,
            seen: Seen::default(),
            body_bytes: 0,
        });
    }

    /// Gives a call to an idle connection, a new one, or the queue.
    fn place(&mut self, call: Call) {
        while let Some((index, generation)) = self.idle.pop() {
            if self.connections[index].as_ref().is_some_and(|connection| connection.is_idle(generation)) {
                return self.hand_over(index, call);
            }
        }
        if self.connections_max.is_some_and(|most| self.open >= most) {
            return self.waiting.push_back(call);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        let opened = Connection::open(self.job.plan.target.addr, self.generation).and_then(|connection| {
            self.reactor.add(&connection.socket, token(index, self.generation)).map(|()| connection)
        });
        match opened {
            Ok(connection) => {
                self.tally.connections_opened += 1;
                self.open += 1;
                self.connections[index] = Some(connection);
                self.hand_over(index, call);
            }
            Err(error) => {
                self.free.push(index);
                self.failed(call, Failure::Connect(error.kind()));
            }
        }
    }

    fn hand_over(&mut self, index: usize, call: Call) {
        self.deadlines.push_back((call.deadline, index, call.number));
        let job = self.job;
        let Some(connection) = self.connections[index].as_mut() else { return };
        job.requests.write(call.due.number, &mut connection.out);
        connection.tail.clear();
        connection.call = Some(call);
        if !connection.is_connecting && connection.write(Instant::now()).is_err() {
            self.broken(index);
        }
    }

    fn socket_is_ready(&mut self, event: Ready, woke: Instant) {
        let (index, generation) = untoken(event.token);
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else { return };
        if connection.generation != generation {
            return;
        }
        if connection.is_connecting
            && event.writable
            && let Err(kind) = connection.has_connected()
        {
            let call = connection.call.take();
            self.close(index);
            return call.into_iter().for_each(|call| self.failed(call, Failure::Connect(kind)));
        }
        if event.writable && !connection.is_connecting && connection.write(woke).is_err() {
            return self.broken(index);
        }
        if !event.readable {
            return;
        }
        match connection.read(&mut self.scratch, event.closing, woke, &mut self.tally) {
            Progress::More => {}
            Progress::Whole { keep } => self.answered(index, keep, woke),
            Progress::Closed if connection.call.is_some() => self.broken(index),
            Progress::Closed => self.close(index),
            Progress::NotHttp => self.fail_connection(index, Failure::NotHttp),
        }
    }

    /// The connection ended or broke while a call was on it.
    fn broken(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let is_stale = connection.answers > 0 && connection.message.is_untouched();
        let had_head = connection.message.head().is_some();
        if is_stale && let Some(mut call) = connection.call.take_if(|call| !call.retried) {
            // The server closed a kept-alive connection just as we took it, and answered nothing.
            self.close(index);
            call.retried = true;
            self.tally.retried += u64::from(call.due.measured);
            return self.place(call);
        }
        self.fail_connection(index, if had_head { Failure::BrokenBody } else { Failure::NoAnswer });
    }

    fn fail_connection(&mut self, index: usize, failure: Failure) {
        let call = self.connections[index].as_mut().and_then(|connection| connection.call.take());
        self.close(index);
        if let Some(call) = call {
            self.failed(call, failure);
        }
    }

    fn close(&mut self, index: usize) {
        if self.connections[index].take().is_some() {
            self.open -= 1;
            self.free.push(index);
            // Its place is for the next call in the queue.
            if let Some(call) = self.waiting.pop_front() {
                self.place(call);
            }
        }
    }

    fn answered(&mut self, index: usize, keep: bool, woke: Instant) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let (Some(mut call), Some(head)) = (connection.call.take(), connection.message.take()) else { return };
        connection.answers += 1;
        if !call.stream {
            call.seen.usage = super::stream::usage(&connection.tail);
        }
        if keep {
            if let Some(next) = self.waiting.pop_front() {
                self.hand_over(index, next);
            } else {
                self.idle.push((index, connection.generation));
            }
        } else {
            self.close(index);
        }
        self.note_end(&head);
        let good = self.job.plan.accepts(head.status);
        if call.stream && (200..300).contains(&head.status) {
            if call.seen.errors > 0 {
                return self.failed(call, Failure::ErrorEvent);
            }
            if call.ends_with_marker && !call.seen.done {
                return self.failed(call, Failure::NoDone);
            }
        }
        self.ended(false);
        let latency = woke.saturating_duration_since(call.due.at);
        if good {
            self.sample.ok += 1;
            if self.sample.latencies_ns.len() < SAMPLE_LATENCIES_MAX {
                self.sample.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
            }
        } else {
            self.sample.bad += 1;
        }
        if call.due.measured {
            self.count(&call, head.status, good, woke);
        }
    }

    fn count(&mut self, call: &Call, status: u16, good: bool, woke: Instant) {
        let (due, at) = (call.due.at, self.since_measured(call.due.at));
        let ended = u64::try_from(self.since_measured(woke).as_nanos()).unwrap_or(u64::MAX);
        let tally = &mut self.tally;
        *tally.statuses.entry(status).or_default() += 1;
        tally.body_bytes += call.body_bytes;
        tally.events += call.seen.events;
        tally.last_end_ns = tally.last_end_ns.max(ended);
        if !good {
            tally.other_status += 1;
            tally.timeline.bad(at);
            return;
        }
        tally.ok += 1;
        let sent = call.sent.unwrap_or(due);
        let tokens = call.seen.usage.unwrap_or(call.seen.tokens);
        tally.output_tokens += tokens;
        tally.timeline.ok(at, woke.saturating_duration_since(due), tokens);
        let times = &mut tally.times;
        times.latency.record(woke.saturating_duration_since(due));
        times.service.record(woke.saturating_duration_since(sent));
        if let Some(first) = call.seen.first_event {
            times.first_event.record(first.saturating_duration_since(due));
            times.first_event_service.record(first.saturating_duration_since(sent));
        }
        if let Some(first) = call.seen.first_token {
            times.first_token.record(first.saturating_duration_since(due));
            times.first_token_service.record(first.saturating_duration_since(sent));
        }
        if let Some(gap) = call.seen.per_token() {
            times.per_token.record(gap);
        }
    }

    fn failed(&mut self, call: Call, failure: Failure) {
        self.ended(true);
        self.sample.bad += 1;
        if call.due.measured {
            self.tally.failed(failure.label());
            self.tally.timeline.bad(self.since_measured(call.due.at));
        }
    }

    /// A call came to its end, good or bad; in a closed model its caller is free again.
    fn ended(&mut self, failed: bool) {
        self.in_flight -= 1;
        if matches!(self.job.plan.arrivals, super::Arrivals::Closed { .. }) {
            if failed {
                self.paused.push_back(Instant::now() + FAILED_PAUSE);
            } else {
                self.turns += 1;
            }
        }
    }

    /// Ends calls whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((deadline, index, number)) = self.deadlines.front().copied() {
            let connection = self.connections[index].as_ref();
            let is_open = connection.and_then(|c| c.call.as_ref()).is_some_and(|call| call.number == number);
            if is_open && deadline > now {
                break;
            }
            self.deadlines.pop_front();
            if is_open {
                self.fail_connection(index, Failure::Timeout);
            }
        }
        while self.waiting.front().is_some_and(|call| call.deadline <= now) {
            if let Some(call) = self.waiting.pop_front() {
                self.failed(call, Failure::Timeout);
            }
        }
    }

    fn time_to_wait(&self, work: &Work, next_sample: Instant) -> Option<Duration> {
        let due = match work {
            Work::Scheduled(part) => part.next_at().map(|at| self.job.start + at),
            Work::Callers(_) if self.turns > 0 => Some(self.job.start),
            Work::Callers(_) if work.is_done() => None,
            Work::Callers(callers) if *callers > 0 => Some(self.job.start),
            Work::Callers(_) => Some(self.paused.front().map_or(self.job.end, |until| *until)),
        };
        let deadline = self.deadlines.front().map(|(deadline, ..)| *deadline);
        let waiting = self.waiting.front().map(|call| call.deadline);
        let first = [due, deadline, waiting, Some(next_sample)].into_iter().flatten().min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn since_measured(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.job.measured_from)
    }

    fn send_sample(&mut self, now: Instant) {
        let mut sample = std::mem::take(&mut self.sample);
        (sample.at, sample.in_flight) = (now.saturating_duration_since(self.job.start), self.in_flight);
        // Nobody listening is no reason to stop.
        let _ = self.samples.send(sample);
    }

    /// Writes a line about a call whose end we saw, in one write, so that lines of several threads do not mix.
    fn note_end(&mut self, head: &crate::wire::Reply) {
        let Some(mut journal) = self.job.journal.as_ref() else { return };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = head.request_id.as_deref().unwrap_or("-");
        let line = format!("{} {id} {}\n", since_1970.as_nanos(), head.status);
        if journal.write_all(line.as_bytes()).is_err() {
            self.tally.journal_errors += 1;
        }
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn token(index: usize, generation: u32) -> u64 {
    (u64::from(generation) << 32) | (index as u64 & 0xffff_ffff)
}

fn untoken(token: u64) -> (usize, u32) {
    ((token & 0xffff_ffff) as usize, (token >> 32) as u32)
}
