//! Presence: one's own (`vnd-microsoft-roaming-self`, publication, containers, subscribers) and that of others
//! (`presence`, batched). `[MS-PRES]`.
//!
//! | file | holds |
//! |---|---|
//! | [`message`] | the documents, read and written |
//! | [`state`] | the values the server looks into |
//! | [`batch`] | the batched subscription and its multipart answer |
//! | [`aggregation`] | from what endpoints publish to what others see |
//! | [`kept`] | what outlives the endpoints, and the process |
//! | `presentity`, `publication`, `containers`, `card`, `views` | what the server keeps of one user, and shows of it |
//! | `server` | the answers about one's own presence |
//! | `watching` | the answers about the presence of others, and who is told when something changes |
//!
//! Kept in memory is what hangs on endpoints; the rest is durable before it is acknowledged. Deliberately absent:
//! delegates, the legacy `pidf` forms, routing scripts, note history.

pub mod aggregation;
pub mod batch;
mod card;
mod containers;
pub mod kept;
pub mod message;
pub(super) mod presentity;
mod publication;
pub(super) mod server;
pub mod state;
mod views;
mod watching;
