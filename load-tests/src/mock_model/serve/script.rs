//! A stream: which events are sent, and when each is due.

use std::io::Write as _;
use std::time::Instant;

use crate::mock_model::Pace;
use crate::mock_model::answer::Answer;
use crate::mock_model::dialect::Api;
use crate::mock_model::events::Events;

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// A stream on its way. Step 0 opens it, the last step closes it, those between are one piece of text each.
#[derive(Debug)]
pub(super) struct Script {
    api: Api,
    answer: Answer,
    begin: Instant,
    pace: Pace,
    step: usize,
    events: Events,
    events_left: usize,
    head_sent: bool,
    over: bool,
}

impl Script {
    pub(super) fn new(api: Api, answer: Answer, begin: Instant, pace: Pace, cut_after: Option<usize>) -> Self {
        let events_left = cut_after.unwrap_or(usize::MAX);
        Self {
            api,
            answer,
            begin,
            pace,
            step: 0,
            events: Events::default(),
            events_left,
            head_sent: false,
            over: false,
        }
    }

    /// Counted from the beginning, not from the last event: one that was late does not delay those after it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        // The first piece comes with the opening, the closing with the last piece.
        let gaps = self.step.saturating_sub(1).min(self.answer.piece_count().saturating_sub(1));
        (!self.over).then(|| self.begin + self.pace.after(gaps))
    }

    /// Writes the events of the next step; says whether the connection is to break now.
    pub(super) fn write_next(&mut self, wire_chunk: usize, out: &mut Vec<u8>) -> bool {
        if !self.head_sent {
            self.head_sent = true;
            out.extend_from_slice(STREAM_HEAD);
        }
        let last = self.answer.piece_count() + 1;
        self.events.clear();
        match self.step {
            0 => self.api.opening(&self.answer, &mut self.events),
            step if step == last => self.api.closing(&self.answer, &mut self.events),
            step => self.api.piece(&self.answer, step - 1, &mut self.events),
        }
        for event in self.events.iter() {
            if self.events_left == 0 {
                self.over = true;
                return true;
            }
            self.events_left -= 1;
            for part in event.chunks(if wire_chunk == 0 { event.len().max(1) } else { wire_chunk }) {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{:x}\r\n", part.len());
                out.extend_from_slice(part);
                out.extend_from_slice(b"\r\n");
            }
        }
        if self.step == last {
            self.over = true;
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.step += 1;
        false
    }
}
