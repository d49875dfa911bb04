//! User certificates: how a client gets the one it authenticates with in TLS-DSK, and which ones count. `[MS-OCAUTHWS]`.
//!
//! ```text
//!  client                                        web services
//!    │  GET …/CertProvisioningService.svc/mex        │
//!    │──────────────────────────────────────────────►│  where, and who issues tickets for it
//!    │  a web ticket with a proof key (web_ticket)   │
//!    │◄─────────────────────────────────────────────►│
//!    │  GetAndPublishCert: ticket, proof, PKCS#10    │
//!    │──────────────────────────────────────────────►│  issued, published
//!    │◄──────────────────────────── the certificate ─│
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`message`] | metadata, GetAndPublishCert and its response, read and written |
//! | [`published`] | where servers keep the certificates they accept |
//! | [`judge`] | which certificates are good |
//! | [`server`] | the service |
//! | [`client`] | obtaining a certificate |
//!
//! Absent: the operations of telephones (GetCert, the chain of the root), tickets without proof.

pub mod client;
pub mod judge;
pub mod message;
pub mod published;
pub mod server;

/// Path of the service; what challenges of TLS-DSK name as `sts-uri`.
pub const SERVICE_PATH: &str = "/CertProv/CertProvisioningService.svc";

/// Below [`SERVICE_PATH`]: the port for tickets with proof of possession by HMAC-SHA1.
pub const PROOF_PATH: &str = "/WebTicket_Proof_SHA1";

/// Below [`SERVICE_PATH`]: the port for tickets with proof of possession by HMAC-SHA256.
pub const PROOF_PATH_SHA256: &str = "/WebTicket_Proof";

#[cfg(test)]
mod tests;
