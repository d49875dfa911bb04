//! Containers: who sees which of the user's publications. `[MS-PRES]` §2.2.2.2, §3.5.

use super::message::{Conflict, ContainerChange, ContainerEntry, Member};
use super::presentity::{Quota, Refusal};
use crate::name::Aor;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Container of the blocked.
pub(crate) const BLOCKED: u16 = 32_000;
/// Container of those outside the enterprise.
pub(crate) const EXTERNAL: u16 = 100;
/// What the user sees of himself: as the closest friends do.
const CLOSEST: u16 = 400;
/// The last of the containers whose members are fixed: default, self, and the two that are aggregated.
const LAST_FIXED: u16 = 3;
/// Containers others can be put into, as told to clients.
const LISTED: [u16; 5] = [EXTERNAL, 200, 300, CLOSEST, BLOCKED];

#[derive(Debug, Clone, Default)]
struct Container {
    version: u32,
    members: BTreeSet<Member>,
}

/// The containers of one user. One nobody ever touched is empty and at version 0.
#[derive(Debug, Clone)]
pub(crate) struct Containers(BTreeMap<u16, Container>);

impl Default for Containers {
    /// Everybody in the enterprise may see what colleagues see, everybody federated what is for those outside.
    fn default() -> Containers {
        let with = |member| Container { version: 1, members: BTreeSet::from([member]) };
        Containers(BTreeMap::from([(EXTERNAL, with(Member::Federated)), (200, with(Member::SameEnterprise))]))
    }
}

impl Containers {
    /// The containers of a user of whom these are kept.
    pub(crate) fn of(kept: Vec<ContainerEntry>) -> Containers {
        let mut containers = Containers::default();
        for ContainerEntry { id, version, members } in kept {
            containers.0.insert(id, Container { version, members: members.into_iter().collect() });
        }
        containers
    }

    /// Changes containers, all of them or none. Gives them as they are then.
    pub(crate) fn change(
        &mut self,
        changes: &[ContainerChange],
        quota: &Quota,
    ) -> Result<Vec<ContainerEntry>, Refusal> {
        if let Some(change) = changes.iter().find(|change| change.id <= LAST_FIXED) {
            return Err(Refusal::NotYours(format!("container {}", change.id)));
        }
        let version = |id| self.0.get(&id).map_or(0, |container| container.version);
        let conflicts: Vec<Conflict> = changes
            .iter()
            .enumerate()
            .map(|(at, change)| Conflict { index: at + 1, version: change.version, current: version(change.id) })
            .filter(|conflict| conflict.version != conflict.current)
            .collect();
        if !conflicts.is_empty() {
            return Err(Refusal::Conflict(conflicts));
        }
        let members: usize = self.0.values().map(|container| container.members.len()).sum();
        let added: usize = changes.iter().map(|change| change.members.len()).sum();
        if members + added > quota.members || self.0.len() + changes.len() > quota.members {
            return Err(Refusal::TooMuch("Too many members of containers."));
        }
        Ok(changes.iter().map(|change| self.apply(change)).collect())
    }

    fn apply(&mut self, change: &ContainerChange) -> ContainerEntry {
        let container = self.0.entry(change.id).or_default();
        for (add, member) in &change.members {
            if *add {
                container.members.insert(member.clone());
            } else {
                container.members.remove(member);
            }
        }
        container.version = container.version.wrapping_add(1).max(1);
        let members = container.members.iter().cloned().collect();
        ContainerEntry { id: change.id, version: container.version, members }
    }

    /// The one container a watcher sees. User entries win, the highest number first; then the domain, then the rest.
    pub(crate) fn seen_by(&self, watcher: &Aor, owner: &Aor, same_enterprise: bool) -> u16 {
        if owner == watcher {
            return CLOSEST;
        }
        let first = [Member::User(watcher.clone()), Member::Domain(watcher.domain().as_str().to_owned())];
        let place: &[Member] =
            if same_enterprise { &[Member::SameEnterprise] } else { &[Member::Federated, Member::PublicCloud] };
        let candidates = first.iter().chain(place).chain(&[Member::Everyone]);
        let mut found = candidates.filter_map(|member| self.0.iter().rev().find(|(_, c)| c.members.contains(member)));
        found.next().map_or(0, |(id, _)| *id)
    }

    /// Containers with their members: those named, or all that clients are told of.
    pub(crate) fn xml(&self, only: Option<&[u16]>) -> String {
        let mut xml = String::from("<containers xmlns=\"http://schemas.microsoft.com/2006/09/sip/containers\">");
        let ids: BTreeSet<u16> = match only {
            Some(ids) => ids.iter().copied().collect(),
            None => LISTED.iter().chain(self.0.keys()).copied().collect(),
        };
        for id in ids {
            let (version, members) = self.0.get(&id).map_or((0, None), |c| (c.version, Some(&c.members)));
            let _ = write!(xml, "<container id=\"{id}\" version=\"{version}\">");
            for member in members.into_iter().flatten() {
                let _ = write!(xml, "<member{}/>", member.attributes());
            }
            xml.push_str("</container>");
        }
        xml.push_str("</containers>");
        xml
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(text: &str) -> Aor {
        text.parse().expect("a test address")
    }

    fn with(entries: &[(u16, &[Member])]) -> Containers {
        let entry =
            |(id, members): &(u16, &[Member])| ContainerEntry { id: *id, version: 1, members: members.to_vec() };
        Containers::of(entries.iter().map(entry).collect())
    }

    #[test]
    fn each_watcher_sees_one_container() {
        let owner = aor("alice@contoso.test");
        let user = |name: &str| Member::User(aor(name));
        let domain = |name: &str| Member::Domain(name.to_owned());
        let (bob, eve) = ("bob@contoso.test", "eve@fabrikam.test");
        type Case<'a> = (&'a [(u16, &'a [Member])], &'a str, bool, u16);
        let cases: &[Case<'_>] = &[
            (&[], bob, true, 200),
            (&[], eve, false, 100),
            (&[], "alice@contoso.test", true, 400),
            (&[(400, &[user(bob)])], bob, true, 400),
            (&[(400, &[user(bob)]), (BLOCKED, &[user(bob)])], bob, true, BLOCKED),
            // A user entry wins, also in a container with a lower number.
            (&[(100, &[user(bob)])], bob, true, 100),
            (&[(300, &[domain("fabrikam.test")])], eve, false, 300),
            (&[(300, &[domain("fabrikam.test")]), (400, &[user(eve)])], eve, false, 400),
            (&[(100, &[])], eve, false, 0),
            (&[(100, &[Member::PublicCloud])], eve, false, 100),
            (&[(100, &[]), (200, &[]), (300, &[Member::Everyone])], eve, false, 300),
            (&[(100, &[]), (200, &[]), (300, &[Member::Everyone])], bob, true, 300),
            (&[(200, &[])], bob, true, 0),
            (&[(777, &[Member::SameEnterprise])], bob, true, 777),
        ];
        for (entries, watcher, ours, expected) in cases {
            assert_eq!(with(entries).seen_by(&aor(watcher), &owner, *ours), *expected, "{entries:?} {watcher}");
        }
    }

    #[test]
    fn containers_change_together_or_not_at_all() {
        let mut containers = Containers::default();
        let change =
            |id, version, members: &[(bool, Member)]| ContainerChange { id, version, members: members.to_vec() };
        let bob = || Member::User(aor("bob@contoso.test"));
        let quota = Quota { members: 4, ..Quota::default() };
        let both = [change(200, 1, &[(true, bob())]), change(400, 7, &[])];
        let conflict = Conflict { index: 2, version: 7, current: 0 };
        assert_eq!(containers.change(&both, &quota), Err(Refusal::Conflict(vec![conflict])));
        assert_eq!(
            containers.change(&[change(200, 1, &[(true, bob())])], &quota),
            Ok(vec![ContainerEntry { id: 200, version: 2, members: vec![bob(), Member::SameEnterprise] }])
        );
        for fixed in 0..=3 {
            assert!(matches!(containers.change(&[change(fixed, 0, &[])], &quota), Err(Refusal::NotYours(_))));
        }
        let many = [change(400, 0, &[(true, bob()), (true, Member::Everyone)])];
        assert!(matches!(containers.change(&many, &quota), Err(Refusal::TooMuch(_))));
    }
}
