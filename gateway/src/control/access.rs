//! Who may do what over the admin port: the caller is verified, then has the roles that the configuration gives to groups.

use super::Control;
use super::error::ApiError;
use super::sessions;
use crate::config::RoleGroups;
use crate::identity::{Identity, IdentityError, presented};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What someone may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Look at approvals, policy and health.
    Viewer,
    /// Also decide on approvals that ask a group of theirs.
    Approver,
    /// Also read the configuration and evidence.
    Auditor,
    /// Also change what is active.
    Admin,
}

impl Role {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Viewer, "viewer"), (Self::Approver, "approver"), (Self::Auditor, "auditor"), (Self::Admin, "admin")];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, name)| *name)
    }

    /// Whether having `self` is enough where `needed` is asked for. Deciding on approvals is nobody's by the way: an
    /// administrator who should decide is put into an approvers' group, which shows in the evidence.
    fn includes(self, needed: Self) -> bool {
        self == needed || needed == Self::Viewer || (self == Self::Admin && needed == Self::Auditor)
    }
}

/// The names of the roles that someone has.
pub(super) fn roles_of(identity: &Identity, groups: &RoleGroups) -> Vec<&'static str> {
    Role::ALL.iter().filter(|(role, _)| given(identity, groups, *role)).map(|(_, name)| *name).collect()
}

pub(super) fn may(identity: &Identity, groups: &RoleGroups, needed: Role) -> bool {
    Role::ALL.iter().any(|(role, _)| role.includes(needed) && given(identity, groups, *role))
}

fn given(identity: &Identity, groups: &RoleGroups, role: Role) -> bool {
    let groups = match role {
        Role::Viewer => &groups.viewer,
        Role::Approver => &groups.approver,
        Role::Auditor => &groups.auditor,
        Role::Admin => &groups.admin,
    };
    groups.iter().any(|group| group == "*" || identity.in_group(group))
}

/// Whether someone may decide on approvals, however they ask.
pub(super) fn may_approve(identity: &Identity, groups: &RoleGroups) -> bool {
    may(identity, groups, Role::Approver)
}

/// Someone who may look.
pub(super) struct Viewer(pub(super) Identity);
/// Someone who may decide on approvals.
pub(super) struct Approver(pub(super) Identity);
/// Someone who may read evidence and configuration.
pub(super) struct Auditor(pub(super) Identity);
/// Someone who may change what is active.
pub(super) struct Admin(pub(super) Identity);

/// Anyone whose identity is verified, whatever their roles.
pub(super) struct Verified(pub(super) Identity);

impl FromRequestParts<Arc<Control>> for Verified {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, ApiError> {
        match authenticated(parts, control).await {
            Ok(identity) => Ok(Self(identity)),
            Err(error) => {
                control.record_admin_refusal(None, peer(parts), parts.uri.path(), &error).await;
                Err(error)
            }
        }
    }
}

macro_rules! extracts {
    ($kind:ident, $role:expr, $identity:ident => $made:expr) => {
        impl FromRequestParts<Arc<Control>> for $kind {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, ApiError> {
                let $identity = authorised(parts, control, $role).await?;
                Ok($made)
            }
        }
    };
}

extracts!(Viewer, Role::Viewer, identity => Self(identity));
extracts!(Approver, Role::Approver, identity => Self(identity));
extracts!(Auditor, Role::Auditor, identity => Self(identity));
extracts!(Admin, Role::Admin, identity => Self(identity));

/// Whether someone asks who may look. Not to be is no refusal, so nothing is written down.
pub(super) async fn is_viewer(parts: &Parts, control: &Control) -> bool {
    let roles = &control.shared.config.admin.roles;
    authenticated(parts, control).await.is_ok_and(|identity| may(&identity, roles, Role::Viewer))
}

/// The caller, if the role is theirs; a refusal is written down.
async fn authorised(parts: &Parts, control: &Control, needed: Role) -> Result<Identity, ApiError> {
    let authorised = match authenticated(parts, control).await {
        Ok(identity) if may(&identity, &control.shared.config.admin.roles, needed) => Ok(identity),
        Ok(identity) => {
            let message = format!("this needs the role {}; [admin.roles] says which groups have it", needed.name());
            Err((Some(identity), ApiError::new(StatusCode::FORBIDDEN, "role_missing", message)))
        }
        Err(error) => Err((None, error)),
    };
    match authorised {
        Ok(identity) => Ok(identity),
        Err((who, error)) => {
            control.record_admin_refusal(who.as_ref(), peer(parts), parts.uri.path(), &error).await;
            Err(error)
        }
    }
}

/// Who asks: by a token, as callers of the gateway do, or by the console's session.
async fn authenticated(parts: &Parts, control: &Control) -> Result<Identity, ApiError> {
    let shared = &control.shared;
    let token = match presented(parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))) {
        Ok(token) => token,
        Err(IdentityError::Missing) => return sessions::of_request(parts, control),
        Err(error) => return Err(error.into()),
    };
    let (peer, now_ms) = (peer(parts), shared.clock.unix_ms());
    if let Err(wait_s) = shared.identification.failures.check(peer, now_ms) {
        return Err(ApiError::too_many(wait_s));
    }
    let identified = shared.identification.identify(&shared.verifier, token, shared.clock.unix_s()).await;
    if identified.as_ref().is_err_and(|error| !error.is_ours()) {
        shared.identification.failures.failed(peer, now_ms);
    }
    Ok(identified?)
}

pub(super) fn peer(parts: &Parts) -> IpAddr {
    let unknown = IpAddr::from([0, 0, 0, 0]);
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(unknown, |ConnectInfo(peer)| peer.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_reaches_as_far_as_it_says() {
        let only = |group: &str| vec![group.to_owned()];
        let groups =
            RoleGroups { viewer: only("staff"), approver: only("leads"), auditor: only("audit"), admin: only("ops") };
        let may_do = |group: &str| {
            let identity = Identity { groups: only(group), ..Identity::new("x", "https://idp.example.com") };
            Role::ALL
                .iter()
                .filter(|(role, _)| may(&identity, &groups, *role))
                .map(|(_, name)| *name)
                .collect::<Vec<_>>()
        };
        assert_eq!(may_do("staff"), ["viewer"]);
        assert_eq!(may_do("leads"), ["viewer", "approver"]);
        assert_eq!(may_do("audit"), ["viewer", "auditor"]);
        assert_eq!(may_do("ops"), ["viewer", "auditor", "admin"]);
        assert!(may_do("others").is_empty());
        let nobody = Identity::new("x", "https://idp.example.com");
        assert!(!may(&nobody, &RoleGroups::default(), Role::Viewer), "without roles nobody may do anything");
        assert!(may(&nobody, &RoleGroups { viewer: only("*"), ..RoleGroups::default() }, Role::Viewer));
    }
}
