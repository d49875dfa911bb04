//! What peers that have proven nothing may have us hold: bytes of messages that are not whole yet.
//!
//! A little is free, so that nearly nobody is counted. What is more comes out of a store with a bound for each address
//! and one for all; who finds it empty is turned away, whoever emptied it.

use signin::service::network_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of one connection that are not counted.
const FREE: usize = 4 * 1024;

/// How many bytes unfinished messages of strangers may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLimits {
    /// From one address; of IPv6, from one network of 64 bits.
    pub per_address: usize,
    /// In all.
    pub in_all: usize,
}

impl Default for HeldLimits {
    /// 16 MiB from one address, 128 MiB in all.
    fn default() -> HeldLimits {
        HeldLimits { per_address: 16 * 1024 * 1024, in_all: 128 * 1024 * 1024 }
    }
}

/// What the strangers of one listener hold.
#[derive(Debug)]
pub(super) struct Strangers {
    limits: HeldLimits,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    in_all: usize,
    per_address: HashMap<IpAddr, usize>,
}

impl Strangers {
    pub(super) fn new(limits: HeldLimits) -> Arc<Strangers> {
        Arc::new(Strangers { limits, held: Mutex::default() })
    }

    /// The share of a connection from this address; it holds nothing yet.
    pub(super) fn share(self: &Arc<Self>, address: IpAddr) -> Share {
        Share { strangers: self.clone(), address: network_of(address), held: 0 }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    strangers: Arc<Strangers>,
    address: IpAddr,
    /// 32 bits, for every idle connection has one of these.
    held: u32,
}

impl Share {
    /// Holds so many bytes from now on; `false` when there is no room for more, and nothing has changed.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        let wanted = if bytes > FREE { bytes } else { 0 };
        let before = self.held as usize;
        if wanted == before {
            return true;
        }
        let Ok(noted) = u32::try_from(wanted) else { return false };
        let HeldLimits { per_address, in_all } = self.strangers.limits;
        let mut held = self.strangers.held();
        let others_here = held.per_address.get(&self.address).copied().unwrap_or(0).saturating_sub(before);
        let others = held.in_all.saturating_sub(before);
        let (here, all) = (others_here.saturating_add(wanted), others.saturating_add(wanted));
        if wanted > before && (here > per_address || all > in_all) {
            return false;
        }
        held.in_all = all;
        match here {
            0 => held.per_address.remove(&self.address),
            here => held.per_address.insert(self.address, here),
        };
        self.held = noted;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn a_little_is_free_and_the_rest_is_bounded_by_address_and_in_all() {
        let strangers = Strangers::new(HeldLimits { per_address: 20 * KIB, in_all: 30 * KIB });
        let share = |address: [u8; 4]| strangers.share(address.into());
        let (mut one, mut two, mut other) = (share([192, 0, 2, 1]), share([192, 0, 2, 1]), share([192, 0, 2, 2]));
        assert!(one.hold(15 * KIB));
        assert!(!two.hold(6 * KIB), "more than their address may");
        assert!(two.hold(4 * KIB), "that is free");
        assert!(other.hold(15 * KIB));
        assert!(!other.hold(16 * KIB), "more than all may");
        assert!(one.hold(10 * KIB), "less is always possible");
        assert!(two.hold(5 * KIB));
        drop(one);
        drop(two);
        assert!(other.hold(20 * KIB));
        drop(other);
        let held = strangers.held();
        assert_eq!((held.in_all, held.per_address.len()), (0, 0));
    }
}
