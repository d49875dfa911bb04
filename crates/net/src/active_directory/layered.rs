//! Users from Active Directory, everything else about them from elsewhere.

use super::ldap::LdapDirectory;
use signin::directory::{ChangeError, DialPlan, Directory, DirectoryError, Properties, User};
use signin::io::Pending;
use signin::name::{AccountName, Aor};
use signin::provision::contacts::{ContactChange, ContactList};
use signin::provision::presence::kept::{Keep, KeptPresence};
use std::sync::Arc;

/// Who somebody is says Active Directory; contacts, presence, policies and dial plans are kept by another directory, by address.
///
/// That other one has to take what belongs to addresses it knows no user of. Policies of a site are out of its sight: it
/// does not know the home pool. Active Directory does not tell when somebody is changed there: who is disabled is
/// refused at the next REGISTER.
pub struct LayeredDirectory {
    users: Arc<LdapDirectory>,
    rest: Arc<dyn Directory>,
}

impl LayeredDirectory {
    /// `users` says who there is, `rest` keeps what belongs to them.
    pub fn new(users: Arc<LdapDirectory>, rest: Arc<dyn Directory>) -> LayeredDirectory {
        LayeredDirectory { users, rest }
    }
}

impl Directory for LayeredDirectory {
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        let aor = aor.clone();
        Box::pin(async move { self.users.user(&aor).await })
    }

    fn user_of_account(&self, account: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        let account = account.clone();
        Box::pin(async move { self.users.user_of_account(&account).await })
    }

    fn contacts(&self, aor: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>> {
        self.rest.contacts(aor)
    }

    fn change_contacts(&self, aor: &Aor, change: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>> {
        self.rest.change_contacts(aor, change)
    }

    fn changes_elsewhere(&self) -> u64 {
        self.rest.changes_elsewhere()
    }

    fn presence(&self, aor: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>> {
        self.rest.presence(aor)
    }

    fn keep_presence(&self, aor: &Aor, changes: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>> {
        self.rest.keep_presence(aor, changes)
    }

    fn policy(&self, aor: &Aor, group: &str) -> Pending<'_, Result<Properties, DirectoryError>> {
        self.rest.policy(aor, group)
    }

    fn dial_plan(&self, name: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        self.rest.dial_plan(name)
    }

    fn pool_dial_plan(&self, aor: &Aor) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        self.rest.pool_dial_plan(aor)
    }
}
