//! The store as a [`Directory`]: every read is answered at once, a change after its commit.

use crate::store::Store;
use crate::writer::{Batch, unavailable};
use crate::{contacts, edit, presence};
use signin::directory::{ChangeError, DialPlan, Directory, DirectoryError, Properties, User};
use signin::io::Pending;
use signin::name::{AccountName, Aor};
use signin::provision::contacts::{ContactChange, ContactList};
use signin::provision::presence::kept::{Keep, KeptPresence};
use std::future::ready;
use std::sync::Arc;

impl Directory for Store {
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        let user = self.memory.index().by_aor(aor).map(|entry| entry.user.clone());
        Box::pin(ready(Ok(user)))
    }

    fn user_of_account(&self, account: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        let user = self.memory.index().by_login(account).map(|entry| entry.user.clone());
        Box::pin(ready(Ok(user)))
    }

    fn contacts(&self, aor: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>> {
        Box::pin(ready(self.contact_list(aor)))
    }

    /// Takes its place in the order of changes when it is called, not when the future is first polled.
    fn change_contacts(&self, aor: &Aor, change: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>> {
        let aor = aor.clone();
        Box::pin(self.writer.submit(move |batch| change_contacts(batch, aor, change)))
    }

    fn changes_elsewhere(&self) -> u64 {
        self.memory.changes_elsewhere()
    }

    fn presence(&self, aor: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>> {
        Box::pin(ready(self.kept_presence(aor)))
    }

    fn keep_presence(&self, aor: &Aor, changes: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>> {
        let aor = aor.clone();
        Box::pin(self.writer.submit(move |batch| {
            let user = batch.owner(&aor).map_err(unavailable)?;
            let user = user.ok_or_else(|| DirectoryError::failed(format!("there is no user {aor} any more")))?;
            changes.iter().try_for_each(|change| presence::write(batch.tables(), user, change)).map_err(unavailable)
        }))
    }

    fn policy(&self, aor: &Aor, group: &str) -> Pending<'_, Result<Properties, DirectoryError>> {
        let user = self.memory.index().by_aor(aor).map(|entry| entry.user.clone());
        Box::pin(ready(Ok(self.memory.policies().properties(user.as_deref(), group))))
    }

    fn dial_plan(&self, name: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        Box::pin(ready(Ok(self.memory.policies().dial_plan(name))))
    }

    fn pool_dial_plan(&self, aor: &Aor) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        let user = self.memory.index().by_aor(aor).map(|entry| entry.user.clone());
        Box::pin(ready(Ok(self.memory.policies().pool_dial_plan(user.as_deref()))))
    }
}

fn change_contacts(batch: &mut Batch<'_>, aor: Aor, change: ContactChange) -> Result<ContactList, ChangeError> {
    let database = |error| ChangeError::from(unavailable(error));
    let Some(user) = batch.owner(&aor).map_err(database)? else {
        return Err(ChangeError::Invalid(format!("there is no user {aor}")));
    };
    let mut list = batch.take_list(&aor).map_err(database)?;
    let touched = edit::apply(&mut list, change, batch.limits())?;
    contacts::write(batch.tables(), user, &touched, list.delta_num).map_err(database)?;
    batch.keep_list(aor, list.clone());
    Ok(list)
}
