//! The control plane's end of the queue.

use super::access_log::Writer;
use super::finished::Finished;
use super::otlp;
use crate::shared::Shared;
use std::sync::Arc;
use std::time::Duration;

/// How often the queue is looked at.
const EVERY: Duration = Duration::from_millis(200);
/// Calls that are told of at a time.
const BATCH: usize = 2_048;
/// Calls that are kept while the collector of traces does not answer.
const KEPT: usize = 8 * BATCH;

/// Sends bodies to a collector.
pub(crate) trait Post {
    /// Posts JSON; whether it was taken.
    fn post_json(&self, url: &str, body: String) -> impl Future<Output = Result<(), String>> + Send;
}

/// Writes the access log and sends the traces.
pub(crate) struct Shipper<P> {
    shared: Arc<Shared>,
    post: P,
    writer: Option<Writer>,
    /// Traced calls that the collector has not got yet.
    waiting: Vec<Finished>,
    /// Whether the last try failed, so that a failure is logged once and not five times a second.
    failing: bool,
}

impl<P: Post> Shipper<P> {
    /// As configured.
    pub(crate) fn new(shared: Arc<Shared>, post: P) -> Self {
        let writer = shared.config.telemetry.access_log.clone().map(Writer::new);
        Self { shared, post, writer, waiting: Vec::new(), failing: false }
    }

    /// Until the gateway has drained; then what is left is told.
    pub(crate) async fn run(mut self) {
        if !self.shared.telemetry.wants_calls() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let drained = shared.lifecycle.drained();
        let mut drained = std::pin::pin!(drained);
        loop {
            let over = tokio::time::timeout(EVERY, drained.as_mut()).await.is_ok();
            while self.round().await {}
            if over {
                self.shared.telemetry.lost(self.waiting.len() as u64);
                return;
            }
        }
    }

    /// Whether there may be more.
    async fn round(&mut self) -> bool {
        let calls = self.shared.telemetry.take(BATCH);
        let more = calls.len() == BATCH;
        self.write(calls).await;
        self.send().await;
        more
    }

    /// Writes their lines; what traces are sent of waits.
    async fn write(&mut self, calls: Vec<Finished>) {
        if calls.is_empty() {
            return;
        }
        let Some(mut writer) = self.writer.take() else { return self.waiting.extend(calls) };
        // A disk or a pipe that does not answer must not hold up the control plane.
        let written = tokio::task::spawn_blocking(move || {
            let result = writer.append(&calls);
            (writer, calls, result)
        });
        match written.await {
            Ok((writer, calls, result)) => {
                if let Err(error) = result {
                    self.failed(calls.len(), "the access log cannot be written", &error.to_string());
                }
                self.writer = Some(writer);
                self.waiting.extend(calls);
            }
            Err(error) => self.failed(0, "the access log has stopped", &error.to_string()),
        }
    }

    async fn send(&mut self) {
        let Some(url) = self.shared.config.telemetry.traces.clone() else { return self.waiting.clear() };
        self.waiting.retain(|call| call.spans.is_some());
        if let Some(body) = otlp::request(&self.waiting) {
            match self.post.post_json(&url, body.to_string()).await {
                Ok(()) => {
                    self.waiting.clear();
                    self.failing = false;
                }
                Err(error) => {
                    let excess = self.waiting.len().saturating_sub(KEPT);
                    self.waiting.drain(..excess);
                    self.failed(excess, "traces cannot be sent", &error);
                }
            }
        }
    }

    fn failed(&mut self, lost: usize, what: &str, error: &str) {
        self.shared.telemetry.lost(lost as u64);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error, "{what}; calls go on, and what is missing is counted");
        }
    }
}
