//! One publication of a user, as the server holds it.

use super::aggregation::{Device, State};
use super::kept::{KeptPublication, PublicationKey};
use super::message::ExpireType;
use super::state::{read_device, read_state};
use crate::io::Now;
use crate::xml::Element;
use std::sync::Arc;
use std::time::Duration;

/// Instance of the aggregated state.
pub(super) const AGGREGATE: u32 = 1;
/// Instance of the state of the machine somebody is most likely at.
pub(super) const AGGREGATE_MACHINE: u32 = 0x1000_0000;

/// What a value says, as far as the server has to know.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    /// A `state`.
    State(State),
    /// A `device`.
    Device(Device),
    /// Anything else is passed on as it is.
    Opaque,
}

impl Meaning {
    fn of(category: &str, xml: &str) -> Meaning {
        let element = || Element::parse(xml.as_bytes()).ok();
        let read = match category {
            "state" => element().filter(|e| e.name == "state").map(|e| Meaning::State(read_state(&e))),
            "device" => element().filter(|e| e.name == "device").map(|e| Meaning::Device(read_device(&e))),
            _ => None,
        };
        read.unwrap_or(Meaning::Opaque)
    }
}

/// Where a publication comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Publisher {
    /// The endpoint with this epid.
    Endpoint(Arc<str>),
    /// An endpoint of a time before the server began.
    Former,
    /// The server aggregated it.
    Server,
}

#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) version: u32,
    /// Seconds since 1970.
    pub(super) published: i64,
    /// Grows with every publication: which of two is newer.
    pub(super) order: u64,
    pub(super) expire: ExpireType,
    /// Since the server began.
    pub(super) ends: Option<Duration>,
    pub(super) publisher: Publisher,
    pub(super) xml: Arc<str>,
    pub(super) meaning: Meaning,
}

impl Publication {
    /// One that is published now.
    pub(super) fn new(category: &str, xml: &str, expire: ExpireType, publisher: Publisher, now: Now) -> Publication {
        let meaning = match publisher {
            Publisher::Server => Meaning::Opaque,
            Publisher::Endpoint(_) | Publisher::Former => Meaning::of(category, xml),
        };
        let mut publication = Publication {
            version: 1,
            published: now.unix_seconds,
            order: 0,
            expire,
            ends: None,
            publisher,
            xml: xml.into(),
            meaning,
        };
        publication.ends = publication.ends_at(now);
        publication
    }

    /// One that was kept.
    pub(super) fn restored(kept: &KeptPublication, now: Now) -> Publication {
        let fresh = Publication::new(&kept.key.category, &kept.xml, kept.expire, Publisher::Former, now);
        let mut publication = Publication { version: kept.version, published: kept.published, ..fresh };
        publication.ends = publication.ends_at(now);
        publication
    }

    /// What is to be kept of it, when it does not end with its endpoints.
    pub(super) fn to_keep(&self, key: &PublicationKey) -> Option<KeptPublication> {
        self.outlives_endpoints().then(|| KeptPublication {
            key: key.clone(),
            version: self.version,
            published: self.published,
            expire: self.expire,
            xml: self.xml.to_string(),
        })
    }

    pub(super) fn outlives_endpoints(&self) -> bool {
        self.publisher != Publisher::Server && matches!(self.expire, ExpireType::Static | ExpireType::Time(_))
    }

    /// The end of its time on the server's own clock; a time that is over ends at once.
    fn ends_at(&self, now: Now) -> Option<Duration> {
        let ExpireType::Time(seconds) = self.expire else { return None };
        let left = self.published.saturating_add(i64::from(seconds)).saturating_sub(now.unix_seconds);
        Some(now.since_start + Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    pub(super) fn state(&self) -> Option<&State> {
        match &self.meaning {
            Meaning::State(state) => Some(state),
            Meaning::Device(_) | Meaning::Opaque => None,
        }
    }

    pub(super) fn device(&self) -> Option<&Device> {
        match &self.meaning {
            Meaning::Device(device) => Some(device),
            Meaning::State(_) | Meaning::Opaque => None,
        }
    }
}

/// The version after this one; 0 is none.
pub(super) fn next_version(version: u32) -> u32 {
    version.wrapping_add(1).max(1)
}
