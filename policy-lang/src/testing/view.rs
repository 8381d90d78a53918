//! A call made ready to be judged again and again.

use super::call::Call;
use super::host::{Head, Host, RequestView};
use crate::facts::{DeclaredPurpose, Facts};

/// A call as the gateway sees it before it goes in; its body is read once.
pub struct CallView<'c> {
    call: &'c Call,
    head: Head<'c>,
    request: RequestView<'c>,
    purposes: Vec<DeclaredPurpose<'c>>,
}

impl<'c> CallView<'c> {
    /// Reads the call.
    ///
    /// # Errors
    /// Why the gateway would refuse it before any rule is judged.
    pub fn new(call: &'c Call, host: &dyn Host) -> Result<Self, String> {
        let head = call.head(host);
        let request = host.view_request(&head, call.body(&head))?;
        Ok(Self { call, head, request, purposes: call.purposes() })
    }

    /// What rules of the request phase see; `request.risk` is not among them (see [`crate::with_risk`]).
    #[must_use]
    pub fn facts<'f>(&'f self, host: &'f dyn Host) -> Facts<'f> {
        self.call.facts(&self.head, host, &self.request, None, &self.purposes)
    }
}
