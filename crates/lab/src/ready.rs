//! The `--ready-file`: where everything of a running lab is, for whoever wants to use it.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Version of the shape of [`Ready`].
pub const SCHEMA: u32 = 1;

/// A running lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `contoso.test`.
    pub sip_domain: String,
    /// Kerberos realm.
    pub realm: String,
    /// The root certificate, PEM.
    pub ca: PathBuf,
    /// Kerberos configuration for `kinit` and other tools.
    pub krb5_conf: Option<PathBuf>,
    /// Name servers.
    pub dns: Views,
    /// KDC, over UDP and TCP.
    pub kdc: Option<SocketAddr>,
    /// What is added to every standard port; 0 with standard ports.
    pub port_offset: u16,
    /// Servers.
    pub hosts: Vec<ReadyHost>,
    /// People.
    pub users: Vec<ReadyUser>,
    /// Administration interface; `None` while there is none.
    pub admin: Option<String>,
}

/// The two views of the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Views {
    /// As seen inside.
    pub internal: SocketAddr,
    /// As seen outside.
    pub external: SocketAddr,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyHost {
    /// FQDN.
    pub fqdn: String,
    /// `director`, `front-end`, `edge` or `web`.
    pub role: String,
    /// Pool it belongs to.
    pub pool: Option<String>,
    /// Where it really listens for SIP over TLS.
    pub sip: Option<SocketAddr>,
    /// Where it really listens for HTTPS.
    pub https: Option<SocketAddr>,
}

/// One of those whom the lab made: who can sign in, or cannot for a known reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyUser {
    /// Sign-in address.
    pub address: String,
    /// Logon name.
    pub login: String,
    /// Password; these people exist in the lab only. `None` when another one was set: then nobody but who set it knows.
    pub password: Option<String>,
    /// Home pool.
    pub home: Option<String>,
    /// What is special about the user, as the lab made them.
    pub note: String,
}
