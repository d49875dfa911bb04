//! Where the endpoints of each user are: the binding table. Knows no SIP message. RFC 3261 §10.2.1, `[MS-SIPREGE]` §3.2.
//!
//! Keyed by address and device: another endpoint of the same user never replaces a binding, the same endpoint on a new
//! connection replaces its own. An expired binding is remembered for a while as not routable, so that its return can be
//! told from a new endpoint; of each user the latest few, however many come and go.

use super::endpoint::InstanceId;
use super::message::{RegisterAction, RegistrationDialog};
use crate::io::ConnId;
use crate::name::Aor;
use crate::recent::{Limits, Recent};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// One endpoint of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub instance: InstanceId,
    /// Endpoint id; of a client that has none, its instance id.
    pub epid: Box<str>,
    /// Contact URI as kept (after `proxy=replace`): Request-URI of what is sent there.
    pub contact: Box<str>,
    /// The one connection that leads there.
    pub conn: ConnId,
    /// The association that signs what goes there.
    pub opaque: Box<str>,
    /// When it ends.
    pub expires_at: Duration,
    /// Whether a GRUU was asked for.
    pub gruu: bool,
    /// For the deregistration NOTIFY; `None` when the client asked for none.
    pub dialog: Option<Box<RegistrationDialog>>,
}

/// How long an expired endpoint is remembered, so that its return is `fixed` instead of `added`; and how many are. Our choice.
const REMEMBERED: Limits = Limits { of_one: 16, of_all: 100_000, time: Duration::from_secs(3600) };

/// All bindings of one server.
#[derive(Debug)]
pub struct Location {
    users: HashMap<Aor, Vec<Arc<Binding>>>,
    by_conn: HashMap<ConnId, Vec<(Aor, InstanceId)>>,
    /// Expiry times, soonest first: one of each binding, however often it is refreshed.
    due: BTreeSet<(Duration, Aor, InstanceId)>,
    lapsed: Recent<Aor, InstanceId>,
}

impl Default for Location {
    fn default() -> Location {
        Location {
            users: HashMap::new(),
            by_conn: HashMap::new(),
            due: BTreeSet::new(),
            lapsed: Recent::new(REMEMBERED),
        }
    }
}

/// What adding a binding did.
#[derive(Debug, PartialEq, Eq)]
pub struct Added {
    /// New, refreshed or fixed.
    pub action: RegisterAction,
    /// The same endpoint's binding on another connection, which this one replaced.
    pub replaced: Option<Arc<Binding>>,
    /// The user's oldest endpoint, put out because there were too many.
    pub evicted: Option<Arc<Binding>>,
}

impl Location {
    /// Adds or refreshes a binding. `limit` is how many endpoints one user may have.
    pub fn bind(&mut self, aor: &Aor, binding: Binding, limit: usize) -> Added {
        let key = (aor.clone(), binding.instance);
        self.due.insert((binding.expires_at, aor.clone(), binding.instance));
        let conn_list = self.by_conn.entry(binding.conn).or_default();
        if !conn_list.contains(&key) {
            conn_list.push(key.clone());
        }
        let lapsed = self.lapsed.take(aor, &binding.instance);
        let bindings = self.users.entry(aor.clone()).or_default();
        let binding = Arc::new(binding);
        if let Some(place) = bindings.iter_mut().find(|b| b.instance == binding.instance) {
            let before = std::mem::replace(place, binding.clone());
            if before.expires_at != binding.expires_at {
                self.due.remove(&(before.expires_at, aor.clone(), before.instance));
            }
            let replaced = (before.conn != binding.conn).then_some(before);
            if let Some(old) = &replaced {
                self.leave(old.conn, &key);
            }
            return Added { action: RegisterAction::Refreshed, replaced, evicted: None };
        }
        bindings.push(binding);
        let evicted = (bindings.len() > limit).then(|| bindings.remove(0));
        if let Some(old) = &evicted {
            self.due.remove(&(old.expires_at, aor.clone(), old.instance));
            self.leave(old.conn, &(aor.clone(), old.instance));
        }
        Added { action: if lapsed { RegisterAction::Fixed } else { RegisterAction::Added }, replaced: None, evicted }
    }

    /// The user's live bindings, oldest first.
    pub fn bindings(&self, aor: &Aor) -> &[Arc<Binding>] {
        self.users.get(aor).map_or(&[], Vec::as_slice)
    }

    /// One endpoint's binding.
    pub fn binding(&self, aor: &Aor, instance: InstanceId) -> Option<&Arc<Binding>> {
        self.bindings(aor).iter().find(|b| b.instance == instance)
    }

    /// From now on another association signs what goes to that endpoint. Gives the one so far.
    pub fn sign_with(&mut self, aor: &Aor, instance: InstanceId, opaque: &str) -> Option<Box<str>> {
        let place = self.users.get_mut(aor)?.iter_mut().find(|b| b.instance == instance)?;
        let before = std::mem::replace(&mut Arc::make_mut(place).opaque, opaque.into());
        (*before != *opaque).then_some(before)
    }

    /// The binding of the endpoint with that epid.
    pub fn binding_of(&self, aor: &Aor, epid: &str) -> Option<&Arc<Binding>> {
        self.bindings(aor).iter().find(|b| &*b.epid == epid)
    }

    /// The binding whose Contact, as this server keeps it, is that URI: `ms-received-cid` names the connection.
    pub fn with_contact(&self, contact: &str) -> Option<(&Aor, &Arc<Binding>)> {
        let uri = sip::Uri::parse(contact).ok()?;
        let conn = u64::from_str_radix(uri.params.get("ms-received-cid")?, 16).ok()?;
        let carried = self.by_conn.get(&ConnId(conn))?;
        let bindings = carried.iter().filter_map(|(aor, instance)| Some((aor, self.binding(aor, *instance)?)));
        bindings.into_iter().find(|(_, binding)| &*binding.contact == contact)
    }

    /// Ends one binding.
    pub fn unbind(&mut self, aor: &Aor, instance: InstanceId) -> Option<Arc<Binding>> {
        let bindings = self.users.get_mut(aor)?;
        let place = bindings.iter().position(|b| b.instance == instance)?;
        let gone = bindings.remove(place);
        if bindings.is_empty() {
            self.users.remove(aor);
        }
        self.due.remove(&(gone.expires_at, aor.clone(), instance));
        self.leave(gone.conn, &(aor.clone(), instance));
        Some(gone)
    }

    /// Ends every binding that a connection carried; the endpoints are remembered.
    pub fn closed(&mut self, conn: ConnId, now: Duration) -> Vec<(Aor, Arc<Binding>)> {
        let keys = self.by_conn.remove(&conn).unwrap_or_default();
        keys.into_iter().filter_map(|(aor, instance)| self.lapse(aor, instance, now)).collect()
    }

    /// Ends every binding whose time is over, and forgets endpoints that stayed away.
    pub fn sweep(&mut self, now: Duration) -> Vec<(Aor, Arc<Binding>)> {
        let mut gone = Vec::new();
        while self.due.first().is_some_and(|(expires_at, ..)| *expires_at <= now) {
            let Some((_, aor, instance)) = self.due.pop_first() else { break };
            gone.extend(self.lapse(aor, instance, now));
        }
        self.lapsed.expire(now);
        gone
    }

    fn lapse(&mut self, aor: Aor, instance: InstanceId, now: Duration) -> Option<(Aor, Arc<Binding>)> {
        let gone = self.unbind(&aor, instance)?;
        self.lapsed.put(&aor, instance, now);
        Some((aor, gone))
    }

    fn leave(&mut self, conn: ConnId, key: &(Aor, InstanceId)) {
        if let Some(list) = self.by_conn.get_mut(&conn) {
            list.retain(|other| other != key);
            if list.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
    }

    /// The endpoints registered over this connection.
    pub fn carried(&self, conn: ConnId) -> impl Iterator<Item = (&Aor, &Arc<Binding>)> {
        let keys = self.by_conn.get(&conn).into_iter().flatten();
        keys.filter_map(|(aor, instance)| Some((aor, self.binding(aor, *instance)?)))
    }

    /// Whether any endpoint is registered over this connection.
    pub fn carries(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// Users and bindings, for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (self.users.len(), self.users.values().map(Vec::len).sum())
    }

    /// Every registered user.
    pub fn users(&self) -> impl Iterator<Item = &Aor> {
        self.users.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(epid: &str, conn: u64, expires: u64) -> Binding {
        Binding {
            instance: InstanceId::of_epid(&epid.parse().expect("epid")),
            epid: epid.into(),
            contact: "sip:127.0.0.1".into(),
            conn: ConnId(conn),
            opaque: "0A0B0C0D".into(),
            expires_at: Duration::from_secs(expires),
            gruu: true,
            dialog: None,
        }
    }

    fn alice() -> Aor {
        "alice@contoso.test".parse().expect("aor")
    }

    #[test]
    fn endpoints_live_side_by_side_and_the_oldest_goes_first() {
        let mut location = Location::default();
        assert_eq!(location.bind(&alice(), binding("a", 1, 10), 2).action, RegisterAction::Added);
        assert_eq!(location.bind(&alice(), binding("b", 2, 10), 2).action, RegisterAction::Added);
        assert_eq!(location.bind(&alice(), binding("a", 1, 20), 2).action, RegisterAction::Refreshed);
        let added = location.bind(&alice(), binding("c", 3, 20), 2);
        assert_eq!(added.evicted.map(|b| b.conn), Some(ConnId(1)));
        assert!(!location.carries(ConnId(1)));
        assert_eq!(location.counts(), (1, 2));
    }

    #[test]
    fn the_same_endpoint_on_a_new_connection_replaces_its_own() {
        let mut location = Location::default();
        location.bind(&alice(), binding("a", 1, 10), 8);
        let added = location.bind(&alice(), binding("a", 2, 10), 8);
        assert_eq!((added.action, added.replaced.map(|b| b.conn)), (RegisterAction::Refreshed, Some(ConnId(1))));
        assert!(location.closed(ConnId(1), Duration::ZERO).is_empty(), "the old connection carries nothing any more");
        assert_eq!(location.bindings(&alice()).len(), 1);
    }

    #[test]
    fn what_expires_or_loses_its_connection_can_come_back_fixed() {
        let mut location = Location::default();
        location.bind(&alice(), binding("a", 1, 10), 8);
        location.bind(&alice(), binding("b", 2, 10), 8);
        location.bind(&alice(), binding("b", 2, 30), 8);
        let gone = location.sweep(Duration::from_secs(10));
        assert_eq!(gone.len(), 1, "the refreshed one stays");
        assert_eq!(location.closed(ConnId(2), Duration::from_secs(11)).len(), 1);
        assert_eq!(location.counts(), (0, 0));
        assert_eq!(location.bind(&alice(), binding("a", 3, 50), 8).action, RegisterAction::Fixed);
        location.sweep(Duration::from_secs(5000));
        assert_eq!(location.bind(&alice(), binding("b", 3, 9000), 8).action, RegisterAction::Added);
    }

    #[test]
    fn whoever_comes_and_goes_under_ever_new_names_is_not_remembered_by_all_of_them() {
        let mut location = Location::default();
        for number in 0..1000 {
            location.bind(&alice(), binding(&format!("{number:x}"), number, 7200), 8);
            location.closed(ConnId(number), Duration::from_secs(number));
        }
        assert_eq!(location.lapsed.len(), REMEMBERED.of_one);
        assert_eq!(location.bind(&alice(), binding("3e7", 1, 7200), 8).action, RegisterAction::Fixed, "the last one");
        assert_eq!(location.bind(&alice(), binding("0", 1, 7200), 8).action, RegisterAction::Added, "the first one");
        location.sweep(Duration::from_secs(999) + REMEMBERED.time);
        assert_eq!(location.lapsed.len(), 0);
    }

    #[test]
    fn leaving_is_not_remembered() {
        let mut location = Location::default();
        location.bind(&alice(), binding("a", 1, 10), 8);
        let instance = binding("a", 1, 10).instance;
        assert!(location.unbind(&alice(), instance).is_some());
        assert!(location.unbind(&alice(), instance).is_none());
        assert_eq!(location.bind(&alice(), binding("a", 1, 10), 8).action, RegisterAction::Added);
    }

    #[test]
    fn a_binding_has_one_time_to_end_at_however_often_it_is_refreshed() {
        let mut location = Location::default();
        let aor: Aor = "a@contoso.test".parse().expect("address");
        for second in 0..1000 {
            location.bind(&aor, binding("01", second % 3, 7200 + second), 2);
        }
        assert_eq!(location.due.len(), 1);
        for (number, epid) in ["02", "03", "04"].into_iter().enumerate() {
            location.bind(&aor, binding(epid, 9, 100 + number as u64), 2);
        }
        assert_eq!(location.due.len(), 2, "whoever was put out has none");
        assert_eq!(location.sweep(Duration::from_secs(101)).len(), 1);
        location.closed(ConnId(9), Duration::from_secs(101));
        assert!(location.due.is_empty());
    }
}
