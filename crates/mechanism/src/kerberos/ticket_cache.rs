//! The user's ticket cache, as a file: what `kinit` leaves. The format of MIT Kerberos, versions 3 and 4.
//!
//! ```text
//! 05 04   length of the header, header (version 4)   default principal   credential, credential, …
//! principal:  type (4)  number of components (4)  realm  components        each text: length (4), bytes
//! credential: client  service  type (2)  key  times (4 x 4)  is_skey (1)  flags (4)  addresses  authdata  ticket  second ticket
//! ```
//!
//! Integers are big-endian. Version 3 has no header and the type of a key twice. Entries of the library's own (realm `X-CACHECONF:`) are passed over.

use super::Now;
use super::client::Credential;
use super::crypto::{EncryptionType, Key};
use super::name::{NameType, Principal};
use std::fmt;
use zeroize::Zeroizing;

/// Largest file read, in bytes.
const MAX_FILE: usize = 4 << 20;

/// Most credentials read.
const MAX_CREDENTIALS: usize = 4096;

/// Realm of entries that are settings.
const SETTINGS: &str = "X-CACHECONF:";

/// A file that is no ticket cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// Another format, or another version.
    #[error("this is not a ticket cache of version 3 or 4")]
    Format,
    /// It ends in the middle, or says lengths that cannot be.
    #[error("the ticket cache is damaged ({0})")]
    Damaged(&'static str),
    /// Larger than any real one.
    #[error("the ticket cache is too large")]
    TooLarge,
}

/// The tickets of a user.
#[derive(Clone)]
pub struct TicketCache {
    principal: Principal,
    credentials: Vec<Credential>,
}

impl fmt::Debug for TicketCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketCache({}, {} tickets)", self.principal, self.credentials.len())
    }
}

impl TicketCache {
    /// A cache of these tickets.
    pub fn new(principal: Principal, credentials: Vec<Credential>) -> TicketCache {
        TicketCache { principal, credentials }
    }

    /// Reads a file. A ticket whose key nobody here can use is passed over.
    pub fn parse(file: &[u8]) -> Result<TicketCache, CacheError> {
        if file.len() > MAX_FILE {
            return Err(CacheError::TooLarge);
        }
        let mut reader = Reader(file);
        let version = match reader.u16("version").map_err(|_| CacheError::Format)? {
            0x0503 => Version::Three,
            0x0504 => {
                let length = reader.u16("header")?;
                reader.take(length.into(), "header")?;
                Version::Four
            }
            _ => return Err(CacheError::Format),
        };
        let principal = reader.principal()?.ok_or(CacheError::Damaged("default principal"))?;
        let mut credentials = Vec::new();
        while !reader.0.is_empty() {
            if credentials.len() == MAX_CREDENTIALS {
                return Err(CacheError::TooLarge);
            }
            credentials.extend(reader.credential(version)?);
        }
        Ok(TicketCache { principal, credentials })
    }

    /// Writes a file of version 4.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut file = Zeroizing::new(vec![5, 4, 0, 0]);
        write_principal(&mut file, &self.principal);
        for credential in &self.credentials {
            write_principal(&mut file, &credential.client);
            write_principal(&mut file, &credential.service);
            let number = u16::try_from(credential.session.etype().number()).unwrap_or_default();
            file.extend_from_slice(&number.to_be_bytes());
            write_data(&mut file, credential.session.bytes());
            let seconds = |time: i64| u32::try_from(time).unwrap_or(u32::MAX).to_be_bytes();
            // The last one is for tickets that can be renewed.
            for time in [credential.authenticated, credential.starts, credential.ends, 0] {
                file.extend_from_slice(&seconds(time));
            }
            file.push(0);
            file.extend_from_slice(&credential.flags.to_be_bytes());
            // Neither addresses nor authorization data.
            file.extend_from_slice(&[0; 8]);
            write_data(&mut file, &credential.ticket);
            write_data(&mut file, &[]);
        }
        file
    }

    /// Whose they are.
    pub fn default_principal(&self) -> &Principal {
        &self.principal
    }

    /// Every ticket.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// The ticket for this service that is good now; of several the one that lasts longest.
    pub fn ticket_for(&self, service: &Principal, now: Now) -> Option<&Credential> {
        let fits = |one: &&Credential| one.service.eq_ignoring_case(service) && one.usable_at(now);
        self.credentials.iter().filter(fits).max_by_key(|one| one.ends)
    }

    /// The ticket-granting ticket of this realm, when it is good now.
    pub fn tgt(&self, realm: &str, now: Now) -> Option<&Credential> {
        self.ticket_for(&Principal::ticket_granting(realm, realm).ok()?, now)
    }
}

fn write_principal(file: &mut Vec<u8>, principal: &Principal) {
    file.extend_from_slice(&principal.name_type.number().to_be_bytes());
    file.extend_from_slice(&(principal.components.len() as u32).to_be_bytes());
    write_data(file, principal.realm.as_bytes());
    for component in &principal.components {
        write_data(file, component.as_bytes());
    }
}

fn write_data(file: &mut Vec<u8>, data: &[u8]) {
    file.extend_from_slice(&(data.len() as u32).to_be_bytes());
    file.extend_from_slice(data);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Three,
    Four,
}

/// What is left of a file.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], CacheError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CacheError::Damaged(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CacheError> {
        let (number, rest) = self.0.split_first_chunk::<N>().ok_or(CacheError::Damaged(what))?;
        self.0 = rest;
        Ok(*number)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, CacheError> {
        self.number(what).map(u16::from_be_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, CacheError> {
        self.number(what).map(u32::from_be_bytes)
    }

    fn data(&mut self, what: &'static str) -> Result<&'a [u8], CacheError> {
        let length = self.u32(what)?;
        self.take(length as usize, what)
    }

    /// `None`: a name that is none, as settings have.
    fn principal(&mut self) -> Result<Option<Principal>, CacheError> {
        let what = "principal";
        let kind = self.u32(what)?.cast_signed();
        let count = self.u32(what)?;
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| CacheError::Damaged(what));
        let realm = text(self.data(what)?)?;
        let mut components = Vec::new();
        for _ in 0..count {
            components.push(text(self.data(what)?)?);
        }
        Ok(Principal::new(NameType::from_number(kind), components, realm).ok())
    }

    /// `None`: an entry nobody here can use.
    fn credential(&mut self, version: Version) -> Result<Option<Credential>, CacheError> {
        let what = "credential";
        let client = self.principal()?;
        let service = self.principal()?;
        let etype = EncryptionType::from_number(self.u16(what)?.into());
        if version == Version::Three {
            self.u16(what)?;
        }
        let session = Key::new(etype, self.data(what)?).ok();
        let authenticated = self.u32(what)?;
        let starts = self.u32(what)?;
        let ends = self.u32(what)?;
        self.u32(what)?;
        self.take(1, what)?;
        let flags = self.u32(what)?;
        for _ in 0..2 {
            // Addresses, then authorization data.
            for _ in 0..self.u32(what)? {
                self.u16(what)?;
                self.data(what)?;
            }
        }
        let ticket = self.data(what)?.to_vec();
        self.data(what)?;
        let (Some(client), Some(service), Some(session)) = (client, service, session) else { return Ok(None) };
        if service.realm == SETTINGS {
            return Ok(None);
        }
        // No start stands for "at once".
        let starts = if starts == 0 { authenticated } else { starts };
        let (authenticated, starts, ends) = (authenticated.into(), starts.into(), ends.into());
        Ok(Some(Credential { client, service, ticket, session, flags, authenticated, starts, ends }))
    }
}
