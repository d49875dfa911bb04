//! A whole deployment in one process: DNS with an inside and an outside view, a CA, a Director, two pools, the Edge side,
//! web services, and people.
//!
//! | file | holds |
//! |---|---|
//! | `plan` | servers, addresses, DNS records |
//! | `people` | users, contacts, policies, dial plan |
//! | `authority` | CA and certificates |
//! | `zone` | the DNS |
//! | `deployment` | starting all of it |
//! | [`ready`] | what others need to know to use it |

mod authority;
mod deployment;
mod people;
mod plan;
pub mod ready;
mod realm;
mod zone;

pub use deployment::{Lab, LabConfig, STORE_FILE};
pub use plan::{DOMAIN, Published};

use std::net::{Ipv4Addr, SocketAddr};

/// Why the lab does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A port is taken, or needs rights.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error("a file of the lab cannot be used: {0}")]
    File(#[from] std::io::Error),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The authority of users' certificates cannot be used.
    #[error(transparent)]
    UserAuthority(#[from] mechanism::user_certificate::AuthorityError),
    /// Its key cannot be used.
    #[error(transparent)]
    UserKey(#[from] mechanism::user_certificate::KeyError),
    /// Its key cannot be made.
    #[error(transparent)]
    NewKey(#[from] net::keys::NotMade),
    /// A certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] net::server::IdentityError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The people cannot be put into the store.
    #[error(transparent)]
    People(#[from] store::AdminError),
    /// A server would offer what it cannot.
    #[error(transparent)]
    Offer(#[from] signin::authenticate::offer::NotOutside),
    /// It would not be on loopback.
    #[error("{0} is not a loopback address; the lab listens on no other")]
    NotLoopback(Ipv4Addr),
    /// The lab's own plan is wrong.
    #[error("{0}")]
    Setup(String),
}

impl LabError {
    fn bind(address: SocketAddr, error: std::io::Error) -> LabError {
        LabError::Bind { address, error }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            LabError::Bind { address, error } => match error.kind() {
                std::io::ErrorKind::PermissionDenied => format!(
                    "ports below 1024 need root: run as root, or leave out --standard-ports (asked for {address})"
                ),
                std::io::ErrorKind::AddrInUse => {
                    format!("something else listens on {address}: stop it, or choose other addresses with --address")
                }
                _ => "choose other loopback addresses with --address".to_owned(),
            },
            LabError::NotLoopback(_) => {
                "write a loopback address with --address, from 127.0.0.1 on, or leave it out".to_owned()
            }
            LabError::File(_) | LabError::Store(_) | LabError::UserAuthority(_) => {
                "look at the folder given with --state, or leave it out".to_owned()
            }
            _ => "this is a fault of the lab itself; please report it".to_owned(),
        }
    }
}
