//! TLS-DSK: what a sign-in costs the server, against its asymmetric operations alone.
//!
//! Measured: the processor time that a Front End takes for the four REGISTERs of a sign-in with a user certificate, from
//! the bytes of each to those of its answer; certificates are judged by the store's word, as everywhere. No socket and no
//! outer TLS is in it. The keys are RSA of 2048 bits, the inner handshake is TLS 1.2.
//!
//! The ceiling, after every sign-in of the same run: what of it is RSA, with OpenSSL and nothing around it. That is one
//! decryption (the pre-master secret) and two verifications (the client's CertificateVerify; the authority's signature of
//! the certificate, by which it is judged). Their keys are ready.
//!
//! Between the two, also after every sign-in: the inner handshake without SIP, certificates' judge and store, which is
//! OpenSSL's own work but for one or two percent. What it costs beyond RSA nobody can take out who uses OpenSSL; in 3.0 more
//! than half of that is reading the public key of the client's certificate, for which it goes through all its decoders
//! anew. Later versions remember what they found. With one that is built in instead of the system's:
//! `cargo run --release -p bench --features openssl/vendored -- --only TLS-DSK`.
//!
//! The figure is the ratio of the first to the second, of medians within a round. RSA has got cheap on processors with AVX-512 IFMA (which
//! more than halves a decryption), so the same server has another ratio there. Again: `make bench ONLY=TLS-DSK`.

use crate::cpu;
use crate::deployment::{Deployment, FRONT_END, aor, told};
use crate::figure::{Beside, Figure, Goal, Spread};
use crate::phone::Phone;
use mechanism::tls_dsk::{Client, ClientStep, Policy, Server, ServerStep};
use mechanism::user_certificate::{
    CertificateRequest, Order, RequestLimits, UserCertificateAuthority, new_key, request,
};
use net::keys::RSA_BITS;
use net::server::SystemSurroundings;
use openssl::encrypt::{Decrypter, Encrypter};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Padding;
use openssl::sign::{Signer, Verifier};
use signin::authenticate::certificate::judge::Judge;
use signin::authenticate::certificate::published::Publication;
use signin::authenticate::offer::{Offer, TlsDsk};
use signin::io::ConnId;
use signin::service::{SipService, Surroundings, Wire};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Rounds, and sign-ins in each.
const ROUNDS: usize = 11;
const SIGN_INS: usize = 101;

/// Users who take turns, each with a certificate of their own.
const USERS: usize = 4;

/// How long the certificates are valid.
const LIFETIME: Duration = Duration::from_secs(86_400);

/// Measures it.
pub(crate) fn measure() -> Result<Vec<Figure>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)?;
    let mut stage = Stage::open(&runtime)?;
    let alone = Alone::new()?;
    stage.sign_in(&runtime)?;
    let (mut ratios, mut whole, mut inner, mut asymmetric) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut sign_ins, mut handshakes, mut operations) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..SIGN_INS {
            sign_ins.push(microseconds(stage.sign_in(&runtime)?));
            handshakes.push(microseconds(stage.shake_hands()?));
            let before = cpu::own();
            alone.operate()?;
            operations.push(microseconds(cpu::own() - before));
        }
        let (sign_in, operation) = (Spread::of(sign_ins).median, Spread::of(operations).median);
        ratios.push(sign_in / operation);
        whole.push(sign_in);
        inner.push(Spread::of(handshakes).median);
        asymmetric.push(operation);
    }
    Ok(vec![Figure {
        id: "TLS-DSK",
        name: "server's CPU of a TLS-DSK sign-in : its RSA alone",
        measured: Spread::of(ratios),
        unit: "x",
        goal: Goal::AtMost(1.3),
        beside: vec![
            Beside::new("a sign-in", Spread::of(whole).median, "µs"),
            Beside::new("its inner handshake alone", Spread::of(inner).median, "µs"),
            Beside::new("its RSA alone", Spread::of(asymmetric).median, "µs"),
        ],
        remark: None,
    }])
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A server in memory, and the clients that sign in.
struct Stage {
    deployment: Deployment,
    caught: Arc<Caught>,
    handshakes: Arc<Server>,
    clients: Vec<Client>,
    sign_ins: usize,
}

impl Stage {
    fn open(runtime: &Runtime) -> Result<Stage, String> {
        let surroundings: Arc<dyn Surroundings> = Arc::new(SystemSurroundings::new());
        let now = surroundings.now().unix_seconds;
        let (key, inner_key) = (new_key(RSA_BITS).map_err(told)?, new_key(RSA_BITS).map_err(told)?);
        let certificate = UserCertificateAuthority::certify(&key, [1; 16], now, LIFETIME).map_err(told)?;
        let inner = UserCertificateAuthority::certify(&inner_key, [2; 16], now, LIFETIME).map_err(told)?;
        let authority = Arc::new(UserCertificateAuthority::new(&certificate, &key).map_err(told)?);
        let handshakes = Arc::new(Server::new(&[inner], &inner_key, Policy::default()).map_err(told)?);
        let caught = Arc::new(Caught::default());
        let offers = |store: &Arc<store::Store>| {
            let verifier = Arc::new(Judge::new(authority.clone(), store.clone(), surroundings.clone()));
            let sts_uri = format!("https://{FRONT_END}/CertProv/CertProvisioningService.svc");
            vec![Offer::TlsDsk(TlsDsk { handshakes: handshakes.clone(), sts_uri, verifier })]
        };
        let opening = Deployment::open(USERS, surroundings.clone(), caught.clone(), offers);
        let deployment = runtime.block_on(opening)?;
        let mut clients = Vec::new();
        for number in 0..USERS {
            let key = new_key(RSA_BITS).map_err(told)?;
            let asked = request::write(aor(number).as_str(), &key).map_err(told)?;
            let request = CertificateRequest::read(&asked, &RequestLimits::default()).map_err(told)?;
            let serial = [u8::try_from(number).unwrap_or(0); 16];
            let aor = aor(number);
            let order = Order { address: aor.as_str(), request: &request, serial, now, lifetime: LIFETIME };
            let certificate = authority.issue(&order).map_err(told)?;
            clients.push(Client::new(&certificate, &key, Policy::default()).map_err(told)?);
            let not_after = now + i64::try_from(LIFETIME.as_secs()).unwrap_or(0);
            let device = uuid::Uuid::from_u128(number as u128);
            let publication = Publication { aor, device, certificate, not_after };
            runtime.block_on(deployment.store.publish_certificate(publication)).map_err(told)?;
        }
        Ok(Stage { deployment, caught, handshakes, clients, sign_ins: 0 })
    }

    /// One sign-in over a connection of its own; the processor time that the server took for its four REGISTERs.
    fn sign_in(&mut self, runtime: &Runtime) -> Result<Duration, String> {
        let (number, conn) = (self.sign_ins % USERS, ConnId(self.sign_ins as u64 + 1));
        self.sign_ins += 1;
        let remote = SocketAddr::from(([192, 0, 2, 7], 50_000));
        let server = &self.deployment.front_end;
        server.opened(conn, remote, SocketAddr::from(([192, 0, 2, 1], 5061)));
        let (mut spent, mut requests) = (Duration::ZERO, 0);
        let mut phone = Phone::new(number, remote);
        phone.sign_in_by_certificate(&self.clients[number], &mut |request| {
            let before = cpu::own();
            if let Some(answering) = server.clone().received(conn, &request) {
                runtime.block_on(answering);
            }
            spent += cpu::own() - before;
            requests += 1;
            Ok(self.caught.take())
        })?;
        if requests != 4 {
            return Err(format!("a sign-in took {requests} REGISTERs and not four"));
        }
        if let Some(leaving) = server.clone().closed(conn) {
            runtime.block_on(leaving);
        }
        self.caught.take();
        Ok(spent)
    }
}

impl Stage {
    /// One inner handshake, flights handed from one side to the other; the processor time that the server's side took.
    fn shake_hands(&self) -> Result<Duration, String> {
        let (mut client, mut flight) = self.clients[self.sign_ins % USERS].begin().map_err(told)?;
        let before = cpu::own();
        let mut server = self.handshakes.begin().map_err(told)?;
        let mut spent = cpu::own() - before;
        loop {
            let before = cpu::own();
            let step = server.step(&flight).map_err(told)?;
            spent += cpu::own() - before;
            let ServerStep::Continue(answer) = step else { return Ok(spent) };
            match client.step(&answer).map_err(told)? {
                ClientStep::Continue(next) => flight = next,
                ClientStep::Finished { .. } => return Err("the client was done before the server".to_owned()),
            }
        }
    }
}

/// What the server sends, kept for the one client there is.
#[derive(Default)]
struct Caught(Mutex<Vec<u8>>);

impl Caught {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wire for Caught {
    fn send(&self, _conn: ConnId, bytes: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
    }

    fn close(&self, _conn: ConnId) {}
}

/// The asymmetric operations of the server's side, with keys and texts of their own.
struct Alone {
    inner_key: PKey<Private>,
    encrypted: Vec<u8>,
    user_key: PKey<Public>,
    handshake: Vec<u8>,
    proof: Vec<u8>,
    authority_key: PKey<Public>,
    certificate: Vec<u8>,
    signature: Vec<u8>,
}

impl Alone {
    fn new() -> Result<Alone, String> {
        let (inner_key, user_key, authority_key) = (rsa()?, rsa()?, rsa()?);
        // As long as a pre-master secret, the messages before CertificateVerify, and a certificate under its signature.
        let (secret, handshake, certificate) = ([7; 48], vec![8; 2_500], vec![9; 650]);
        let encrypted = encrypted(&inner_key, &secret)?;
        Ok(Alone {
            encrypted,
            proof: signed(&user_key, &handshake)?,
            signature: signed(&authority_key, &certificate)?,
            user_key: public(&user_key)?,
            authority_key: public(&authority_key)?,
            inner_key,
            handshake,
            certificate,
        })
    }

    fn operate(&self) -> Result<(), String> {
        let mut decrypter = Decrypter::new(&self.inner_key).map_err(told)?;
        decrypter.set_rsa_padding(Padding::PKCS1).map_err(told)?;
        let mut secret = [0; 256];
        let length = decrypter.decrypt(&self.encrypted, &mut secret).map_err(told)?;
        let proven = verified(&self.user_key, &self.handshake, &self.proof)?;
        let issued = verified(&self.authority_key, &self.certificate, &self.signature)?;
        if length == 48 && proven && issued { Ok(()) } else { Err("OpenSSL does not agree with itself".to_owned()) }
    }
}

fn rsa() -> Result<PKey<Private>, String> {
    PKey::private_key_from_pkcs8(&new_key(RSA_BITS).map_err(told)?).map_err(told)
}

fn public(key: &PKey<Private>) -> Result<PKey<Public>, String> {
    PKey::public_key_from_der(&key.public_key_to_der().map_err(told)?).map_err(told)
}

fn encrypted(key: &PKey<Private>, secret: &[u8]) -> Result<Vec<u8>, String> {
    let mut encrypter = Encrypter::new(key).map_err(told)?;
    encrypter.set_rsa_padding(Padding::PKCS1).map_err(told)?;
    let mut encrypted = vec![0; encrypter.encrypt_len(secret).map_err(told)?];
    let length = encrypter.encrypt(secret, &mut encrypted).map_err(told)?;
    encrypted.truncate(length);
    Ok(encrypted)
}

fn signed(key: &PKey<Private>, text: &[u8]) -> Result<Vec<u8>, String> {
    Signer::new(MessageDigest::sha256(), key).and_then(|mut signer| signer.sign_oneshot_to_vec(text)).map_err(told)
}

fn verified(key: &PKey<Public>, text: &[u8], signature: &[u8]) -> Result<bool, String> {
    let verifier = Verifier::new(MessageDigest::sha256(), key);
    verifier.and_then(|mut verifier| verifier.verify_oneshot(signature, text)).map_err(told)
}
