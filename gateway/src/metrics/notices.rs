//! Messages to people, and alerts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use policy_lang::Severity;

use super::Page;

/// Declares an enum whose variants are labels.
macro_rules! labels {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $label:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            const ALL: [(Self, &'static str); [$($label),+].len()] = [$((Self::$variant, $label)),+];

            /// As metrics, records and messages name it.
            #[must_use]
            pub fn name(self) -> &'static str {
                Self::ALL.get(self as usize).map_or("", |(_, label)| *label)
            }
        }
    };
}

labels! {
    /// Which way a message goes.
    Way {
        /// An incoming webhook of Slack.
        Slack = "slack",
        /// SMTP.
        Mail = "mail",
        /// A signed POST.
        Webhook = "webhook",
    }
}

labels! {
    /// What became of an attempt to tell people.
    Delivery {
        /// It was taken.
        Sent = "sent",
        /// It failed, and will be tried again.
        Retried = "retried",
        /// It will not be tried again.
        GivenUp = "given_up",
    }
}

labels! {
    /// What an alert is about.
    AlertKind {
        /// A rule of the policy.
        Policy = "policy",
        /// Many calls of one caller that policy refuses.
        Denials = "denials",
        /// Many more calls of one caller than usual.
        Volume = "volume",
        /// A refused call for a restricted model.
        RestrictedModel = "restricted_model",
        /// Text that could not be masked, so that a call or an answer was cut or withheld.
        Masker = "masker",
        /// Evidence that cannot be written, or was lost.
        Evidence = "evidence",
        /// Policy files or a configuration that were not taken.
        Reload = "reload",
    }
}

labels! {
    /// Why an alert was not told to people.
    Suppressed {
        /// It was told a while ago.
        Duplicate = "duplicate",
        /// There were too many others.
        Rate = "rate",
    }
}

const SEVERITIES: [(Severity, &str); 4] =
    [(Severity::Low, "low"), (Severity::Medium, "medium"), (Severity::High, "high"), (Severity::Critical, "critical")];

/// As metrics, records and messages name it.
#[must_use]
pub(crate) fn severity_name(severity: Severity) -> &'static str {
    SEVERITIES.iter().find(|(own, _)| *own == severity).map_or("", |(_, name)| *name)
}

/// Counters of messages and alerts.
#[derive(Debug, Default)]
pub struct Notices {
    deliveries: [[AtomicU64; Delivery::ALL.len()]; Way::ALL.len()],
    alerts: [[AtomicU64; SEVERITIES.len()]; AlertKind::ALL.len()],
    suppressed: [AtomicU64; Suppressed::ALL.len()],
    lost: AtomicU64,
}

impl Notices {
    /// An attempt to tell people.
    pub fn delivered(&self, way: Way, delivery: Delivery) {
        bump(self.deliveries.get(way as usize).and_then(|row| row.get(delivery as usize)));
    }

    /// An alert came up, whether or not people are told.
    pub fn alerted(&self, kind: AlertKind, severity: Severity) {
        let column = SEVERITIES.iter().position(|(own, _)| *own == severity);
        bump(self.alerts.get(kind as usize).zip(column).and_then(|(row, column)| row.get(column)));
    }

    /// People are not told of an alert.
    pub fn suppressed(&self, why: Suppressed) {
        bump(self.suppressed.get(why as usize));
    }

    /// What a core had to say found no room in the queue.
    pub fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// Its part of the page alone.
    #[cfg(test)]
    pub(crate) fn page(&self) -> String {
        let mut page = Page::default();
        self.render(&mut page);
        page.text
    }

    pub(super) fn render(&self, page: &mut Page) {
        page.family("sallyport_notifications_total", "counter", "Attempts to tell people, by way and result.");
        for ((way, _), row) in Way::ALL.iter().zip(&self.deliveries) {
            for ((delivery, _), counter) in Delivery::ALL.iter().zip(row) {
                page.sample(
                    &format!("{{way=\"{}\",result=\"{}\"}}", way.name(), delivery.name()),
                    counter.load(Relaxed),
                );
            }
        }
        page.family("sallyport_alerts_total", "counter", "Alerts that came up, by kind and severity.");
        for ((kind, _), row) in AlertKind::ALL.iter().zip(&self.alerts) {
            for ((_, severity), counter) in SEVERITIES.iter().zip(row) {
                page.sample(&format!("{{kind=\"{}\",severity=\"{severity}\"}}", kind.name()), counter.load(Relaxed));
            }
        }
        page.family("sallyport_alerts_suppressed_total", "counter", "Alerts that people were not told of, by reason.");
        for ((why, _), counter) in Suppressed::ALL.iter().zip(&self.suppressed) {
            page.sample(&format!("{{reason=\"{}\"}}", why.name()), counter.load(Relaxed));
        }
        page.single(
            "sallyport_alert_events_lost_total",
            "counter",
            "What cores had to say about calls while the queue was full.",
            self.lost.load(Relaxed),
        );
    }
}

fn bump(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Relaxed);
    }
}
