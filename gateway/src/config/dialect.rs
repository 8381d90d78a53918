//! Which APIs an upstream speaks: all that are known, those of one name, or configured ones.

use super::error::Findings;
use super::file::At;
use super::upstream::RouteFile;
use policy_compiler::dialect::{self, CustomRoute, Operation};

/// The APIs that an upstream speaks. What is none of them is not served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Every API that the gateway knows, told apart by the path.
    #[default]
    Auto,
    /// Those of this name.
    Named(&'static str),
    /// The configured routes.
    Json(Vec<Operation>),
}

/// The names beside `auto` and `json`.
const NAMES: [&str; 4] = ["openai", "anthropic", "tgi", "kserve"];

impl Dialect {
    /// The operation of a request.
    #[must_use]
    pub fn route(&self, method: &str, path: &str) -> Option<Operation> {
        match self {
            Self::Auto => dialect::route(method, path),
            Self::Named(name) => dialect::route(method, path).filter(|operation| operation.dialect() == *name),
            Self::Json(operations) => dialect::route_among(operations, method, path),
        }
    }

    /// A method that the path would take.
    #[must_use]
    pub fn method_of(&self, path: &str) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Named(_) => {
                let method = dialect::method_of(path)?;
                self.route(method, path).map(|_| method)
            }
            Self::Json(operations) => {
                let methods = operations.iter().map(|operation| operation.method());
                methods.into_iter().find(|method| dialect::route_among(operations, method, path).is_some())
            }
        }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name) => f.write_str(name),
            Self::Json(_) => f.write_str("json"),
        }
    }
}

/// Checks `dialect` and its routes. `None` only if something was found.
pub(super) fn check(
    name: Option<&At<String>>,
    routes: Vec<At<RouteFile>>,
    findings: &mut Findings<'_>,
) -> Option<Dialect> {
    let written = name.map_or("auto", |at| at.as_ref().as_str());
    let at = name.map_or(0, |at| at.span().start);
    if written == "json" {
        if routes.is_empty() {
            findings.at(
                at,
                "the dialect `json` has no routes",
                "add [[upstream.route]] blocks with path and text places",
            );
        }
        return routes.into_iter().map(|at| route(&at, findings)).collect::<Option<_>>().map(Dialect::Json);
    }
    if let Some(route) = routes.first() {
        let message = format!("routes are for the dialect `json`, but this upstream's is `{written}`");
        findings.at(route.span().start, message, "write dialect = \"json\"");
    }
    match NAMES.into_iter().find(|name| *name == written) {
        Some(name) => Some(Dialect::Named(name)),
        None if written == "auto" => Some(Dialect::Auto),
        None => {
            let known = NAMES.join("\", \"");
            findings.at(
                at,
                format!("unknown dialect `{written}`"),
                format!("write one of \"auto\", \"json\", \"{known}\""),
            );
            None
        }
    }
}

fn route(at: &At<RouteFile>, findings: &mut Findings<'_>) -> Option<Operation> {
    let file = at.as_ref();
    let route = CustomRoute {
        method: file.method.clone().unwrap_or_else(|| "POST".to_owned()),
        path: file.path.clone(),
        request_text: file.request_text.clone().unwrap_or_default(),
        request_model: file.request_model.clone(),
        response_text: file.response_text.clone().unwrap_or_default(),
        stream_text: file.stream_text.clone().unwrap_or_default(),
        input_tokens: file.input_tokens.clone(),
        output_tokens: file.output_tokens.clone(),
    };
    match route.operation() {
        Ok(operation) => Some(operation),
        Err(error) => {
            findings.at(
                at.span().start,
                error.to_string(),
                "examples/sallyport.toml shows a route of a `json` dialect",
            );
            None
        }
    }
}
