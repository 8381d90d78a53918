//! Does a masking gateway leak? A model server that says synthetic values in every way that a text can be split, a client
//! that asks for them through the gateway, and a reader that puts together whatever came out.
//!
//! The gateway under test has to mask social security numbers, payment cards and e-mail addresses in answers, and to have
//! this model server as its upstream. Which answer it gives is asked for in the prompt, so any gateway can stand between.
//!
//! Nothing here knows how a gateway works: formats are written by hand, and everything that came back is searched, known
//! member or not: as raw bytes, per string joined over all events, inside inner JSON, as tokens, as bytes of tokens.

mod cases;
mod look;
mod report;
mod script;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::load::Target;
pub use cases::{Api, Case, Place, Split, Wire};
pub use report::{LeakReport, Outcome, Row};

/// How to test.
#[derive(Clone, Debug)]
pub struct LeakPlan {
    /// The gateway.
    pub target: Target,
    /// Where the model server listens; the gateway's upstream.
    pub listen: SocketAddr,
    /// A bearer token.
    pub token: Option<String>,
    /// More headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The model that is asked for.
    pub model: String,
    /// The longest time for one case.
    pub timeout: Duration,
}

/// Why nothing could be tested.
#[derive(Debug, thiserror::Error)]
pub enum LeakError {
    /// The model server cannot listen.
    #[error("the model server cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// There is no runtime.
    #[error("the runtime cannot start: {0}")]
    Runtime(std::io::Error),
    /// Nothing came through.
    #[error("no case came through the gateway: is {0} its upstream, and is the token good? {1}")]
    Nothing(SocketAddr, String),
}

/// Runs every case.
///
/// # Errors
/// [`LeakError`]
pub fn run(plan: &LeakPlan) -> Result<LeakReport, LeakError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LeakError::Runtime)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(plan.listen)
            .await
            .map_err(|cause| LeakError::Listen { address: plan.listen, cause })?;
        let serving = tokio::spawn(server::serve(listener));
        let mut report = LeakReport::default();
        for case in cases::all() {
            let outcome = match tokio::time::timeout(plan.timeout, ask(plan, &case)).await {
                Ok(Ok(answer)) => look::look(&case, &answer),
                Ok(Err(cause)) => Outcome::Withheld(cause),
                Err(_) => Outcome::Withheld("no whole answer in time".to_owned()),
            };
            report.add(case, outcome);
        }
        serving.abort();
        match report.nothing_came() {
            Some(cause) => Err(LeakError::Nothing(plan.listen, cause)),
            None => Ok(report),
        }
    })
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) is_gzip: bool,
}

async fn ask(plan: &LeakPlan, case: &Case) -> Result<Answer, String> {
    let stream = TcpStream::connect(plan.target.addr).await.map_err(|cause| format!("no connection: {cause}"))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|cause| cause.to_string())?;
    tokio::spawn(connection);
    let body = script::request(case, &plan.model);
    let mut request = Request::post(case.api.path())
        .header(HOST, plan.target.host.clone())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|cause| cause.to_string())?;
    if let Some(token) = &plan.token {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|cause| cause.to_string())?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    request.headers_mut().extend(plan.headers.iter().cloned());
    let answer = sender.send_request(request).await.map_err(|cause| cause.to_string())?;
    let status = answer.status();
    let is_gzip = answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    let body = answer.into_body().collect().await.map_err(|cause| format!("the answer broke off: {cause}"))?.to_bytes();
    if status != 200 {
        let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        return Err(format!("status {status}: {said}"));
    }
    Ok(Answer { body, is_gzip })
}
