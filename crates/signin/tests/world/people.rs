//! Who lives in the world: users, their contacts and passwords, as a directory and a verifier of NTLM answers tell of them.

use super::{World, aor};
use mechanism::ntlm::NtHash;
use signin::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use signin::directory::{ChangeError, DialPlan, Directory, DirectoryError, Properties, User};
use signin::io::Pending;
use signin::name::{AccountName, Aor};
use signin::provision::contacts::{ContactChange, ContactList, Edit, Group};
use signin::provision::presence::kept::{Keep, KeptPresence};
use std::future::ready;
use std::sync::Arc;

/// Everybody's password is made of the name.
pub(crate) fn password(name: &str) -> String {
    format!("{name}'s password")
}

impl World {
    pub(crate) fn user(&self, name: &str, home: Option<&str>, backup: Option<&str>) {
        let pool = |name: &str| format!("{name}.contoso.test");
        let user = User {
            display_name: name.to_owned(),
            home_pool: home.map(pool),
            backup_pool: backup.map(pool),
            ..User::new(aor(name))
        };
        let mut state = self.state();
        state.users.insert(user.aor.clone(), Arc::new(user));
        state.changes += 1;
    }

    /// Administration changes somebody.
    pub(crate) fn administer(&self, name: &str, change: impl FnOnce(&mut User)) {
        let mut state = self.state();
        change(Arc::make_mut(state.users.get_mut(&aor(name)).expect("there is such a user")));
        state.changes += 1;
    }

    /// Somebody has another password now.
    pub(crate) fn change_password(&self, name: &str) {
        self.state().passwords.insert(name.to_owned(), "another one".to_owned());
    }
}

/// The world's users: as the directory has them, and with their passwords.
pub(crate) struct People(pub(crate) World);

impl Directory for People {
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        Box::pin(ready(Ok(self.0.state().users.get(aor).cloned())))
    }

    fn user_of_account(&self, account: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        Box::pin(ready(Ok(self.0.state().users.get(&aor(account.user.split('@').next().unwrap_or_default())).cloned())))
    }

    fn contacts(&self, aor: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>> {
        let list = self.0.state().lists.get(aor).cloned();
        Box::pin(ready(Ok(list.unwrap_or_else(ContactList::empty))))
    }

    fn change_contacts(&self, aor: &Aor, change: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>> {
        let mut state = self.0.state();
        let list = state.lists.entry(aor.clone()).or_insert_with(ContactList::empty);
        let changed = match change.delta_num {
            Some(number) if number != list.delta_num => Err(ChangeError::WrongDelta { current: list.delta_num }),
            _ => {
                edit(list, change.edit);
                list.delta_num += 1;
                Ok(list.clone())
            }
        };
        Box::pin(ready(changed))
    }

    fn changes_elsewhere(&self) -> u64 {
        self.0.state().changes
    }

    fn presence(&self, _: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>> {
        Box::pin(ready(Ok(KeptPresence::default())))
    }

    fn keep_presence(&self, _: &Aor, _: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>> {
        Box::pin(ready(Ok(())))
    }

    fn policy(&self, _: &Aor, _: &str) -> Pending<'_, Result<Properties, DirectoryError>> {
        Box::pin(ready(Ok(Properties::new())))
    }

    fn dial_plan(&self, _: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        Box::pin(ready(Ok(None)))
    }
}

fn edit(list: &mut ContactList, edit: Edit) {
    match edit {
        Edit::SetContact(contact) => {
            list.contacts.retain(|known| known.aor != contact.aor);
            list.contacts.push(contact);
        }
        Edit::DeleteContact(aor) => list.contacts.retain(|known| known.aor != aor),
        Edit::AddGroup { name, external_uri } => {
            let id = list.groups.iter().map(|group| group.id).max().unwrap_or(0) + 1;
            list.groups.push(Group { id, name, external_uri });
        }
        Edit::ModifyGroup(group) => {
            list.groups.retain(|known| known.id != group.id);
            list.groups.push(group);
        }
        Edit::DeleteGroup(id) => list.groups.retain(|known| known.id != id),
    }
}

impl NtlmVerifier for People {
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>> {
        let AccountName { domain, user } = &question.account;
        let changed = self.0.state().passwords.get(user).cloned();
        let proof = NtHash::of_password(&changed.unwrap_or_else(|| password(user)))
            .session_base_key(user, domain, &question.server_challenge, &question.nt_response)
            .map(|session_base_key| NtlmProof { account: question.account.clone(), session_base_key });
        Box::pin(ready(proof.map_err(|_| Refusal::Credentials { why: "wrong password".to_owned() })))
    }
}
