//! Which upstream takes a call: of those that fit, the one with the longest path, then one that names the host, then the one
//! that names the model most exactly.

use std::cmp::Reverse;

use super::Fleet;
use crate::config::Match;

/// What is known about where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_plane) enum Choice {
    /// There.
    Upstream(usize),
    /// The model decides.
    ByModel,
    /// Nowhere.
    Nowhere,
}

impl Fleet {
    /// Chooses by path and host; by model too once it is known.
    pub(in crate::data_plane) fn choose(&self, path: &str, host: &str, model: Option<&str>) -> Choice {
        let host = without_port(host);
        let fitting = self.routes.iter().map(|route| &route.config.matches).enumerate();
        let mut best: Option<(usize, Rank)> = None;
        // The best of those that a model may yet fit.
        let mut by_model: Option<(usize, bool)> = None;
        for (index, matches) in fitting.filter(|(_, matches)| matches.takes(path, host)) {
            let specificity = match (matches.models.as_slice(), model) {
                ([], _) => Some(0),
                (models, Some(model)) => models.iter().filter_map(|pattern| fit(pattern, model)).max(),
                (_, None) => {
                    by_model = by_model.max(Some((matches.path.len(), matches.host.is_some())));
                    None
                }
            };
            let Some(specificity) = specificity else { continue };
            let rank = (matches.path.len(), matches.host.is_some(), specificity, Reverse(index));
            if best.is_none_or(|(_, other)| other < rank) {
                best = Some((index, rank));
            }
        }
        match (best, by_model) {
            (Some((index, (path, host, ..))), by_model) if by_model < Some((path, host)) => Choice::Upstream(index),
            (_, Some(_)) => Choice::ByModel,
            (Some((index, _)), None) => Choice::Upstream(index),
            (None, None) => Choice::Nowhere,
        }
    }

    /// Every upstream that fits by path and host, whatever the model.
    pub(in crate::data_plane) fn all_for(&self, path: &str, host: &str) -> Vec<usize> {
        let host = without_port(host);
        let routes = self.routes.iter().enumerate();
        routes.filter(|(_, route)| route.config.matches.takes(path, host)).map(|(index, _)| index).collect()
    }
}

/// Length of the path, whether the host is named, how exactly the model is, and the first in the file.
type Rank = (usize, bool, usize, Reverse<usize>);

impl Match {
    fn takes(&self, path: &str, host: &str) -> bool {
        path.starts_with(&self.path) && self.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host))
    }
}

/// How exactly a pattern names the model; `None` if it does not.
fn fit(pattern: &str, model: &str) -> Option<usize> {
    match pattern.strip_suffix('*') {
        Some(beginning) => model.starts_with(beginning).then_some(1 + beginning.len()),
        None => (pattern == model).then_some(usize::MAX),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::super::{Route, Timeouts};
    use super::*;
    use crate::config::{Endpoint, Upstream};

    fn fleet(matches: &[(&str, Option<&str>, &[&str])]) -> Fleet {
        let route = |(path, host, models): &(&str, Option<&str>, &[&str])| {
            let mut config = Upstream::single("u", Endpoint::parse("http://127.0.0.1:1").unwrap()).unwrap();
            config.matches = Match {
                path: (*path).to_owned(),
                host: host.map(str::to_owned),
                models: models.iter().map(|model| (*model).to_owned()).collect(),
            };
            let second = std::time::Duration::from_secs(1);
            let timeouts =
                Timeouts { connect: second, first_byte: second, first_event: second, idle: second, keepalive: second };
            Arc::new(Route { config, timeouts, servers: Vec::new(), burden: Arc::default(), credential: None })
        };
        Fleet { routes: matches.iter().map(route).collect() }
    }

    #[test]
    fn the_longest_path_takes_the_call_then_the_host() {
        let fleet = fleet(&[("/", None, &[]), ("/v1/", None, &[]), ("/v1/", Some("a.example"), &[])]);
        assert_eq!(fleet.choose("/x", "b", None), Choice::Upstream(0));
        assert_eq!(fleet.choose("/v1/models", "b:8080", None), Choice::Upstream(1));
        assert_eq!(fleet.choose("/v1/models", "A.example:8080", None), Choice::Upstream(2));
        assert_eq!(fleet.all_for("/v1/models", "b"), [0, 1]);
    }

    #[test]
    fn models_decide_where_they_are_named() {
        let fleet =
            fleet(&[("/v1/", None, &["gpt-*"]), ("/v1/", None, &["gpt-4o", "o1"]), ("/v1/", None, &["llama-*"])]);
        let path = "/v1/chat/completions";
        assert_eq!(fleet.choose(path, "h", None), Choice::ByModel);
        assert_eq!(fleet.choose(path, "h", Some("gpt-3")), Choice::Upstream(0));
        assert_eq!(fleet.choose(path, "h", Some("gpt-4o")), Choice::Upstream(1));
        assert_eq!(fleet.choose(path, "h", Some("llama-70b")), Choice::Upstream(2));
        assert_eq!(fleet.choose(path, "h", Some("claude")), Choice::Nowhere);
        assert_eq!(fleet.choose("/v2/", "h", None), Choice::Nowhere);
    }

    #[test]
    fn a_longer_path_wins_over_a_named_model() {
        let fleet = fleet(&[("/", None, &["gpt-4o"]), ("/v1/", None, &[])]);
        assert_eq!(fleet.choose("/v1/models", "h", None), Choice::Upstream(1));
        assert_eq!(fleet.choose("/v1/models", "h", Some("gpt-4o")), Choice::Upstream(1));
        assert_eq!(fleet.choose("/other", "h", None), Choice::ByModel);
    }

    #[test]
    fn ports_are_no_part_of_a_host() {
        assert_eq!(without_port("a.example:443"), "a.example");
        assert_eq!(without_port("[::1]:443"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
