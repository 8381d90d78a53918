//! What proves that a call was not altered.

use super::parts::{count, short};
use super::value::{list, number, text};
use maud::{Markup, html};
use serde_json::Value;

/// What is known about a call's proofs.
pub(crate) struct Proof<'a> {
    pub(crate) csrf: &'a str,
    /// Records under the newest signed checkpoint.
    pub(crate) signed: u64,
    /// What came of proving just now: the proofs, or why there are none.
    pub(crate) proofs: Option<&'a Result<Value, String>>,
}

pub(super) fn panel(id: &str, first: &Value, end: &Value, proof: &Proof<'_>) -> Markup {
    let last = if end.is_null() { number(first, "/index") } else { number(end, "/index") };
    html! {
        section.panel #proof aria-labelledby="proof-title" {
            h2 #proof-title { "Proof" }
            @match proof.proofs {
                Some(Ok(proofs)) => (sound(proofs)),
                Some(Err(why)) => p.note.bad role="alert" { strong { "Not proved. " } (why) },
                None if last < proof.signed => p {
                    "Its records are under the signed checkpoint of " strong { (count(proof.signed)) } " records."
                },
                None => p { "Not under a signed checkpoint yet; one is signed about once a second." },
            }
            form method="post" action={ "/exchanges/" (id) "/verify#proof" } {
                input type="hidden" name="csrf" value=(proof.csrf);
                button { "Verify now" }
            }
            p.help { "Anybody can check it without this gateway: " code { "sallyport audit prove " (short(id, 10)) } "." }
        }
    }
}

fn sound(proofs: &Value) -> Markup {
    let proofs = list(proofs, "/proofs");
    let Some(first) = proofs.first() else { return html! {} };
    html! {
        p.note.good role="status" {
            strong { "Proved." } " The bytes of " (proofs.len()) @if proofs.len() == 1 { " record lead" } @else { " records lead" }
            " to the root that was signed over " (count(number(first, "/tree_size"))) " records."
        }
        dl.facts {
            div { dt { "Root" } dd { (short(text(first, "/root"), 20)) } }
            div { dt { "Signed by" } dd { (short(text(first, "/verifier_key"), 24)) } }
            @for proof in proofs {
                div { dt { "Record #" (number(proof, "/index")) } dd { (short(text(proof, "/leaf_hash"), 16)) " " span.dim { (list(proof, "/hashes").len()) " hashes" } } }
            }
        }
    }
}
