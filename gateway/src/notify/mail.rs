//! Messages by mail: one mail per recipient, plain text.

use super::lane::{Failure, Parcel};
use crate::config::Secret;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport as _, Message as Mail, Tokio1Executor};
use std::fmt::Write as _;

/// Characters of a subject.
const SUBJECT_CHARS_MAX: usize = 120;

/// Where mails are handed in.
pub(super) struct MailServer {
    url: Secret,
    from: Mailbox,
}

impl MailServer {
    pub(super) fn new(url: Secret, from: Mailbox) -> Self {
        Self { url, from }
    }
}

/// Hands a mail in. A connection for each: mails are few, and a server that is gone is asked afresh.
pub(super) async fn send(server: &MailServer, parcel: &Parcel) -> Result<(), Failure> {
    let Some(recipient) = &parcel.recipient else { return Err(Failure::new("the mail has no recipient")) };
    let mail = mail(server, recipient, parcel).map_err(|why| Failure { for_good: true, ..Failure::new(why) })?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(server.url.expose())
        // The server's URL has a password in it; what is wrong with it was told when the configuration was read.
        .map_err(|_| Failure::new("the mail server's URL cannot be used"))?
        .build();
    match transport.send(mail).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure { for_good: error.is_permanent(), ..Failure::new(in_words(&error)) }),
    }
}

fn mail(server: &MailServer, recipient: &Mailbox, parcel: &Parcel) -> Result<Mail, String> {
    let message = &parcel.message;
    // Of its own for each recipient, the same for each attempt: servers tell repetitions by it.
    let domain = server.from.email.domain();
    let id = format!("<{}.{}@{domain}>", message.id, tag(recipient));
    let subject: String = format!("[Sallyport] {}", message.title).chars().take(SUBJECT_CHARS_MAX).collect();
    let builder: MessageBuilder = Mail::builder().from(server.from.clone()).to(recipient.clone()).subject(subject);
    builder.message_id(Some(id)).header(ContentType::TEXT_PLAIN).body(text(parcel)).map_err(|error| error.to_string())
}

fn text(parcel: &Parcel) -> String {
    let message = &parcel.message;
    let mut text = format!("{}\n\n", message.title);
    for (name, value) in &message.facts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    if let Some(preview) = message.preview.as_ref().filter(|_| parcel.preview) {
        let _ = writeln!(text, "\nMasked request:\n{preview}");
    }
    if let Some(link) = &parcel.link {
        let _ = writeln!(text, "\n{link}");
        if message.undecided {
            text.push_str("The link is for you, works once, and asks you to sign in.\n");
        }
    }
    text
}

fn tag(recipient: &Mailbox) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, recipient.email.to_string().as_bytes());
    hex::encode(digest.as_ref().get(..8).unwrap_or_default())
}

fn in_words(error: &lettre::transport::smtp::Error) -> String {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        why = format!("{why}: {next}");
        cause = next.source();
    }
    why
}
