//! Room 1: who serves this domain? RFC 2782, `[MS-OCDISCWS]`.
//!
//! A sign-in address says only which SIP domain it belongs to. Two ways lead from there to a server: Autodiscover, a web
//! service under a name made of the domain, which knows the home of every user; and the DNS alone, which knows one
//! entrance for everybody. The client walks both in the documented order and gives one [`client::Candidate`] after the
//! other, so that whoever connects can come back for the next.
//!
//! | file | holds |
//! |---|---|
//! | [`document`] | Autodiscover documents in their three forms, read and written |
//! | [`trust`] | which hosts may be believed without asking a person |
//! | [`finding`] | what went wrong on the way, with catalogue ids |
//! | [`autodiscover`] | the client's walk from a name to the user's document |
//! | [`client`] | one candidate after the other, in the order of `client/plan.rs` |
//! | [`server`] | the web service |
//!
//! Deliberately absent: DHCP option 120 (desk phones), OAuth and the documents of the mobile interface, federation names.

pub mod autodiscover;
pub mod client;
pub mod document;
pub mod finding;
pub mod server;
pub mod trust;

#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};
use std::fmt;

/// From where a client reaches the deployment. Autodiscover decides it by the site the request arrived at;
/// `[MS-OCDISCWS]` §2.2.4 `AccessLocation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLocation {
    /// Inside the enterprise: Directors and pools are reached directly, on 5061.
    Internal,
    /// Outside: through the Access Edge, on 443.
    External,
}

impl AccessLocation {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            AccessLocation::Internal => "Internal",
            AccessLocation::External => "External",
        }
    }

    /// Reads the word on the wire; case does not matter.
    pub fn from_wire(text: &str) -> Option<AccessLocation> {
        [AccessLocation::Internal, AccessLocation::External]
            .into_iter()
            .find(|location| location.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

impl fmt::Display for AccessLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessLocation::Internal => "inside",
            AccessLocation::External => "outside",
        })
    }
}
