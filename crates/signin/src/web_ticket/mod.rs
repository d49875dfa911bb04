//! Web tickets: proof towards one web service that somebody logged on at another. `[MS-OCAUTHWS]`, WS-Trust 1.3.
//!
//! The ticket service takes a *RequestSecurityToken* over HTTP with Kerberos or NTLM, or signed with a user certificate, and
//! returns a SAML 1.1 assertion, opaque to the client, and the means to derive a proof key. The client then shows the
//! assertion: to Autodiscover in the header `X-MS-WebTicket`, to SOAP services in the message.
//!
//! | file | holds |
//! |---|---|
//! | [`metadata`] | where a service takes log-ons, and of which kind |
//! | [`message`] | the SOAP messages, read and written |
//! | [`diagnostics`] | what web services say is wrong |
//! | [`proof_key`] | the key both ends derive |
//! | [`client`] | obtaining a ticket |
//! | [`authority`] | making tickets and recognising them |
//! | [`server`] | the ticket service |
//! | [`security`] | a ticket in a SOAP message, with the proof of possession |
//! | [`signed`] | a message signed with a user certificate |
//! | [`once`] | what must not be taken twice |
//!
//! Absent: PIN and federated log-on, compact tickets. Their ports are not published.

pub mod authority;
pub mod client;
pub mod diagnostics;
pub mod message;
pub mod metadata;
pub mod once;
pub mod proof_key;
pub mod security;
pub mod server;
pub mod signed;

/// HTTP header that carries a ticket: `opaque=` and base64 of the assertion. In lower case, as headers are compared.
pub const TICKET_HEADER: &str = "x-ms-webticket";

/// HTTP header of a 401 that says where tickets are made: the base URL of the service, without `/mex`.
pub const TICKET_URL_HEADER: &str = "x-ms-webticketurl";

/// HTTP header with the error of a web service, `[MS-OCAUTHWS]` §3.2.4.1.
pub const DIAGNOSTICS_HEADER: &str = "x-ms-diagnostics";

/// Path of the ticket service.
pub const SERVICE_PATH: &str = "/WebTicket/WebTicketService.svc";

/// Below [`SERVICE_PATH`]: the port for messages signed with a user certificate.
pub const CERTIFICATE_PATH: &str = "/cert";
