//! Presence: one's own (`vnd-microsoft-roaming-self`, publication, containers, subscribers) and that of others
//! (`presence`, batched). `[MS-PRES]`.
//!
//! | file | holds |
//! |---|---|
//! | [`message`] | the documents, read and written |
//! | [`batch`] | the batched subscription and its multipart answer |
//! | [`aggregation`] | from what endpoints publish to what others see |
//! | `presentity` | what the server keeps of one user: publications, containers, subscribers |
//! | `server` | the answers |
//!
//! Kept in memory: what is published lives as long as the server. Deliberately absent: delegates, the legacy `pidf`
//! forms, routing scripts, note history.

pub mod aggregation;
pub mod batch;
pub mod message;
pub(super) mod presentity;
pub(super) mod server;
