//! `[approvals]`: calls that wait for people.

use super::check::{duration, size};
use super::error::Findings;
use super::listen::SizeFile;
use super::notify::{self, NotifyFile, NotifyTarget, SlackApp, SlackAppFile};
use super::table::{At, table};
use super::{Config, parse_duration};
use std::path::Path;
use std::time::Duration;

/// The longest time between two comments on a stream that waits.
const COMMENT_EVERY_MAX: Duration = Duration::from_mins(1);
/// Bytes that all held calls may have: at least one body's, at most what a machine has.
const HELD_BYTES_MIN: usize = 1 << 20;
const HELD_BYTES_MAX: usize = 1 << 40;

/// Calls that wait for people.
#[derive(Clone, Debug)]
pub struct ApprovalsConfig {
    /// How long a plain call is kept open while it waits; after that it gets a 409 and may be sent again. `None` answers at
    /// once, also calls for streams.
    pub hold: Option<Duration>,
    /// How often a call for a stream that waits gets a comment.
    pub comment_every: Duration,
    /// Bytes that all held calls together may have; above, calls are answered at once.
    pub held_bytes: usize,
    /// Who hears of requests and decisions.
    pub notify: Vec<NotifyTarget>,
    /// The Slack app whose buttons decide.
    pub slack: Option<SlackApp>,
}

impl Default for ApprovalsConfig {
    fn default() -> Self {
        Self {
            hold: Some(Duration::from_secs(200)),
            comment_every: Duration::from_secs(15),
            held_bytes: 256 << 20,
            notify: Vec::new(),
            slack: None,
        }
    }
}

impl Config {
    /// Where people find a request for approval.
    #[must_use]
    pub fn approval_link(&self, id: &str) -> String {
        match &self.admin.url {
            Some(url) => format!("{url}/approvals/{id}"),
            None => format!("http://{}/approvals/{id}", self.admin.address),
        }
    }
}

table! {
    /// Calls that wait for people (`docs/approvals.md`).
    ApprovalsFile = "[approvals]" {
        /// A waiting call is kept open so long; then it gets a 409 and may be sent again. `none` answers at once. A call for a stream is kept open as long as the question waits.
        hold: Option<At<String>> = "duration", "200s";
        /// How often a waiting call for a stream gets a comment, so that nothing between takes it for dead; at most a minute.
        comment_every: Option<At<String>> = "duration", "15s";
        /// Memory that all held calls together may take; above, calls are answered at once.
        held_bytes: Option<At<SizeFile>> = "size", "256MiB";
        /// Who hears when a request is made, decided on, or expires.
        notify: Option<Vec<At<NotifyFile>>> = "list of tables, see `notify`", "–";
        /// Buttons in Slack's messages that decide.
        slack: Option<SlackAppFile> = "table", "messages have a link only";
    }
}

/// What the file says, over the defaults.
pub(super) fn approvals(file: Option<ApprovalsFile>, base: &Path, findings: &mut Findings<'_>) -> ApprovalsConfig {
    let mut approvals = ApprovalsConfig::default();
    let Some(file) = file else { return approvals };
    if let Some(hold) = file.hold {
        let mut held = Duration::ZERO;
        if hold.as_ref() == "none" {
            approvals.hold = None;
        } else {
            duration(Some(hold), &mut held, findings);
            approvals.hold = Some(held);
        }
    }
    if let Some(every) = &file.comment_every
        && parse_duration(every.as_ref()).is_ok_and(|every| every > COMMENT_EVERY_MAX)
    {
        findings.at(every.span().start, "a waiting stream would look dead", "comment at least every minute");
    }
    duration(file.comment_every, &mut approvals.comment_every, findings);
    size(file.held_bytes, HELD_BYTES_MIN..=HELD_BYTES_MAX, &mut approvals.held_bytes, findings);
    approvals.notify = notify::targets(file.notify, base, findings);
    approvals.slack = notify::slack(file.slack, base, findings);
    approvals
}
