//! The store itself: opening it, and what it is made of.

use crate::edit::ContactLimits;
use crate::receipt::Receipt;
use crate::schema::{OpenError, open_for_reading, open_for_writing};
use crate::writer::{Memory, Writer, data_version, unavailable};
use crate::{contacts, presence};
use rusqlite::{Connection, OpenFlags};
use signin::directory::DirectoryError;
use signin::name::Aor;
use signin::provision::contacts::ContactList;
use signin::provision::presence::kept::KeptPresence;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How a store behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Limits of contact lists.
    pub limits: ContactLimits,
    /// Contact lists kept in memory; a list of 100 contacts takes some 20 KB.
    pub cached_lists: usize,
    /// Who says which users there are.
    pub users: Users,
}

/// Who says which users there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// This store: nothing is kept for an address that is nobody's here.
    Here,
    /// Another directory, over which this store is layered: whoever changes contacts or presence, publishes a
    /// certificate or is given a policy is somebody. The store then makes a user who cannot log on, to hold what is kept.
    Elsewhere,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { limits: ContactLimits::default(), cached_lists: 4096, users: Users::Here }
    }
}

/// Users and what belongs to them, in one SQLite file. See the [crate's page](crate) for what it promises.
///
/// Dropping it writes what is still queued.
pub struct Store {
    pub(crate) memory: Arc<Memory>,
    pub(crate) writer: Writer,
    /// Reads what is not in memory: some 50 µs each time, so callers simply take turns.
    reader: Mutex<Connection>,
}

impl Store {
    /// Opens the store in this file, with default settings; makes it when there is none.
    pub fn open(path: &Path) -> Result<Store, OpenError> {
        Store::open_with(path, Settings::default())
    }

    /// Opens the store in this file; makes it when there is none.
    pub fn open_with(path: &Path, settings: Settings) -> Result<Store, OpenError> {
        create_private(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Store::start(path, flags, settings)
    }

    /// A store that lives only as long as this value; for tests and throw-away labs.
    pub fn in_memory() -> Result<Store, OpenError> {
        Store::in_memory_with(Settings::default())
    }

    /// The same with other settings.
    pub fn in_memory_with(settings: Settings) -> Result<Store, OpenError> {
        // SQLite's `memdb` shares a name that begins with a slash among the connections of this process.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("file:/store-{}?vfs=memdb", NEXT.fetch_add(1, Ordering::Relaxed));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Store::start(Path::new(&name), flags, settings)
    }

    fn start(path: &Path, flags: OpenFlags, settings: Settings) -> Result<Store, OpenError> {
        let mut conn = open_for_writing(path, flags)?;
        let reader = open_for_reading(path, flags)?;
        let (memory, version) = read_all(&mut conn, settings).map_err(|error| match error {
            rusqlite::Error::FromSqlConversionFailure(..) => {
                OpenError::Damaged { path: path.to_owned(), what: unavailable(error).why }
            }
            source => OpenError::Sqlite { path: path.to_owned(), source },
        })?;
        let memory = Arc::new(memory);
        let writer = Writer::start(conn, memory.clone(), version)
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Store { memory, writer, reader: Mutex::new(reader) })
    }

    /// Looks at once whether another process changed the file; by itself the store looks every second. What the other
    /// had committed before this call is seen by reads that begin after the receipt is answered.
    pub fn refresh(&self) -> Receipt<(), DirectoryError> {
        // Every batch begins by looking, also one in which nothing is to be done.
        self.writer.submit(|_| Ok(()))
    }

    /// The contact list as committed, from memory or from the file.
    pub fn contact_list(&self, aor: &Aor) -> Result<ContactList, DirectoryError> {
        let since = match self.memory.lists.get(aor) {
            Ok(list) => return Ok(ContactList::clone(&list)),
            Err(since) => since,
        };
        if self.memory.index().by_aor(aor).is_none() {
            // Not worth a place in memory: there are more addresses than users.
            return Ok(ContactList::empty());
        }
        let list = self.read(|conn| contacts::load_consistently(conn, aor))?;
        self.memory.lists.fill(aor, Arc::new(list.clone()), since);
        Ok(list)
    }

    /// What is kept of a user's presence, as committed. Whoever asks for it keeps it, so it is read from the file.
    pub(crate) fn kept_presence(&self, aor: &Aor) -> Result<KeptPresence, DirectoryError> {
        if self.memory.index().by_aor(aor).is_none() {
            return Ok(KeptPresence::default());
        }
        self.read(|conn| presence::load_consistently(conn, aor))
    }

    /// Reads what is not in memory.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DirectoryError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut reader).map_err(unavailable)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} users)", self.user_count())
    }
}

/// Reads memory and the version it agrees with in one snapshot.
fn read_all(conn: &mut Connection, settings: Settings) -> rusqlite::Result<(Memory, i64)> {
    let tx = conn.transaction()?;
    let version = data_version(&tx)?;
    let memory = Memory::read(&tx, &settings)?;
    tx.finish()?;
    Ok((memory, version))
}

/// Makes the file readable for its owner only; SQLite gives its log the same mode. A file that is there keeps its mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
