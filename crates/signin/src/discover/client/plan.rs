//! The order in which servers are looked for.
//!
//! | # | looked up | gives |
//! |---|---|---|
//! | 0 | what worked last time | that server |
//! | – | a server set by hand | that server, and nothing else |
//! | 1 | `lyncdiscoverinternal.<domain>`, addresses | Autodiscover |
//! | 2 | `lyncdiscover.<domain>`, addresses | Autodiscover |
//! | 3 | `_sipinternaltls._tcp.<domain>`, SRV | TLS, inside |
//! | 3b | `_sipinternal._tcp.<domain>`, SRV | TCP, inside; only on request, clients of today do not ask |
//! | 4 | `_sip._tls.<domain>`, SRV | TLS, outside |
//! | 5 | `sipinternal.<domain>`, addresses | TLS 5061, inside |
//! | 6 | `sip.<domain>`, addresses | TLS 5061 inside, 443 outside |
//! | 7 | `sipexternal.<domain>`, addresses | TLS 443, outside |
//!
//! `sip.<domain>` stands for a pool inside and for the Edge outside, and does not say which: both ports become
//! candidates, 5061 first when any name meant for the inside exists, else 443 first.
//!
//! SRV records: lowest priority first, then highest weight, then as delivered. This is what the product does; RFC 2782's drawing
//! of lots by weight is not.

use super::{Ask, Cached, Manual};
use crate::discover::AccessLocation;
use crate::io::Srv;
use crate::name::SipDomain;
use std::collections::VecDeque;

/// One way to find servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Cached(Cached),
    Manual(Manual),
    Autodiscover { name: String },
    Service { name: String, view: AccessLocation, legacy_tcp: bool },
    Name { name: String, places: Vec<AccessLocation> },
}

/// The documented order, as far as it is asked for.
pub(super) fn plan(domain: &SipDomain, ask: &Ask) -> VecDeque<Way> {
    use AccessLocation::{External, Internal};
    let mut plan = VecDeque::new();
    if !ask.manual.is_empty() {
        plan.extend(ask.manual.iter().cloned().map(Way::Manual));
        return plan;
    }
    let named = |label: &str| format!("{label}.{domain}");
    let wanted = |place: AccessLocation| ask.view.is_none_or(|view| view == place);
    plan.extend(ask.cached.iter().filter(|cached| wanted(cached.view)).cloned().map(Way::Cached));
    if wanted(Internal) {
        plan.push_back(Way::Autodiscover { name: named("lyncdiscoverinternal") });
    }
    plan.push_back(Way::Autodiscover { name: named("lyncdiscover") });
    if wanted(Internal) {
        let name = named("_sipinternaltls._tcp");
        plan.push_back(Way::Service { name, view: Internal, legacy_tcp: false });
        if ask.legacy_tcp {
            plan.push_back(Way::Service { name: named("_sipinternal._tcp"), view: Internal, legacy_tcp: true });
        }
    }
    if wanted(External) {
        plan.push_back(Way::Service { name: named("_sip._tls"), view: External, legacy_tcp: false });
    }
    for (label, places) in
        [("sipinternal", vec![Internal]), ("sip", vec![Internal, External]), ("sipexternal", vec![External])]
    {
        let places: Vec<_> = places.into_iter().filter(|place| wanted(*place)).collect();
        if !places.is_empty() {
            plan.push_back(Way::Name { name: named(label), places });
        }
    }
    plan
}

/// 5061 inside, 443 outside.
pub(super) fn default_port(view: AccessLocation) -> u16 {
    match view {
        AccessLocation::Internal => 5061,
        AccessLocation::External => 443,
    }
}

/// Lowest priority, then highest weight, then as delivered.
pub(super) fn in_order(mut records: Vec<Srv>) -> Vec<Srv> {
    records.sort_by_key(|record| (record.priority, u16::MAX - record.weight));
    records
}
