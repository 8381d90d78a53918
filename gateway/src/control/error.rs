//! Errors as the admin API tells them: `{"error":{"code":…,"message":…}}`.

use crate::approvals::DecideError;
use crate::identity::IdentityError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What an asker is told.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    challenge: Option<String>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None, retry_after_s: None }
    }

    /// Too many failures from one address.
    pub(super) fn too_many(wait_s: u64) -> Self {
        let message = "too many credentials from this address were refused; try again later, with a good one";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message);
        Self { retry_after_s: Some(wait_s), ..error }
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        if error.is_ours() {
            let own = Self::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string());
            return Self { retry_after_s: Some(1), ..own };
        }
        let own = Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", error.to_string());
        Self { challenge: Some(error.challenge()), ..own }
    }
}

impl From<DecideError> for ApiError {
    fn from(error: DecideError) -> Self {
        let (status, code) = match error {
            DecideError::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            DecideError::NotPending => (StatusCode::CONFLICT, "not_pending"),
            DecideError::NotInForce => (StatusCode::CONFLICT, "not_in_force"),
            DecideError::OwnRequest => (StatusCode::FORBIDDEN, "own_request"),
            DecideError::NotInGroup => (StatusCode::FORBIDDEN, "not_in_group"),
            DecideError::AlreadyApproved => (StatusCode::CONFLICT, "already_approved"),
            DecideError::ReasonMissing => (StatusCode::BAD_REQUEST, "reason_missing"),
            DecideError::ReasonTooLong => (StatusCode::BAD_REQUEST, "reason_too_long"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": { "code": self.code, "message": self.message } }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, wait_s.into());
        }
        response
    }
}
