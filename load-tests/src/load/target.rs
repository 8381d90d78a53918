//! Where requests go.

use std::net::{SocketAddr, ToSocketAddrs};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;

/// A URL taken apart, its host resolved once: names are not looked up while the load runs.
#[derive(Clone, Debug)]
pub struct Target {
    url: String,
    pub(crate) addr: SocketAddr,
    pub(crate) host: HeaderValue,
    pub(crate) path: Uri,
}

impl Target {
    /// Parses a URL and resolves its host.
    ///
    /// # Errors
    /// A sentence for the user when it is no `http://` URL or its host has no address.
    pub fn new(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("`{url}` is not a URL: {e}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("`{url}` must start with http:// (TLS is not supported yet)"));
        }
        let authority = uri.authority().ok_or_else(|| format!("`{url}` names no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addr = (name, port)
            .to_socket_addrs()
            .map_err(|e| format!("cannot resolve `{name}`: {e}"))?
            .next()
            .ok_or_else(|| format!("`{name}` has no address"))?;
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|e| format!("`{authority}` is not a host: {e}"))?;
        let path = Uri::from(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        Ok(Self { url: url.to_owned(), addr, host, path })
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        self.path.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// The address that its host was resolved to.
    pub fn address(&self) -> SocketAddr {
        self.addr
    }

    /// Value of the `host` header.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The URL as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let target = Target::new("http://127.0.0.1:8080/v1/x?y=1").unwrap();
        assert_eq!(
            (target.addr.to_string(), target.path.to_string()),
            ("127.0.0.1:8080".to_owned(), "/v1/x?y=1".to_owned())
        );
        assert_eq!(target.host, "127.0.0.1:8080");
        assert_eq!(Target::new("http://[::1]:1").unwrap().addr.to_string(), "[::1]:1");
        for bad in ["https://127.0.0.1/", "127.0.0.1:80", "http://", "/v1", "ftp://127.0.0.1/"] {
            assert!(Target::new(bad).is_err(), "{bad}");
        }
    }
}
