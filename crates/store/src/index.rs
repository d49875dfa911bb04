//! All users in memory, found by address and by login name. A look-up costs one or two hashes and no disk.

use crate::users::{Entry, LoginKey};
use signin::name::{AccountName, Aor};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Index {
    by_id: HashMap<i64, Arc<Entry>>,
    by_aor: HashMap<Aor, Arc<Entry>>,
    by_login: HashMap<LoginKey, Arc<Entry>>,
    /// Users by the name after `DOMAIN\`; more than one when several domains have such a name.
    by_bare_name: HashMap<String, Vec<Arc<Entry>>>,
}

impl Index {
    pub(crate) fn of(entries: Vec<Entry>) -> Index {
        let mut index = Index::default();
        for entry in entries {
            index.put(entry);
        }
        index
    }

    /// Adds a user, or replaces the one with the same row number.
    pub(crate) fn put(&mut self, entry: Entry) {
        self.remove(entry.id);
        let entry = Arc::new(entry);
        self.by_id.insert(entry.id, entry.clone());
        self.by_aor.insert(entry.user.aor.clone(), entry.clone());
        for login in &entry.logins {
            let key = LoginKey::of(login);
            if !key.domain.is_empty() {
                let namesakes = self.by_bare_name.entry(key.name.clone()).or_default();
                if !namesakes.iter().any(|known| known.id == entry.id) {
                    namesakes.push(entry.clone());
                }
            }
            self.by_login.insert(key, entry.clone());
        }
    }

    pub(crate) fn remove(&mut self, id: i64) {
        let Some(entry) = self.by_id.remove(&id) else { return };
        // A later user may have taken the address or a name over: only what still leads here is removed.
        let leads_here = |found: &Arc<Entry>| found.id == id;
        if self.by_aor.get(&entry.user.aor).is_some_and(leads_here) {
            self.by_aor.remove(&entry.user.aor);
        }
        for login in &entry.logins {
            let key = LoginKey::of(login);
            if let Some(namesakes) = self.by_bare_name.get_mut(&key.name) {
                namesakes.retain(|known| known.id != id);
                if namesakes.is_empty() {
                    self.by_bare_name.remove(&key.name);
                }
            }
            if self.by_login.get(&key).is_some_and(leads_here) {
                self.by_login.remove(&key);
            }
        }
    }

    pub(crate) fn by_aor(&self, aor: &Aor) -> Option<&Arc<Entry>> {
        self.by_aor.get(aor)
    }

    /// The user an account name belongs to. Besides the names as stored: `contoso.test\alice` is the UPN
    /// `alice@contoso.test`, and a bare `alice` is `CONTOSO\alice` when no other domain has an `alice`.
    pub(crate) fn by_login(&self, account: &AccountName) -> Option<&Arc<Entry>> {
        let key = LoginKey::of(account);
        if let Some(entry) = self.by_login.get(&key) {
            return Some(entry);
        }
        if key.domain.is_empty() {
            return match self.by_bare_name.get(&key.name)?.as_slice() {
                [only] => Some(only),
                _ => None,
            };
        }
        let upn = format!("{}@{}", key.name, key.domain);
        self.by_login.get(&LoginKey { domain: String::new(), name: upn })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
