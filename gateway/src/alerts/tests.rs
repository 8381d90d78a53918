#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::config::{AlertsConfig, WatchConfig};
use crate::metrics::AlertKind;

fn alerts() -> Alerts {
    Alerts::new(Arc::default())
}

fn watched(restricted: &[&str]) -> AlertsConfig {
    let restricted_models = restricted.iter().map(|text| (*text).to_owned()).collect();
    AlertsConfig { watch: Some(WatchConfig { restricted_models, ..WatchConfig::default() }), ..AlertsConfig::default() }
}

fn call(alerts: &Alerts, subject: &str, model: &str, denied: bool) -> Event {
    let who = alerts.who(&Identity::new(subject, "https://idp.example.com"));
    Event::Call { who, model: Short::new(model), denied, counted: false, trace: None }
}

#[test]
fn names_are_cut_between_characters_and_say_so() {
    let short = Short::<5>::new("aé€x");
    assert_eq!((short.as_str(), short.whole()), ("aé", None));
    assert_eq!(Short::<8>::new("aé€x").whole(), Some("aé€x"));
    assert!(size_of::<Event>() <= 320, "{}", size_of::<Event>());
}

#[test]
fn a_full_queue_counts_what_it_loses() {
    let notices = Arc::<Notices>::default();
    let alerts = Alerts::new(Arc::clone(&notices));
    for _ in 0..EVENTS_MAX + 3 {
        alerts.push(Event::NotTaken(Files::Policy));
    }
    let mut left = 0;
    while alerts.pop().is_some() {
        left += 1;
    }
    assert_eq!(left, EVENTS_MAX);
    let page = notices.page();
    assert!(page.contains("sallyport_alert_events_lost_total 3\n"), "{page}");
}

#[test]
fn callers_are_told_apart_by_issuer_and_tenant() {
    let alerts = alerts();
    let identity = Identity::new("alice", "https://idp.example.com");
    let key = |identity: &Identity| alerts.who(identity).key;
    assert_eq!(key(&identity), key(&identity.clone()));
    assert_ne!(key(&identity), key(&Identity::new("alice", "https://other.example.com")));
    assert_ne!(key(&identity), key(&Identity { tenant: "b".to_owned(), ..identity.clone() }));
}

#[test]
fn conditions_raise_what_they_should_and_once() {
    let (alerts, config) = (alerts(), watched(&["secret-*", "exact"]));
    let mut watch = Watch::new(Arc::default());
    let mut see = |event, now| watch.see(event, now, &config);
    let mut kinds = Vec::new();
    for _ in 0..40 {
        kinds.extend(see(call(&alerts, "alice", "m", true), 0).into_iter().map(|raised| raised.kind));
    }
    assert_eq!(kinds, [AlertKind::Denials]);
    let restricted = see(call(&alerts, "bob", "secret-7", true), 0);
    assert_eq!(restricted.first().unwrap().model.as_deref(), Some("secret-7"));
    assert!(see(call(&alerts, "bob", "secret-7", true), 1).is_empty(), "a duplicate");
    assert_eq!(see(call(&alerts, "bob", "secret-8", true), 1).len(), 1, "another model");
    assert!(see(call(&alerts, "carol", "secret-7", false), 1).is_empty(), "an allowed call is no attempt");
    assert!(see(call(&alerts, "carol", "exactly", true), 1).is_empty());
    assert_eq!(see(Event::NotTaken(Files::Policy), 1).len(), 1);
    assert_eq!(see(Event::NotTaken(Files::Config), 1).len(), 1, "another kind of files");
    assert_eq!(see(Event::Unmaskable { call: None }, 1).len(), 1);
    // Nobody is watched without the table, but what the gateway itself raises is still raised.
    let bare = AlertsConfig::default();
    assert!(watch.see(call(&alerts, "dave", "secret-7", true), 2, &bare).is_empty());
    let repeated = watch.repeated(600_001, &config);
    assert!(repeated.iter().any(|own| own.kind == AlertKind::RestrictedModel && own.times == 1), "{repeated:?}");
}

#[test]
fn evidence_is_told_of_when_it_turns_bad() {
    let config = AlertsConfig::default();
    let mut watch = Watch::new(Arc::default());
    let mut look = |healthy, lost, now| watch.look_at_evidence(healthy, lost, now, &config).map(|raised| raised.text);
    assert_eq!(look(true, 0, 0), None);
    assert!(look(false, 0, 1).unwrap().contains("cannot be written"));
    assert_eq!(look(false, 0, 2), None);
    assert_eq!(look(true, 0, 3), None);
    watch.repeated(700_000, &config);
    let lost = watch.look_at_evidence(true, 7, 700_000, &config).unwrap();
    assert!(lost.text.starts_with("7 records"), "{}", lost.text);
}
