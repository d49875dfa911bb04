//! Active Directory behind the servers.
//!
//! | part | answers | by |
//! |---|---|---|
//! | [`LdapDirectory`] | who is this address, whose is this account | LDAP to the domain controllers |
//! | [`WinbindVerifier`] | is this NTLM answer right | Samba's `ntlm_auth`, which asks a domain controller |
//! | [`LayeredDirectory`] | [`signin::directory::Directory`] | the first for users, another directory for the rest |
//!
//! [`ActiveDirectoryConfig`] is what an administrator writes. Kerberos needs none of this: its tickets are opened with a keytab.

pub mod config;
mod layered;
pub mod ldap;
mod places;
mod secret;
pub mod winbind;

pub use config::{ActiveDirectoryConfig, ConfigProblem};
pub use layered::LayeredDirectory;
pub use ldap::{LdapDirectory, LdapSettings};
pub use secret::{Secret, SecretError};
pub use winbind::{WinbindSettings, WinbindVerifier};
