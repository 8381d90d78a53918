//! Stands in for the data plane until it is merged: it says that it is not there.

use crate::shared::Shared;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is built in another branch.
    #[error("this build has no data plane")]
    Absent,
}

/// The running data plane.
pub struct DataPlane {
    /// Where it listens.
    pub address: SocketAddr,
}

impl DataPlane {
    /// Waits until every core has ended.
    ///
    /// # Errors
    /// When an executor ended in a panic.
    pub fn join(self) -> Result<(), StartError> {
        Ok(())
    }
}

/// Starts one executor per core and returns when all of them listen.
///
/// # Errors
/// Always, here.
pub fn serve(_shared: &Arc<Shared>, _cores: usize) -> Result<DataPlane, StartError> {
    Err(StartError::Absent)
}

/// Can this machine run io_uring?
pub mod preflight {
    /// Checks that `cores` executors can have their rings.
    ///
    /// # Errors
    /// Never, here.
    pub fn check(_cores: usize) -> Result<(), std::convert::Infallible> {
        Ok(())
    }
}
