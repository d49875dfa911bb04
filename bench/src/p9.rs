//! P9: a whole sign-in in the lab, from the sign-in address to the presence of the contacts.
//!
//! Measured: wall time of the client, with discovery by Autodiscover and web ticket, over real sockets and TLS, in one
//! process with the whole lab; once for each mechanism, and TLS-DSK with and without a certificate of an earlier sign-in.
//! Without one, its key is made while the sign-in begins, as `signpost signin --auth tls-dsk` does. Signing out is not in it.
//!
//! Beside it: how long the keys of a first TLS-DSK sign-in take alone, which is most of that one. Again:
//! `make bench ONLY=P9`.

use crate::deployment::told;
use crate::figure::{Beside, Figure, Goal, Spread};
use lab::ready::Ready;
use lab::{Lab, LabConfig};
use net::client::{Config, Sockets};
use signin::authenticate::client::Choice;
use signin::authenticate::keyring::{KEY_BITS, Keyring, UserCertificate};
use signin::authenticate::message::Scheme;
use signin::client::SignIn;
use signin::connect::client::Limits as ConnectLimits;
use signin::discover::client::Ask;
use signin::io::Io;
use signin::log_on::LogOn;
use signin::name::{AccountName, Aor};
use signin::provision::client::Appearance;
use signin::secret::Password;
use signin::tickets::{Source, Tickets};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sign-ins of each kind. Odd, for the median.
const ROUNDS: usize = 15;

/// Who signs in. Autodiscover leads to the home pool, so there is no redirect in it.
const ADDRESS: &str = "bob@contoso.test";

/// One kind of sign-in.
struct Kind {
    name: &'static str,
    scheme: Scheme,
    /// With the certificate of an earlier one.
    again: bool,
    /// Milliseconds.
    goal: f64,
}

/// Measures it.
pub(crate) fn measure() -> Result<Vec<Figure>, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(told)?;
    let lab = runtime.block_on(Lab::start(&LabConfig::default())).map_err(told)?;
    let kinds = [
        Kind { name: "whole sign-in with NTLM", scheme: Scheme::Ntlm, again: false, goal: 100.0 },
        Kind { name: "whole sign-in with Kerberos", scheme: Scheme::Kerberos, again: false, goal: 100.0 },
        Kind { name: "whole sign-in with TLS-DSK, the first time", scheme: Scheme::TlsDsk, again: false, goal: 250.0 },
        Kind { name: "whole sign-in with TLS-DSK, later", scheme: Scheme::TlsDsk, again: true, goal: 100.0 },
    ];
    let mut figures = Vec::new();
    for kind in kinds {
        let pocket = Arc::new(Pocket::default());
        let (mut times, mut keys) = (Vec::new(), Vec::new());
        // One more, which is not counted: names and sessions are known afterwards, and there is a certificate.
        for round in 0..=ROUNDS {
            if !kind.again {
                pocket.forget(&address()?);
            }
            let time = runtime.block_on(kind.sign_in(lab.ready(), &pocket))?;
            let began = Instant::now();
            if kind.scheme == Scheme::TlsDsk && !kind.again {
                runtime.block_on(net::keys::new_rsa_key()).map_err(told)?;
                keys.push(milliseconds(began.elapsed()));
            }
            if round > 0 {
                times.push(milliseconds(time));
            }
        }
        let beside = match keys.is_empty() {
            true => Vec::new(),
            false => vec![Beside::new("a new RSA key alone", Spread::of(keys).median, "ms")],
        };
        figures.push(Figure {
            id: "P9",
            name: kind.name,
            measured: Spread::of(times),
            unit: "ms",
            goal: Goal::AtMost(kind.goal),
            beside,
            remark: None,
        });
    }
    Ok(figures)
}

impl Kind {
    /// Signs in and out again; the time of the former.
    async fn sign_in(&self, ready: &Ready, pocket: &Arc<Pocket>) -> Result<Duration, String> {
        let user = ready.users.iter().find(|user| user.address == ADDRESS).ok_or("nobody of that name in the lab")?;
        let tickets = Tickets::new(Source { realm: Some(ready.realm.clone()), ..Source::default() });
        let log_on = LogOn {
            account: AccountName::parse(&user.login),
            password: user.password.clone().map(Password::new),
            tickets: Some(Arc::new(tickets)),
            workstation: "BENCH".to_owned(),
        };
        let uses_certificates = self.scheme == Scheme::TlsDsk;
        let sign_in = SignIn {
            epid: "0bench0001".parse().map_err(told)?,
            aor: address()?,
            log_on: Some(log_on),
            choice: Choice::Only(self.scheme.clone()),
            keyring: uses_certificates.then(|| -> Arc<dyn Keyring> { pocket.clone() }),
            user_agent: "bench".to_owned(),
            discovery: Ask::default(),
            connect: ConnectLimits::default(),
            proxy: None,
            appearance: Appearance::default(),
            response_limit: Duration::from_secs(10),
        };
        let began = Instant::now();
        let sockets = Sockets::new(Config {
            dns: Some(ready.dns.internal),
            system_roots: false,
            ca_files: vec![ready.ca.clone()],
            port_offset: ready.port_offset,
            prepare_key: (uses_certificates && !self.again).then_some(KEY_BITS),
            ..Config::default()
        })
        .map_err(told)?;
        let io: &dyn Io = &sockets;
        let signed_in = sign_in.run(io).await.map_err(|verdict| verdict.sentence)?;
        let time = began.elapsed();
        if signed_in.mechanism != self.scheme.as_str() {
            return Err(format!("it was {} and not {}", signed_in.mechanism, self.scheme));
        }
        if signed_in.settled.contacts.as_ref().is_none_or(|list| list.contacts.is_empty()) {
            return Err("no contacts arrived".to_owned());
        }
        signed_in.session.sign_out().await;
        Ok(time)
    }
}

fn address() -> Result<Aor, String> {
    ADDRESS.parse().map_err(told)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The certificate of the last sign-in.
#[derive(Debug, Default)]
struct Pocket(Mutex<Option<UserCertificate>>);

impl Keyring for Pocket {
    fn load(&self, _aor: &Aor) -> Option<UserCertificate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn save(&self, _aor: &Aor, certificate: &UserCertificate) -> Result<(), String> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate.clone());
        Ok(())
    }

    fn forget(&self, _aor: &Aor) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
