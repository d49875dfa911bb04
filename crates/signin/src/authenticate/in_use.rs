//! The associations in use at one server: whose each is, which is the latest of its endpoint, and how long it lasts.
//! `[MS-SIPAE]` §3.3.2, §3.3.5.2.
//!
//! ```text
//!  begun ──► serves a registration ──► rests, when the registration is over ──► gone: too old, or one too many
//!                    │  replaced by a newer one of the same endpoint
//!                    └──► lasts a minute more, for messages under way ──► gone
//! ```

use super::association::Association;
use super::claim::Claim;
use super::verifier::Identity;
use crate::io::ConnId;
use crate::name::Aor;
use crate::recent::{Limits, Recent};
use crate::register::endpoint::InstanceId;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// An association in use, and whose it is.
pub(super) struct InUse {
    pub(super) association: Association,
    pub(super) claim: Claim,
    pub(super) identity: Identity,
    /// The identity owns the claimed address. Proving who one is does not prove that.
    pub(super) owner: bool,
    /// Over which connection its endpoint was heard last.
    pub(super) conn: ConnId,
    /// When it ends.
    pub(super) until: Duration,
}

/// An endpoint as its associations have it. The identity is part of it, for an endpoint is only claimed: who logs on as
/// himself and claims somebody else's address must not end that other one's association.
type Endpoint = (Aor, InstanceId, Identity);

impl InUse {
    fn endpoint(&self) -> Endpoint {
        (self.claim.aor.clone(), self.claim.instance, self.identity.clone())
    }
}

/// The latest association of an endpoint, and the one before it.
struct Latest {
    opaque: String,
    before: Option<String>,
}

/// All of them, by their opaque.
pub(super) struct AssociationsInUse {
    by_opaque: HashMap<String, InUse>,
    current: HashMap<Endpoint, Latest>,
    /// When they end, soonest first: one time of each.
    due: BTreeSet<(Duration, String)>,
    /// Those without a registration.
    resting: Recent<Aor, String>,
    /// How long one lasts that was replaced.
    replaced_lifetime: Duration,
}

impl AssociationsInUse {
    pub(super) fn new(resting: Limits, replaced_lifetime: Duration) -> AssociationsInUse {
        AssociationsInUse {
            by_opaque: HashMap::new(),
            current: HashMap::new(),
            due: BTreeSet::new(),
            resting: Recent::new(resting),
            replaced_lifetime,
        }
    }

    pub(super) fn contains(&self, opaque: &str) -> bool {
        self.by_opaque.contains_key(opaque)
    }

    pub(super) fn get_mut(&mut self, opaque: &str) -> Option<&mut InUse> {
        self.by_opaque.get_mut(opaque)
    }

    /// Takes a new one in: the latest of its endpoint.
    pub(super) fn begin(&mut self, opaque: String, in_use: InUse, now: Duration) {
        let endpoint = in_use.endpoint();
        let before = self.current.remove(&endpoint);
        // Two of one endpoint are enough for messages under way, however often it authenticates.
        if let Some(oldest) = before.as_ref().and_then(|before| before.before.as_ref()) {
            self.forget(oldest);
        }
        let before = before.map(|before| before.opaque);
        if let Some(before) = &before {
            self.shorten(before, now + self.replaced_lifetime);
        }
        self.current.insert(endpoint, Latest { opaque: opaque.clone(), before });
        self.due.insert((in_use.until, opaque.clone()));
        self.by_opaque.insert(opaque, in_use);
    }

    /// The latest of the endpoint and the identity that this one belongs to, as far as it is heard over the same connection:
    /// two programs that claim to be one endpoint cannot check each other's signatures.
    pub(super) fn latest<'a>(&'a self, opaque: &'a str) -> &'a str {
        let latest = || {
            let own = self.by_opaque.get(opaque)?;
            let latest = &self.current.get(&own.endpoint())?.opaque;
            (self.by_opaque.get(latest)?.conn == own.conn).then_some(latest.as_str())
        };
        latest().unwrap_or(opaque)
    }

    /// One ends at this time, if not before.
    fn shorten(&mut self, opaque: &str, until: Duration) {
        let Some(known) = self.by_opaque.get_mut(opaque).filter(|known| known.until > until) else { return };
        self.due.remove(&(known.until, opaque.to_owned()));
        self.due.insert((until, opaque.to_owned()));
        known.until = until;
    }

    /// The registration is over that this one belonged to. It is kept for a while, for the endpoint may come back; but
    /// whoever comes and goes under ever new names has no more than a few of them.
    pub(super) fn rest(&mut self, opaque: &str, now: Duration) {
        let Some(resting) = self.by_opaque.get(opaque) else { return };
        let (endpoint, conn) = (resting.endpoint(), resting.conn);
        let before = match self.current.get_mut(&endpoint) {
            Some(latest) if latest.opaque == opaque => latest.before.take(),
            // It was replaced: it ends soon, and with its endpoint.
            Some(latest) if latest.before.as_deref() == Some(opaque) => return,
            _ => None,
        };
        let (aor, ..) = &endpoint;
        let mut superfluous = Vec::new();
        match before {
            Some(before) if self.by_opaque.get(&before).is_some_and(|before| before.conn != conn) => {
                // Of another program that is this endpoint, and perhaps about to be its registration again.
                superfluous.extend(self.resting.put(aor, before, now));
            }
            Some(before) => self.forget(&before),
            None => {}
        }
        superfluous.extend(self.resting.put(aor, opaque.to_owned(), now));
        for (_, oldest) in superfluous {
            self.forget(&oldest);
        }
    }

    /// There is a registration again that this one belongs to.
    pub(super) fn serve(&mut self, opaque: &str) {
        if let Some(known) = self.by_opaque.get(opaque) {
            self.resting.take(&known.claim.aor, &opaque.to_owned());
        }
    }

    /// Ends one.
    pub(super) fn forget(&mut self, opaque: &str) {
        if let Some(gone) = self.by_opaque.remove(opaque) {
            self.due.remove(&(gone.until, opaque.to_owned()));
            self.resting.take(&gone.claim.aor, &opaque.to_owned());
            let endpoint = gone.endpoint();
            if self.current.get(&endpoint).is_some_and(|latest| latest.opaque == opaque) {
                self.current.remove(&endpoint);
            }
        }
    }

    /// Ends those whose time is over, and those that have rested long enough.
    pub(super) fn sweep(&mut self, now: Duration) {
        while self.due.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, opaque)) = self.due.pop_first() else { break };
            self.forget(&opaque);
        }
        for (_, opaque) in self.resting.expire(now) {
            self.forget(&opaque);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_opaque.len()
    }
}
