//! What of a user's presence outlives the endpoints, and so the process: publications that do not hang on an endpoint,
//! containers, subscribers. `[MS-PRES]` §3.1.
//!
//! Behind [`Directory::presence`](crate::directory::Directory::presence) stands whoever keeps it; here is what is kept.

use super::message::{ContainerEntry, ExpireType, SubscriberEntry};

/// Names a publication of one user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicationKey {
    /// Name of the category.
    pub category: String,
    /// Number chosen by the publisher.
    pub instance: u32,
    /// 0 to 32767.
    pub container: u16,
}

/// A publication that is kept: `static` or for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPublication {
    /// Which.
    pub key: PublicationKey,
    /// Its version, never 0.
    pub version: u32,
    /// When it was published, seconds since 1970.
    pub published: i64,
    /// [`ExpireType::Static`] or [`ExpireType::Time`]; the others end with their endpoints.
    pub expire: ExpireType,
    /// The value, an element that stands alone; may be empty.
    pub xml: String,
}

/// Everything that is kept of one user's presence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptPresence {
    /// Publications, the oldest first.
    pub publications: Vec<KeptPublication>,
    /// Containers whose members were ever changed.
    pub containers: Vec<ContainerEntry>,
    /// Those who added the user.
    pub subscribers: Vec<SubscriberEntry>,
    /// Version of the list of subscribers; 0 when there never was one.
    pub subscribers_version: u32,
}

/// A change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// This publication is new or has another value; it is now the newest.
    Publication(KeptPublication),
    /// This publication is gone, or ends with its endpoint from now on.
    NoPublication(PublicationKey),
    /// This container has these members now.
    Container(ContainerEntry),
    /// This subscriber is new or was acknowledged, and the list is at this version.
    Subscriber(SubscriberEntry, u32),
}
