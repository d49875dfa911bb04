//! Both halves together in a world in memory: real tickets, real keys, real certificates; no sockets, no waiting.

mod obtaining;
mod service;
mod tickets;

use super::published::{Publication, Published, PublishedCertificates};
use super::server::Certification;
use crate::directory::DirectoryError;
use crate::discover::AccessLocation::Internal;
use crate::discover::tests::deployment::{self, site};
use crate::io::{HttpRequest, Pending};
use crate::name::Aor;
use crate::testing::{EPOCH, World};
use crate::web::{Backing, WebServices};
use mechanism::user_certificate::{Fingerprint, UserCertificateAuthority, new_key};
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use uuid::Uuid;
use zeroize::Zeroizing;

const WEB: &str = "pool1.contoso.test";

/// Keys are made once: each takes a while.
static AUTHORITY_KEY: LazyLock<Zeroizing<Vec<u8>>> = LazyLock::new(|| new_key(2048).expect("a key"));
pub(super) static KEY: LazyLock<Zeroizing<Vec<u8>>> = LazyLock::new(|| new_key(2048).expect("a key"));

pub(super) fn authority() -> Arc<UserCertificateAuthority> {
    let lifetime = Duration::from_secs(3650 * 86_400);
    let certificate = UserCertificateAuthority::certify(&AUTHORITY_KEY, [3; 16], EPOCH, lifetime).expect("DER");
    Arc::new(UserCertificateAuthority::new(&certificate, &AUTHORITY_KEY).expect("an authority"))
}

/// Published certificates in memory. It can be out of order.
#[derive(Default)]
struct Register {
    down: AtomicBool,
    /// All of them are revoked.
    revoked: AtomicBool,
    published: Mutex<Vec<Publication>>,
}

impl Register {
    fn devices(&self) -> Vec<(Aor, Uuid)> {
        let published = self.published.lock().expect("no panic");
        published.iter().map(|publication| (publication.aor.clone(), publication.device)).collect()
    }
}

fn known(publication: &Publication) -> Published {
    Published {
        aor: publication.aor.clone(),
        device: publication.device,
        fingerprint: publication.fingerprint(),
        not_after: publication.not_after,
        revoked_at: None,
    }
}

impl PublishedCertificates for Register {
    fn publish(&self, publication: Publication) -> Pending<'_, Result<(), DirectoryError>> {
        if self.down.load(Ordering::SeqCst) {
            return Box::pin(ready(Err(DirectoryError::failed("out of order".to_owned()))));
        }
        self.published.lock().expect("no panic").push(publication);
        Box::pin(ready(Ok(())))
    }

    fn find(&self, fingerprint: &Fingerprint) -> Pending<'_, Result<Option<Published>, DirectoryError>> {
        let published = self.published.lock().expect("no panic");
        let revoked_at = self.revoked.load(Ordering::SeqCst).then_some(EPOCH);
        let found = published.iter().find(|publication| publication.fingerprint() == *fingerprint).map(known);
        let found = found.map(|known| Published { revoked_at, ..known });
        Box::pin(ready(Ok(found)))
    }

    fn list(&self, aor: &Aor) -> Pending<'_, Result<Vec<Published>, DirectoryError>> {
        let published = self.published.lock().expect("no panic");
        let all = published.iter().filter(|publication| publication.aor == *aor).map(known).collect();
        Box::pin(ready(Ok(all)))
    }

    fn revoke(&self, _: &Aor, _: Option<Uuid>, _: i64) -> Pending<'_, Result<usize, DirectoryError>> {
        Box::pin(ready(Err(DirectoryError::failed("nobody revokes here".to_owned()))))
    }
}

/// A request to the web services, without headers.
fn asked(method: &str, path: &str, body: &str) -> HttpRequest {
    let (method, host, path) = (method.to_owned(), WEB.to_owned(), path.to_owned());
    HttpRequest { method, host, path, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

/// Web services that give out certificates.
struct Deployment {
    world: World,
    register: Arc<Register>,
    backing: Backing,
}

impl Deployment {
    fn new() -> Deployment {
        let world = World::new();
        let register = Arc::new(Register::default());
        let certification = Certification { authority: authority(), published: register.clone() };
        let backing = Backing { certification: Some(certification), ..deployment::backing(&world) };
        Deployment { world, register, backing }
    }

    fn services(&self, secure: bool) -> Arc<WebServices> {
        WebServices::new(site(Internal, secure, WEB), &self.backing)
    }
}
