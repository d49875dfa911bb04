//! A user's certificate renewed before it ends, by a client that stays signed in: real certificates and web services, in
//! memory and in virtual time.

mod phone;
mod world;

use futures_util::future::{pending, ready};
use futures_util::stream::poll_fn;
use mechanism::tls_dsk::{self, Policy};
use mechanism::user_certificate::{
    CertificateRequest, Fingerprint, Order, RequestLimits, UserCertificateAuthority, new_key, request,
};
use phone::sign_in;
use signin::authenticate::certificate::judge::Judge;
use signin::authenticate::certificate::published::{Publication, Published, PublishedCertificates};
use signin::authenticate::certificate::server::Certification;
use signin::authenticate::keyring::{Keyring, UserCertificate};
use signin::authenticate::offer::{Offer, TlsDsk};
use signin::client::SignIn;
use signin::directory::DirectoryError;
use signin::discover::AccessLocation;
use signin::discover::server::Site;
use signin::io::{Io, Pending};
use signin::name::Aor;
use signin::old_cryptography::OldCryptography;
use signin::provision::picture::Picture;
use signin::stay::{End, Happening, Onlooker, Wish, stay};
use signin::web::{Backing, WebServices};
use signin::web_ticket::authority::TicketAuthority;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use uuid::Uuid;
use world::{EPOCH, People, Plan, World, aor};

const HOUR: i64 = 3600;

/// Published certificates in memory.
#[derive(Default)]
struct Register {
    down: AtomicBool,
    /// Says nothing at all.
    mute: AtomicBool,
    published: Mutex<Vec<Publication>>,
}

impl PublishedCertificates for Register {
    fn publish(&self, publication: Publication) -> Pending<'_, Result<(), DirectoryError>> {
        if self.down.load(Ordering::SeqCst) {
            return Box::pin(ready(Err(DirectoryError::failed("out of order"))));
        }
        if self.mute.load(Ordering::SeqCst) {
            return Box::pin(pending());
        }
        self.published.lock().expect("no panic").push(publication);
        Box::pin(ready(Ok(())))
    }

    fn find(&self, fingerprint: &Fingerprint) -> Pending<'_, Result<Option<Published>, DirectoryError>> {
        let published = self.published.lock().expect("no panic");
        let found = published.iter().find(|publication| publication.fingerprint() == *fingerprint);
        let known = |publication: &Publication| Published {
            aor: publication.aor.clone(),
            device: publication.device,
            fingerprint: publication.fingerprint(),
            not_after: publication.not_after,
            revoked_at: None,
        };
        Box::pin(ready(Ok(found.map(known))))
    }

    fn list(&self, _: &Aor) -> Pending<'_, Result<Vec<Published>, DirectoryError>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn revoke(&self, _: &Aor, _: Option<Uuid>, _: i64) -> Pending<'_, Result<usize, DirectoryError>> {
        Box::pin(ready(Err(DirectoryError::failed("nobody revokes here"))))
    }
}

/// One certificate in memory.
#[derive(Debug, Default)]
struct Pocket(Mutex<Option<UserCertificate>>);

impl Keyring for Pocket {
    fn load(&self, _: &Aor) -> Option<UserCertificate> {
        self.0.lock().expect("no panic").clone()
    }

    fn save(&self, _: &Aor, certificate: &UserCertificate) -> Result<(), String> {
        *self.0.lock().expect("no panic") = Some(certificate.clone());
        Ok(())
    }

    fn forget(&self, _: &Aor) {
        *self.0.lock().expect("no panic") = None;
    }
}

struct Deployment {
    world: World,
    authority: Arc<UserCertificateAuthority>,
    register: Arc<Register>,
}

impl Deployment {
    /// alice of pool1, whose Front End takes certificates, and the web services that give them out.
    fn new() -> Deployment {
        let world = World::empty();
        world.user("alice", Some("pool1"), None);
        let key = new_key(2048).expect("a key");
        let years = Duration::from_secs(3650 * 86_400);
        let certificate = UserCertificateAuthority::certify(&key, [3; 16], EPOCH, years).expect("DER");
        let authority = Arc::new(UserCertificateAuthority::new(&certificate, &key).expect("an authority"));
        let register = Arc::new(Register::default());
        let (published, surroundings) = (register.clone(), Arc::new(world.clone()));
        let handshakes = tls_dsk::Server::new(std::slice::from_ref(&certificate), &key, Policy::default());
        let offer = TlsDsk {
            handshakes: Arc::new(handshakes.expect("a server")),
            sts_uri: "https://web-pool1.contoso.test/CertProv/CertProvisioningService.svc".to_owned(),
            verifier: Arc::new(Judge::new(authority.clone(), published.clone(), surroundings.clone())),
        };
        let plan = Plan { offers: vec![Offer::TlsDsk(offer)], ..Plan::front_end("fe01", "pool1") };
        let people = Arc::new(People(world.clone()));
        let backing = Backing {
            topology: Arc::new(plan.topology.clone()),
            directory: people.clone(),
            ntlm: Some(people),
            kerberos: None,
            authority: Arc::new(TicketAuthority::new(&[5; 32])),
            certification: Some(Certification { authority: authority.clone(), published }),
            old_cryptography: OldCryptography::default(),
            surroundings,
            netbios_domain: "CONTOSO".to_owned(),
            dns_domain: "contoso.test".to_owned(),
        };
        let name = "web-pool1.contoso.test".to_owned();
        let site = Site {
            location: AccessLocation::Internal,
            secure: true,
            channel: None,
            web: name.clone(),
            fqdn: name,
            elsewhere: BTreeMap::new(),
        };
        world.web("web-pool1", WebServices::new(site, &backing));
        world.server(plan);
        Deployment { world, authority, register }
    }

    /// A certificate of alice's that is good for so long from now on.
    fn issue(&self, lifetime: i64) -> UserCertificate {
        let key = new_key(2048).expect("a key");
        let alice = aor("alice");
        let asked = request::write(alice.as_str(), &key).expect("a request");
        let asked = CertificateRequest::read(&asked, &RequestLimits::default()).expect("our own");
        let now = Io::now(&self.world).unix_seconds;
        let lifetime = Duration::from_secs(lifetime.cast_unsigned());
        let order = Order { address: alice.as_str(), request: &asked, serial: [9; 16], now, lifetime };
        let certificate = self.authority.issue(&order).expect("a certificate");
        let kept = UserCertificate::of(certificate.clone(), key).expect("a certificate");
        let publication = Publication { aor: alice, device: Uuid::from_u128(1), certificate, not_after: kept.ends };
        self.register.published.lock().expect("no panic").push(publication);
        kept
    }

    /// alice stays so long, with the certificate alone or with the password besides.
    fn stay(&self, pocket: &Arc<Pocket>, with_password: bool, hours: u64) -> (Vec<String>, End) {
        self.stay_through(pocket, with_password, hours, None)
    }

    /// The same, and after so many hours the connection is lost.
    fn stay_through(
        &self,
        pocket: &Arc<Pocket>,
        with_password: bool,
        hours: u64,
        mut lost_after: Option<u64>,
    ) -> (Vec<String>, End) {
        let mut sign_in: SignIn = sign_in("alice", "fe01");
        sign_in.keyring = Some(pocket.clone());
        if !with_password {
            sign_in.log_on = None;
        }
        let world = &self.world;
        let begun = Io::now(world).since_start;
        let mut quit = poll_fn(|context| {
            let after = |hours: u64| begun + Duration::from_secs(hours * 3600);
            if lost_after.take_if(|hours| after(*hours) <= Io::now(world).since_start).is_some() {
                world.cut_off("fe01");
            }
            let next = after(lost_after.unwrap_or(hours));
            if Io::now(world).since_start < next {
                world.wake_at(next, context.waker());
                return Poll::Pending;
            }
            Poll::Ready(Some(Wish::Quit))
        });
        let mut notes = Notes { world: world.clone(), lines: Vec::new() };
        let end = world.run(async {
            let signed_in = sign_in.run(world).await.map_err(|verdict| verdict.sentence).expect("signs in");
            stay(&sign_in, world, signed_in, &mut quit, &mut notes).await
        });
        (notes.lines, end)
    }
}

/// What is said of connections and certificates.
struct Notes {
    world: World,
    lines: Vec<String>,
}

impl Onlooker for Notes {
    fn see(&mut self, _: &Picture, happening: Happening) {
        self.lines.push(match happening {
            Happening::SignedIn { mechanism, .. } => format!("signed in with {mechanism}"),
            Happening::Certificate { .. } => "a new certificate".to_owned(),
            Happening::Remark(remark) => format!("! {remark}"),
            Happening::Lost { why } => format!("lost: {why}; {} web connections left", self.world.browsing()),
            Happening::Failed(verdict) => format!("failed: {}", verdict.id),
            _ => return,
        });
    }
}

fn pocket(certificate: UserCertificate) -> Arc<Pocket> {
    Arc::new(Pocket(Mutex::new(Some(certificate))))
}

#[test]
fn a_certificate_is_renewed_by_itself_before_it_ends() {
    let deployment = Deployment::new();
    let first = deployment.issue(20 * HOUR);
    let pocket = pocket(first.clone());
    // Associations last eight hours: the third time, the first certificate is over.
    let (notes, end) = deployment.stay(&pocket, false, 30);
    assert_eq!(end, End::SignedOut, "{notes:?}");
    assert_eq!(notes, ["signed in with TLS-DSK", "a new certificate"]);
    let renewed = pocket.load(&aor("alice")).expect("a certificate");
    assert!(renewed.ends > EPOCH + 30 * HOUR && renewed.begins < first.ends - HOUR, "in time, and for longer");
    assert!(renewed.begins > first.old_from() - HOUR, "and not before it was time; clocks may differ");
    assert_ne!(renewed.key, first.key, "with a key of its own");
}

#[test]
fn what_the_next_sign_in_needs_is_obtained_after_this_one() {
    let deployment = Deployment::new();
    let prepared = |pocket: Option<Arc<Pocket>>, with_password: bool| {
        let mut sign_in = sign_in("alice", "fe01");
        sign_in.keyring = pocket.map(|pocket| -> Arc<dyn Keyring> { pocket });
        if !with_password {
            sign_in.log_on = None;
        }
        deployment.world.run(async {
            let signed_in = sign_in.run(&deployment.world).await.map_err(|verdict| verdict.sentence).expect("signs in");
            let prepared = sign_in.prepare_next(&deployment.world, &signed_in).await;
            let mechanism = signed_in.mechanism.clone();
            signed_in.session.sign_out().await;
            (mechanism, prepared.map(|prepared| prepared.map_err(|verdict| verdict.sentence).expect("a certificate")))
        })
    };
    let empty = Arc::new(Pocket::default());
    let (mechanism, until) = prepared(Some(empty.clone()), true);
    assert_eq!(mechanism, "NTLM");
    assert_eq!(until, empty.load(&aor("alice")).map(|kept| kept.ends), "there was none");
    assert_eq!(prepared(Some(empty), true), ("TLS-DSK".to_owned(), None), "it is used, and lasts");
    assert_eq!(prepared(None, true), ("NTLM".to_owned(), None), "there is no place to keep one");
    let old = pocket(deployment.issue(HOUR + 1800));
    let (mechanism, until) = prepared(Some(old.clone()), false);
    assert_eq!(mechanism, "TLS-DSK");
    assert!(until > Some(EPOCH + 100 * HOUR), "it asks for the next one by itself: {until:?}");
    let over = pocket(deployment.issue(HOUR - 60));
    let (mechanism, until) = prepared(Some(over), true);
    assert!(mechanism == "NTLM" && until.is_some(), "a sign-in would outlive it");
}

#[test]
fn what_lasts_is_left_alone() {
    let deployment = Deployment::new();
    let pocket = pocket(deployment.issue(400 * HOUR));
    let (notes, end) = deployment.stay(&pocket, false, 30);
    assert_eq!((notes, end), (vec!["signed in with TLS-DSK".to_owned()], End::SignedOut));
}

#[test]
fn a_service_that_is_down_is_asked_again_and_the_endpoint_goes_on() {
    let deployment = Deployment::new();
    let pocket = pocket(deployment.issue(20 * HOUR));
    deployment.register.down.store(true, Ordering::SeqCst);
    let (notes, end) = deployment.stay(&pocket, true, 20);
    assert_eq!(end, End::SignedOut, "{notes:?}");
    assert_eq!(notes[0], "signed in with TLS-DSK");
    let failures = notes.iter().filter(|note| note.starts_with("! the certificate is not renewed: ")).count();
    assert_eq!(failures, notes.len() - 1, "{notes:?}");
    assert!((2..=3).contains(&failures), "from the eighteenth hour on, once an hour: {notes:?}");

    deployment.register.down.store(false, Ordering::SeqCst);
    let (notes, _) = deployment.stay(&pocket, true, 1);
    assert_eq!(notes, ["signed in with NTLM", "a new certificate"], "the old one is over");
}

#[test]
fn a_renewal_that_is_called_off_leaves_no_connection_behind() {
    let deployment = Deployment::new();
    let pocket = pocket(deployment.issue(40 * HOUR));
    deployment.register.mute.store(true, Ordering::SeqCst);
    // It is begun in the thirty-sixth hour, and again with the next connection; the service answers neither.
    let (notes, end) = deployment.stay_through(&pocket, false, 38, Some(37));
    assert_eq!(end, End::SignedOut, "{notes:?}");
    let lost = "lost: the server closed the connection; 0 web connections left";
    assert_eq!(notes, ["signed in with TLS-DSK", lost, "signed in with TLS-DSK"]);
    assert_eq!(deployment.world.browsing(), 0, "nor when the user quits");
}
