//! What the cores found out and cannot write down themselves: wrong native code, accounts of limits that were forgotten.

use super::Control;
use audit_shipper::{Detail, Note, NoteKind};

impl Control {
    /// Writes down what was found since the last time; `forgotten` is how many accounts were known to be forgotten then.
    pub(super) async fn record_findings(&self, forgotten: &mut u64) {
        for found in self.shared.second_opinion.take_found() {
            let mut note = Note::new(NoteKind::Alert, "native_code_diverged");
            let mut digest = [0; 32];
            // A digest of ours is 64 hexadecimal digits; anything else stays zero and would show.
            let _ = hex::decode_to_slice(&found.digest, &mut digest);
            note.details = vec![
                ("policy".into(), Detail::Name(found.policy)),
                ("sha256".into(), Detail::Digest(digest)),
                ("rules".into(), Detail::Names(found.rules)),
            ];
            self.write_finding(&note).await;
        }
        let now = self.shared.limits.forgotten();
        if now > *forgotten {
            let mut note = Note::new(NoteKind::Limit, "accounts_forgotten");
            note.details = vec![("count".into(), Detail::Number(now - *forgotten))];
            *forgotten = now;
            tracing::warn!(count = now, "accounts of rate limits were forgotten in debt: raise [limits] accounts");
            self.write_finding(&note).await;
        }
    }

    async fn write_finding(&self, note: &Note) {
        if let Err(error) = self.journal.plain(note).await {
            tracing::error!(%error, action = %note.action, "could not be written to the evidence");
        }
    }
}
