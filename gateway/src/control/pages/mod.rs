//! The console. Each page is what the admin API shows, made into HTML by [`crate::console`]; nothing is seen here that the API
//! does not have. A page is for people who have signed in; who has not is sent to the login and comes back.

mod approvals;
mod exchanges;
mod policy;
mod state;

use super::Control;
use super::access::{self, Role};
use super::error::ApiError;
use super::sessions::{self, equal, is_same_origin};
use crate::console::{self, Frame, Section};
use crate::identity::Identity;
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::Markup;
use std::sync::Arc;
use url::form_urlencoded;

/// Scripts, styles and pictures are our own files; nobody may frame us; forms and scripts talk to us alone.
const SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn routes() -> Router<Arc<Control>> {
    let explain = post(policy::explain).layer(DefaultBodyLimit::max(policy::FORM_BYTES_MAX));
    Router::new()
        .route("/", get(state::overview))
        .route("/approvals", get(approvals::list))
        .route("/approvals/{id}", get(approvals::show).post(approvals::decide))
        .route("/exchanges", get(exchanges::list))
        .route("/exchanges/{id}", get(exchanges::show))
        .route("/exchanges/{id}/verify", post(exchanges::verify))
        .route("/policy", get(policy::show))
        .route("/policy/explain", explain)
        .route("/policy/reload", post(policy::reload))
        .route("/upstreams", get(state::upstreams))
        .route("/evidence", get(state::evidence))
        .route("/evidence/verify", post(state::verify))
        .route("/assets/{name}", get(asset))
}

/// Someone who has signed in and may see the page.
pub(super) struct Visitor {
    pub(super) identity: Identity,
    csrf: String,
    roles: Vec<&'static str>,
}

impl Visitor {
    /// Whether a part of the page is for this visitor, beyond what let them in.
    fn may(&self, role: &str) -> bool {
        self.roles.contains(&role) || (role == "auditor" && self.roles.contains(&"admin"))
    }
}

macro_rules! page_for {
    ($name:ident, $role:expr, $about:literal) => {
        #[doc = $about]
        pub(super) struct $name(pub(super) Visitor);

        impl FromRequestParts<Arc<Control>> for $name {
            type Rejection = Response;

            async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, Response> {
                visit(parts, control, $role).await.map(Self)
            }
        }
    };
}

page_for!(ForViewers, Role::Viewer, "A page for viewers.");
page_for!(ForApprovers, Role::Approver, "A page for approvers.");
page_for!(ForAuditors, Role::Auditor, "A page for auditors.");
page_for!(ForAdmins, Role::Admin, "A page for administrators.");

async fn visit(parts: &Parts, control: &Control, needed: Role) -> Result<Visitor, Response> {
    let Some((_, session)) = sessions::find(&parts.headers, control) else { return Err(sign_in_first(parts)) };
    let roles = &control.shared.config.admin.roles;
    let may = access::may(&session.identity, roles, needed);
    let visitor =
        Visitor { roles: access::roles_of(&session.identity, roles), identity: session.identity, csrf: session.csrf };
    if may {
        return Ok(visitor);
    }
    let message = format!(
        "This page is for the role {}. [admin.roles] in the configuration says which groups have it; yours are: {}.",
        needed.name(),
        if visitor.identity.groups.is_empty() { "none".to_owned() } else { visitor.identity.groups.join(", ") },
    );
    let error = ApiError::new(StatusCode::FORBIDDEN, "role_missing", message);
    control.record_admin_refusal(Some(&visitor.identity), access::peer(parts), parts.uri.path(), &error).await;
    Err(failed(control, &visitor, &error))
}

/// To the login, and back here afterwards.
fn sign_in_first(parts: &Parts) -> Response {
    let here = parts.uri.path_and_query().map_or("/", |here| here.as_str());
    let here = if parts.method == Method::GET { here } else { "/" };
    let site = parts.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if parts.method == Method::GET && site == Some("cross-site") {
        // Somebody followed a link from elsewhere, and the cookie is only sent for requests of our own pages: ask once more as
        // such a page.
        return bare("Sallyport", Some(here), console::login::leads_on(here));
    }
    let query: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
    let location = if here == "/" { "/login".to_owned() } else { format!("/login?next={query}") };
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/login"));
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A whole page.
pub(super) fn page(control: &Control, visitor: &Visitor, section: Section, title: &str, body: Markup) -> Response {
    let frame = Frame {
        title,
        section,
        subject: &visitor.identity.subject,
        roles: &visitor.roles,
        csrf: &visitor.csrf,
        approvals_pending: control.shared.approvals.pending(),
        development: control.shared.config.admin.development_login,
    };
    guarded(Html(console::page(&frame, body)).into_response())
}

/// A page for whoever has not signed in; `to` is where it leads on to by itself.
pub(super) fn bare(title: &str, to: Option<&str>, body: Markup) -> Response {
    guarded(Html(console::bare(title, to, body)).into_response())
}

/// What went wrong, as a page.
fn failed(control: &Control, visitor: &Visitor, error: &ApiError) -> Response {
    let mut response = page(control, visitor, Section::None, "Not possible", console::problem(&error.message));
    *response.status_mut() = error.status;
    response
}

fn guarded(mut response: Response) -> Response {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a posted form comes from a page of ours: it repeats what only such a page knows.
fn proved(control: &Control, visitor: &Visitor, headers: &HeaderMap, form: &str) -> Result<(), ApiError> {
    let same = field(form, "csrf").is_some_and(|csrf| equal(&csrf, &visitor.csrf));
    if same && is_same_origin(headers, control) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "csrf",
        "The form did not come from the console's own page. Open it again.",
    ))
}

/// A field of a posted form, or of a query.
fn field(form: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(form.as_bytes()).find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

/// Styles and scripts: the same for everybody, also before the login.
async fn asset(Path(name): Path<String>) -> Response {
    match console::asset(&name) {
        Some((media_type, bytes)) => {
            let mut response = guarded(([(header::CONTENT_TYPE, media_type)], bytes).into_response());
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        None => ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path").into_response(),
    }
}
