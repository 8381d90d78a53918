//! What a mock model received, noted before it answers.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::wire::Request;

/// The header by which the gateway names a call to its upstream.
pub const REQUEST_ID_HEADER: &str = "x-sallyport-request-id";

/// Entries that a journal in memory keeps; older ones are let go.
const MEMORY_ENTRIES_MAX: usize = 100_000;

/// Bytes of request bodies that a journal in memory keeps; older entries are let go.
const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where a server notes the requests it received. Clones write to the same place.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    file: Option<Arc<File>>,
    memory: Option<Arc<Mutex<Memory>>>,
}

/// One received request, as kept in memory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When its body was complete.
    pub received: SystemTime,
    /// The method, such as `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header names (lower case) and values in order; bytes that are no text are replaced.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

impl Entry {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of [`REQUEST_ID_HEADER`].
    pub fn request_id(&self) -> Option<&str> {
        self.header(REQUEST_ID_HEADER)
    }
}

#[derive(Debug, Default)]
struct Memory {
    entries: VecDeque<Entry>,
    body_bytes: usize,
}

impl Journal {
    /// Notes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps whole requests in memory, the newest 100,000 or 256 MiB of bodies; read them with [`Journal::entries`].
    pub fn in_memory() -> Self {
        Self { memory: Some(Arc::default()), file: None }
    }

    /// Appends one line per request to a file: nanoseconds since 1970, a space, and the request id (`-` if the request
    /// had none). A line is handed to the kernel in one write as soon as the request's head is complete, before the
    /// body is read: a request that got this far is in the file even if everything is killed a moment later.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Some(Arc::new(file)), memory: None })
    }

    /// The requests kept in memory, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.memory.as_ref().map(|memory| lock(memory).entries.iter().cloned().collect()).unwrap_or_default()
    }

    /// Notes a head in the file. Called before the body is read.
    pub(crate) fn note_head(&self, head: &Request) -> io::Result<()> {
        let Some(mut file) = self.file.as_deref() else {
            return Ok(());
        };
        let id = head.header(REQUEST_ID_HEADER).unwrap_or_else(|| "-".to_owned());
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // One write call on a file opened for appending: lines of several threads do not mix.
        file.write_all(format!("{} {id}\n", since_1970.as_nanos()).as_bytes())
    }

    /// Keeps a whole request in memory. Called before the answer is begun.
    pub(crate) fn note_whole(&self, head: &Request, body: &[u8]) {
        let Some(memory) = &self.memory else { return };
        let entry = Entry {
            received: SystemTime::now(),
            method: head.method().to_owned(),
            path: head.path().to_owned(),
            headers: head.headers(),
            body: Bytes::copy_from_slice(body),
        };
        let mut memory = lock(memory);
        memory.body_bytes += body.len();
        memory.entries.push_back(entry);
        while memory.entries.len() > MEMORY_ENTRIES_MAX || memory.body_bytes > MEMORY_BYTES_MAX {
            let Some(oldest) = memory.entries.pop_front() else {
                break;
            };
            memory.body_bytes -= oldest.body.len();
        }
    }
}

/// A panic elsewhere leaves the list whole: every change of it is a single push or pop.
fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
