//! Room 5: settings, contacts, presence. `[MS-SIPREGE]`, `[MS-SIP]`, `[MS-PRES]`.
//!
//! After the 200 to REGISTER a client asks for what it needs to show something:
//!
//! ```text
//!  Client                                        Home pool
//!    |-- SUBSCRIBE vnd-microsoft-provisioning-v2 --->|   groups of settings
//!    |-- SUBSCRIBE vnd-microsoft-roaming-contacts -->|   the contact list, then deltas
//!    |-- SUBSCRIBE vnd-microsoft-roaming-self ------>|   own presence, containers, subscribers
//!    |-- SERVICE …opaque=app:locationprofile:get --->|   the dial plan
//!    |-- SUBSCRIBE presence (batch) ---------------->|   presence of all contacts in one answer
//!    |-- SERVICE msrtc-category-publish ------------>|   own presence, version by version
//!    |<-- BENOTIFY … --------------------------------|   whatever changes
//! ```
//!
//! | part | holds |
//! |---|---|
//! | [`settings`] | in-band provisioning, location profile |
//! | [`contacts`] | the contact list and its changes |
//! | [`presence`] | publication, aggregation, containers, subscriptions to others |
//! | `subscription` | dialogs and notifications all three share |
//! | `live` | who is there, and how what they publish becomes durable |
//! | [`document`] | the roots of documents, and why one is not what it should be |
//! | [`fragment`] | XML of clients, cut out to be kept and shown to others |
//! | [`server`] | which request goes where |
//! | [`client`] | the order of requests after sign-in |
//! | [`picture`] | what a client knows, kept true by notifications |
//! | `publishing` | what a client publishes |

pub mod client;
pub mod contacts;
pub mod document;
pub mod fragment;
mod live;
pub mod picture;
pub mod presence;
pub(crate) mod publishing;
mod request;
pub mod server;
pub mod settings;
mod subscription;

pub use subscription::ALLOW_EVENTS;

#[cfg(test)]
mod tests;
