//! What to send, where, and how fast.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};

use super::mix::{Mix, MixRequest};
use super::schedule::{Profile, Schedule};
use super::{Error, Target};

/// What to send, where, and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go.
    pub target: Target,
    /// When requests start.
    pub arrivals: Arrivals,
    /// How long requests are measured for. [`Arrivals::Scheduled`] has its own length.
    pub duration: Duration,
    /// How long requests are sent before that, unmeasured.
    pub warmup: Duration,
    /// Headers of every request, beside `host` and `content-length`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body of every request.
    pub body: Bytes,
    /// Other requests than one `POST` of [`Plan::body`].
    pub mix: Option<Arc<Mix>>,
    /// Bearer tokens that requests carry in turn.
    pub tokens: Arc<[String]>,
    /// Seed of everything that is left to chance.
    pub seed: u64,
    /// Whether answers are event streams that must come to their end. A mix says so itself, request by request.
    pub stream: bool,
    /// Longest time for one request, connection included, after which it counts as failed.
    pub timeout: Duration,
    /// Requests in flight at which due requests are dropped.
    pub in_flight_max: usize,
    /// Statuses that count as good beside 2xx.
    pub accept: Vec<u16>,
    /// Measuring threads, each with its own connections; 0 counts as 1.
    pub threads: usize,
    /// Which part of the schedule is ours: every `of`-th request, from number `index` on.
    pub part: Part,
    /// A file that gets one line per call whose end was seen: nanoseconds since 1970, the answer's
    /// `x-sallyport-request-id` (or `-`), and the status. Warm-up calls are in it too.
    pub journal: Option<PathBuf>,
}

/// A share of a schedule that several agents carry out together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Part {
    pub index: usize,
    pub of: usize,
}

/// When requests start.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// At a constant rate, whatever the server does.
    Open {
        /// Requests per second.
        rate: f64,
        /// Most connections, over which due requests queue; that wait is part of their latency. `None` opens a
        /// connection whenever no idle one is left.
        connections: Option<usize>,
    },
    /// As a profile says, whatever the server does.
    Scheduled {
        /// When.
        profile: Profile,
        /// As above.
        connections: Option<usize>,
    },
    /// When the caller's last request is answered.
    Closed {
        /// Number of callers.
        concurrency: usize,
    },
}

impl Plan {
    /// A plan with the defaults of the command line for everything but these.
    pub fn new(target: Target, arrivals: Arrivals, duration: Duration, body: Bytes) -> Self {
        let duration = match &arrivals {
            Arrivals::Scheduled { profile, .. } => profile.duration(),
            _ => duration,
        };
        Self {
            target,
            arrivals,
            duration,
            warmup: Duration::ZERO,
            headers: vec![(hyper::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body,
            mix: None,
            tokens: Arc::new([]),
            seed: 0,
            stream: false,
            timeout: Duration::from_secs(60),
            in_flight_max: 10_000,
            accept: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            part: Part { index: 0, of: 1 },
            journal: None,
        }
    }

    pub(super) fn check(&self) -> Result<Option<Schedule>, Error> {
        let say = |text: &str| Err(Error::Plan(text.to_owned()));
        if self.duration.is_zero() {
            return say("the duration must be longer than zero");
        }
        if self.in_flight_max == 0 {
            return say("with no request in flight there is no load");
        }
        if self.part.index >= self.part.of {
            return say("a part of the schedule must be one of its parts");
        }
        match &self.arrivals {
            Arrivals::Closed { concurrency: 0 }
            | Arrivals::Open { connections: Some(0), .. }
            | Arrivals::Scheduled { connections: Some(0), .. } => say("at least one connection is needed"),
            Arrivals::Closed { .. } => Ok(None),
            Arrivals::Open { rate, .. } => {
                let profile = Profile::constant(*rate, self.duration, None);
                profile.schedule(self.warmup).map(Some).map_err(Error::Plan)
            }
            Arrivals::Scheduled { profile, .. } => profile.schedule(self.warmup).map(Some).map_err(Error::Plan),
        }
    }

    /// No more threads than there are connections to share out.
    pub(super) fn thread_count(&self) -> usize {
        self.threads.clamp(1, self.connections().unwrap_or(usize::MAX))
    }

    /// The bound on connections; callers of a closed model have one each.
    pub(super) fn connections(&self) -> Option<usize> {
        match self.arrivals {
            Arrivals::Open { connections, .. } | Arrivals::Scheduled { connections, .. } => connections,
            Arrivals::Closed { concurrency } => Some(concurrency),
        }
    }

    pub(super) fn accepts(&self, status: u16) -> bool {
        (200..300).contains(&status) || self.accept.contains(&status)
    }

    /// The requests to send: the mix, or the one that the plan describes.
    pub(crate) fn requests(&self) -> Mix {
        match &self.mix {
            Some(mix) => Mix::clone(mix),
            None => Mix::single(MixRequest {
                method: "POST".to_owned(),
                path: self.target.path().to_owned(),
                headers: Vec::new(),
                body: self.body.clone(),
                stream: self.stream,
            }),
        }
    }
}

/// The part of `all` that falls to one of `threads`.
pub(crate) fn share(all: usize, number: usize, threads: usize) -> usize {
    all / threads + usize::from(number < all % threads)
}
