//! The embedded store: users, contacts, presence that lasts, policies and dial plans in one SQLite file.
//!
//! [`Store`] stands behind [`signin::directory::Directory`]. What it promises:
//!
//! - **A write that was acknowledged survives `kill -9` and the loss of power** (WAL, `synchronous=FULL`). One writer
//!   thread takes the changes that wait and commits them together; each is acknowledged after that commit.
//! - **Reads never wait for writes.** Users, policies and dial plans are answered from memory; contact lists from a
//!   bounded cache or a read-only connection.
//! - **Another process may change the file meanwhile** (the `admin` verb while a server runs). The writer thread notices
//!   within a second, or at once on [`Store::refresh`].
//! - **The NT hash goes in and never comes out**, neither in a record nor in print; the file is made with mode 0600.
//!   Kerberos keys are kept only where there is a KDC, and come out for it alone.
//!
//! | to read | where |
//! |---|---|
//! | what may be done to a contact list | `edit` (pure) |
//! | one batch of writes | `writer` |
//! | what lasts of presence | `presence` |
//! | tables | `schema` |
//! | administration and import | `admin`, `seed` |
//! | contact lists as CSV and vCard | `contact_files` |
//! | NTLM answers checked against the stored hashes | [`OwnDirectoryVerifier`] |
//! | Kerberos keys, and who a KDC finds | `kerberos` |
//! | which user certificates count | `certificates` |

mod admin;
mod cache;
mod certificates;
mod contact_files;
mod contacts;
mod directory;
mod edit;
mod index;
mod kerberos;
mod policy;
mod presence;
mod receipt;
mod schema;
mod seed;
mod store;
mod users;
mod verifier;
mod writer;

pub use admin::{AdminError, NewUser};
pub use contact_files::{
    ContactFile, ContactFormat, FileContact, FileGroup, ImportMode, ImportedContacts, Remark, read_contacts,
    write_contacts,
};
pub use edit::ContactLimits;
pub use policy::{PlanUse, Scope, StoredPlan};
pub use receipt::Receipt;
pub use schema::OpenError;
pub use seed::{Imported, Seed, SeedContact, SeedDialPlan, SeedGroup, SeedPolicy, SeedSite, SeedUser};
pub use signin::authenticate::throttle::Throttle;
pub use store::{Settings, Store, Users};
pub use users::Account;
pub use verifier::OwnDirectoryVerifier;
