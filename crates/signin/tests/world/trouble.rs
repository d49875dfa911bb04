//! A directory, and who checks NTLM answers, that are out of order whenever a test wants it.

use super::{People, World};
use signin::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use signin::directory::{ChangeError, DialPlan, Directory, DirectoryError, Properties, User};
use signin::io::Pending;
use signin::name::{AccountName, Aor};
use signin::provision::contacts::{ContactChange, ContactList};
use signin::provision::presence::kept::{Keep, KeptPresence};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How it does.
#[derive(Debug, Clone, Default)]
pub(crate) enum Health {
    /// Answers at once.
    #[default]
    Well,
    /// Fails at once.
    Fails(DirectoryError),
    /// Answers after a while.
    Slow(Duration),
    /// Never answers.
    Mute,
}

/// The world's people, through somebody whose health changes. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Ailing {
    world: World,
    people: Arc<People>,
    health: Arc<Mutex<Health>>,
}

impl Ailing {
    pub(crate) fn new(world: &World) -> Ailing {
        Ailing { world: world.clone(), people: Arc::new(People(world.clone())), health: Arc::default() }
    }

    pub(crate) fn is(&self, health: Health) {
        *self.health.lock().expect("no test panics while it holds the lock") = health;
    }

    /// What `answer` says, when the health allows.
    async fn when_well<T>(&self, answer: Pending<'_, Result<T, DirectoryError>>) -> Result<T, DirectoryError> {
        let health = self.health.lock().expect("no test panics while it holds the lock").clone();
        match health {
            Health::Well => answer.await,
            Health::Fails(error) => Err(error),
            Health::Slow(time) => {
                self.world.wait(time).await;
                answer.await
            }
            Health::Mute => pending().await,
        }
    }
}

impl Directory for Ailing {
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        Box::pin(self.when_well(self.people.user(aor)))
    }

    fn user_of_account(&self, account: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        Box::pin(self.when_well(self.people.user_of_account(account)))
    }

    fn contacts(&self, aor: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>> {
        Box::pin(self.when_well(self.people.contacts(aor)))
    }

    fn change_contacts(&self, aor: &Aor, change: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>> {
        self.people.change_contacts(aor, change)
    }

    fn changes_elsewhere(&self) -> u64 {
        self.people.changes_elsewhere()
    }

    fn presence(&self, aor: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>> {
        Box::pin(self.when_well(self.people.presence(aor)))
    }

    fn keep_presence(&self, aor: &Aor, changes: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>> {
        Box::pin(self.when_well(self.people.keep_presence(aor, changes)))
    }

    fn policy(&self, aor: &Aor, group: &str) -> Pending<'_, Result<Properties, DirectoryError>> {
        Box::pin(self.when_well(self.people.policy(aor, group)))
    }

    fn dial_plan(&self, name: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        Box::pin(self.when_well(self.people.dial_plan(name)))
    }
}

impl NtlmVerifier for Ailing {
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>> {
        Box::pin(async move {
            self.when_well(Box::pin(std::future::ready(Ok(())))).await?;
            self.people.verify(question).await
        })
    }
}
