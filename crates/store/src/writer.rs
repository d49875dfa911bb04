//! The one thread that writes.
//!
//! It takes every change that waits, up to a limit, and commits them as one transaction: a disk that syncs a few hundred
//! times a second so still acknowledges thousands of changes. Each change stands in its own savepoint, so that one that
//! is refused does not take the others with it, and is answered after the commit. The order of submission is the order
//! of the changes.
//!
//! Once a second, and before each batch, it looks whether another process changed the file (`PRAGMA data_version` of its
//! own connection, which its own commits do not move) and then reads users and policies anew.

use crate::cache::ListCache;
use crate::edit::ContactLimits;
use crate::index::Index;
use crate::policy::Policies;
use crate::receipt::{Receipt, Reply, pair};
use crate::store::{Settings, Users};
use crate::{contacts, policy, users};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use signin::directory::DirectoryError;
use signin::name::Aor;
use signin::provision::contacts::ContactList;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// Changes that may wait. One more is refused at once: the disk cannot keep up.
const QUEUE: usize = 16_384;
/// Changes committed together at most, so that the first of them does not wait long for the last.
const BATCH: usize = 512;
/// How often to look for changes of another process.
const WATCH: Duration = Duration::from_secs(1);

/// What is kept in memory. The writer changes it, everyone reads it.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) limits: ContactLimits,
    pub(crate) lists: ListCache,
    /// How often lists were changed otherwise than by their users.
    elsewhere: AtomicU64,
    users: Users,
    index: RwLock<Index>,
    policies: RwLock<Policies>,
}

impl Memory {
    /// Reads everything that is kept in memory.
    pub(crate) fn read(conn: &Connection, settings: &Settings) -> rusqlite::Result<Memory> {
        let index = RwLock::new(Index::of(users::load_all(conn)?));
        let policies = RwLock::new(policy::load(conn)?);
        let lists = ListCache::new(settings.cached_lists);
        let (limits, elsewhere) = (settings.limits.clone(), AtomicU64::new(0));
        Ok(Memory { limits, lists, elsewhere, users: settings.users, index, policies })
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes_elsewhere(&self) -> u64 {
        self.elsewhere.load(Ordering::Acquire)
    }

    pub(crate) fn policies(&self) -> RwLockReadGuard<'_, Policies> {
        self.policies.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, conn: &Connection) -> rusqlite::Result<()> {
        let index = Index::of(users::load_all(conn)?);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        self.lists.clear();
        self.elsewhere.fetch_add(1, Ordering::Release);
        self.reload_policies(conn)
    }

    fn reload_policies(&self, conn: &Connection) -> rusqlite::Result<()> {
        let policies = policy::load(conn)?;
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = policies;
        Ok(())
    }
}

/// The handle of the writer's thread. Dropping it writes what is queued and ends the thread.
pub(crate) struct Writer {
    queue: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `conn` and `memory` agree at this moment, as far as this process knows: `version` is the
    /// data version at which `memory` was read.
    pub(crate) fn start(conn: Connection, memory: Arc<Memory>, version: i64) -> std::io::Result<Writer> {
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || Desk { conn, memory, version: Some(version) }.serve(&jobs))?;
        Ok(Writer { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a change, which is carried out whether or not its receipt is kept. Changes are made in the order in which
    /// they are submitted.
    pub(crate) fn submit<T, E>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, E> + Send + 'static,
    ) -> Receipt<T, E>
    where
        T: Send + 'static,
        E: From<DirectoryError> + Send + 'static,
    {
        let (reply, receipt) = pair();
        let job = Box::new(Change { work: Some(work), result: None, reply });
        let Some(queue) = &self.queue else { return receipt };
        if let Err(TrySendError::Full(job)) = queue.try_send(job) {
            job.answer(Err(DirectoryError::failed(format!("{QUEUE} changes are already waiting to be written"))));
        }
        receipt
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there; all that waited for it was told.
            let _ = thread.join();
        }
    }
}

/// One change in the queue.
trait Job: Send {
    /// Makes the change inside the batch; whether it shall be kept.
    fn make(&mut self, batch: &mut Batch<'_>) -> bool;

    /// Tells the outcome, now that the batch is committed or lost.
    fn answer(self: Box<Self>, committed: Result<(), DirectoryError>);
}

struct Change<T, E, W> {
    work: Option<W>,
    result: Option<Result<T, E>>,
    reply: Reply<T, E>,
}

impl<T, E, W> Job for Change<T, E, W>
where
    T: Send,
    E: From<DirectoryError> + Send,
    W: FnOnce(&mut Batch<'_>) -> Result<T, E> + Send,
{
    fn make(&mut self, batch: &mut Batch<'_>) -> bool {
        self.result = self.work.take().map(|work| work(batch));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), DirectoryError>) {
        // A refusal may rest on a change before it in the same batch: when that is lost, so is the refusal.
        match (committed, self.result) {
            (Ok(()), Some(result)) => self.reply.send(result),
            (Err(error), _) => self.reply.send(Err(error.into())),
            (Ok(()), None) => drop(self.reply),
        }
    }
}

/// What one change sees: the file with all changes before it, committed or not.
pub(crate) struct Batch<'a> {
    tx: Transaction<'a>,
    memory: &'a Memory,
    changed: Changed,
}

/// What a batch changed, and memory does not know before the commit.
#[derive(Default)]
struct Changed {
    /// Lists as they are in this transaction.
    lists: HashMap<Aor, ContactList>,
    /// Users whose list differs from the committed one.
    owners: HashSet<Aor>,
    /// A list was changed for its user and not by its user.
    administered: bool,
    /// Row numbers of users to be read again.
    users: HashSet<i64>,
    policies: bool,
}

impl Batch<'_> {
    /// The tables.
    pub(crate) fn tables(&self) -> &Connection {
        &self.tx
    }

    /// The row of whoever is to be given something to keep; made when the users are elsewhere. `None`: there is no such
    /// user.
    pub(crate) fn owner(&mut self, aor: &Aor) -> rusqlite::Result<Option<i64>> {
        let known = users::id_of(&self.tx, aor)?;
        if known.is_some() || self.memory.users == Users::Here {
            return Ok(known);
        }
        let id = users::insert(&self.tx, &users::stand_in(aor))?;
        self.user_changed(id);
        Ok(Some(id))
    }

    pub(crate) fn limits(&self) -> &ContactLimits {
        &self.memory.limits
    }

    /// The contact list of a user, taken out of the batch: [`Batch::keep_list`] puts it back.
    pub(crate) fn take_list(&mut self, aor: &Aor) -> rusqlite::Result<ContactList> {
        if let Some(list) = self.changed.lists.remove(aor) {
            return Ok(list);
        }
        if !self.changed.owners.contains(aor)
            && let Ok(list) = self.memory.lists.get(aor)
        {
            return Ok(ContactList::clone(&list));
        }
        contacts::load(&self.tx, aor)
    }

    /// Notes the list as it is now written.
    pub(crate) fn keep_list(&mut self, aor: Aor, list: ContactList) {
        self.changed.owners.insert(aor.clone());
        self.changed.lists.insert(aor, list);
    }

    /// Notes that the user of a list has to be told of the change.
    pub(crate) fn administered(&mut self) {
        self.changed.administered = true;
    }

    /// Notes that a list was written in a way in which it has to be read again.
    pub(crate) fn forget_list(&mut self, aor: Aor) {
        self.changed.lists.remove(&aor);
        self.changed.owners.insert(aor);
    }

    pub(crate) fn user_changed(&mut self, id: i64) {
        self.changed.users.insert(id);
    }

    pub(crate) fn policies_changed(&mut self) {
        self.changed.policies = true;
    }

    /// Makes one change in a savepoint of its own.
    fn make(&mut self, job: &mut dyn Job) -> rusqlite::Result<()> {
        self.tx.execute_batch("SAVEPOINT change")?;
        if job.make(self) {
            return self.tx.execute_batch("RELEASE change");
        }
        // What the change noted may no longer be so; the file knows.
        self.changed.lists.clear();
        self.tx.execute_batch("ROLLBACK TO change; RELEASE change")
    }

    fn commit(self) -> rusqlite::Result<Changed> {
        self.tx.commit()?;
        Ok(self.changed)
    }
}

/// The writer's thread at work.
struct Desk {
    conn: Connection,
    memory: Arc<Memory>,
    /// The data version with which memory agrees; `None` when it agrees with none.
    version: Option<i64>,
}

impl Desk {
    fn serve(mut self, jobs: &Receiver<Box<dyn Job>>) {
        loop {
            match jobs.recv_timeout(WATCH) {
                Ok(first) => {
                    let batch = std::iter::once(first).chain(jobs.try_iter()).take(BATCH).collect();
                    self.write(batch);
                }
                // Whatever the trouble is, the next batch meets it again and tells those who wait.
                Err(RecvTimeoutError::Timeout) => drop(self.look_for_changes_of_others()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let committed = self.commit(&mut jobs).map_err(unavailable);
        for job in jobs {
            job.answer(committed.clone());
        }
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        let memory = self.memory.clone();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // From here on no other process writes: what memory says holds until the commit.
        let version = data_version(&tx)?;
        if Some(version) != self.version {
            memory.reload(&tx)?;
            self.version = Some(version);
        }
        let mut batch = Batch { tx, memory: &memory, changed: Changed::default() };
        for job in jobs {
            batch.make(job.as_mut())?;
        }
        let changed = batch.commit()?;
        let remembered = self.remember(changed);
        if remembered.is_err() {
            self.version = None; // memory is behind: the next look reads everything
        }
        remembered
    }

    /// Brings memory up to what was committed, before anyone is told.
    fn remember(&mut self, mut changed: Changed) -> rusqlite::Result<()> {
        let lists = changed.owners.into_iter().map(|aor| {
            let list = changed.lists.remove(&aor).map(Arc::new);
            (aor, list)
        });
        self.memory.lists.committed(lists);
        let is_news = changed.administered || !changed.users.is_empty();
        let mut entries = Vec::with_capacity(changed.users.len());
        for id in changed.users {
            entries.push((id, users::load(&self.conn, id)?));
        }
        if !entries.is_empty() {
            let mut index = self.memory.index.write().unwrap_or_else(PoisonError::into_inner);
            for (id, entry) in entries {
                index.remove(id);
                if let Some(entry) = entry {
                    index.put(entry);
                }
            }
        }
        if changed.policies {
            self.memory.reload_policies(&self.conn)?;
        }
        if is_news {
            self.memory.elsewhere.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    fn look_for_changes_of_others(&mut self) -> rusqlite::Result<()> {
        // One snapshot for the version and what is read at it.
        let tx = self.conn.transaction()?;
        let version = data_version(&tx)?;
        if Some(version) != self.version {
            self.memory.reload(&tx)?;
            self.version = Some(version);
        }
        tx.finish()
    }
}

/// A number that moves when another connection has committed since this one last looked.
pub(crate) fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// How the trouble of the database is told to those who asked. It never holds a value of a record.
pub(crate) fn unavailable(error: rusqlite::Error) -> DirectoryError {
    DirectoryError::failed(match error {
        rusqlite::Error::FromSqlConversionFailure(column, _, why) => {
            format!("a record of the store is damaged (column {column}: {why})")
        }
        other => format!("the store failed: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use std::sync::mpsc::channel;

    /// A store whose writer stands still until the sender is dropped, and so has one batch to make of what is submitted.
    fn held() -> (Store, std::sync::mpsc::Sender<()>, Receipt<(), DirectoryError>) {
        let store = Store::in_memory().expect("a store");
        let (release, wait) = channel::<()>();
        let (started, begun) = channel::<()>();
        let receipt = store.writer.submit(move |_| {
            drop(started);
            let _ = wait.recv();
            Ok(())
        });
        let _ = begun.recv();
        (store, release, receipt)
    }

    #[test]
    fn changes_that_wait_are_committed_together_up_to_a_limit() {
        let (store, release, first) = held();
        let changes: Vec<_> = (0..700)
            .map(|number| {
                store.writer.submit::<usize, DirectoryError>(move |batch| {
                    batch.user_changed(number);
                    Ok(batch.changed.users.len())
                })
            })
            .collect();
        drop(release);
        first.wait().expect("the first batch");
        let places: Vec<usize> = changes.into_iter().map(|receipt| receipt.wait().expect("committed")).collect();
        let expected: Vec<usize> = (1..=BATCH).chain(1..=700 - BATCH).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let (store, release, first) = held();
        let waiting: Vec<_> = (0..QUEUE).map(|_| store.refresh()).collect();
        let refused = store.refresh().wait().expect_err("one too many");
        assert!(refused.why.contains("waiting"), "{refused}");
        drop(release);
        first.wait().expect("the first batch");
        assert!(waiting.into_iter().all(|receipt| receipt.wait().is_ok()));
    }

    #[test]
    fn a_batch_that_is_lost_is_told_to_everyone_in_it_and_the_next_one_works() {
        let (store, release, first) = held();
        let before = store.refresh();
        let refused =
            store.writer.submit::<(), DirectoryError>(|_| Err(DirectoryError::failed("for its own reason".to_owned())));
        // What SQLite does by itself when the disk is full.
        let fatal = store.writer.submit::<(), DirectoryError>(|batch| {
            batch.tables().execute_batch("ROLLBACK").map_err(unavailable)?;
            Err(DirectoryError::failed("disk full".to_owned()))
        });
        let after = store.refresh();
        drop(release);
        first.wait().expect("the first batch");
        for receipt in [before, refused, fatal, after] {
            let told = receipt.wait().expect_err("nothing of the batch was written");
            assert!(told.why.starts_with("the store failed"), "{told}");
        }
        store.refresh().wait().expect("the writer goes on");
    }
}
