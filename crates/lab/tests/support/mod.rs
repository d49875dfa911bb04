//! What the tests that sign in to a lab share: a wish, its sockets, and what comes of it.

#![allow(dead_code)] // each test program uses its own part

use lab::{Lab, LabConfig};
use net::client::{Config, Sockets};
use signin::authenticate::client::Choice;
use signin::authenticate::keyring::{Keyring, UserCertificate};
use signin::client::{SignIn, SignedIn};
use signin::connect::client::Limits as ConnectLimits;
use signin::discover::AccessLocation;
use signin::discover::client::{Ask, Limits as DiscoveryLimits, Manual};
use signin::http::Limits as WebLimits;
use signin::io::Io;
use signin::log_on::LogOn;
use signin::name::{AccountName, Aor};
use signin::provision::client::Appearance;
use signin::report::{Ending, SignInReport};
use signin::secret::Password;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use trace::record::Record;
use trace::recorder::Recorder;

/// Nothing on loopback takes as long.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// For waits that are meant to run out.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A lab as it comes, on ports that are free.
pub(crate) async fn lab() -> Lab {
    Lab::start(&LabConfig::default()).await.expect("free ports")
}

/// A sign-in that can be run, with everything in reach of a test.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) sign_in: SignIn,
    pub(crate) sockets: Config,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) report: SignInReport,
    pub(crate) record: Record,
}

impl Outcome {
    /// Id of the verdict; `signed in` when there is none.
    pub(crate) fn id(&self) -> &str {
        self.report.verdict.as_ref().map_or("signed in", |verdict| verdict.id.as_str())
    }

    pub(crate) fn sentence(&self) -> &str {
        self.report.verdict.as_ref().map_or("", |verdict| verdict.sentence.as_str())
    }

    /// The ladder, for the message of a test that fails.
    pub(crate) fn ladder(&self) -> String {
        trace::ladder::text(&self.record, 120)
    }
}

impl Attempt {
    /// A person of the lab, with the right password, inside, found by Autodiscover.
    pub(crate) fn of(lab: &Lab, name: &str) -> Attempt {
        let ready = lab.ready();
        let address = format!("{name}@{}", ready.sip_domain);
        let user = ready.users.iter().find(|user| user.address == address).expect("lives in the lab");
        let sockets = Config {
            dns: Some(ready.dns.internal),
            system_roots: false,
            ca_files: vec![ready.ca.clone()],
            port_offset: ready.port_offset,
            ..Config::default()
        };
        let password = user.password.as_ref().expect("nobody has set another");
        Attempt { sign_in: wish(&address, &user.login, password), sockets }
    }

    pub(crate) fn address(mut self, address: &str) -> Attempt {
        self.sign_in.aor = address.parse().expect("a sign-in address");
        self
    }

    pub(crate) fn log_on(mut self, login: &str, password: &str) -> Attempt {
        self.sign_in.log_on = Some(log_on(login, password));
        self
    }

    pub(crate) fn password(self, password: &str) -> Attempt {
        let login = self.sign_in.log_on.as_ref().expect("has one").account.to_string();
        self.log_on(&login, password)
    }

    pub(crate) fn epid(mut self, epid: &str) -> Attempt {
        self.sign_in.epid = epid.parse().expect("an epid");
        self
    }

    /// At this server, without discovery.
    pub(crate) fn at(self, host: &str) -> Attempt {
        self.at_port(host, None)
    }

    pub(crate) fn at_port(mut self, host: &str, port: Option<u16>) -> Attempt {
        let manual = Manual { host: host.to_owned(), port, view: AccessLocation::Internal };
        self.sign_in.discovery.manual = vec![manual];
        self
    }

    pub(crate) fn dns(mut self, server: SocketAddr) -> Attempt {
        self.sockets.dns = Some(server);
        self
    }

    pub(crate) fn outside(self, lab: &Lab) -> Attempt {
        self.dns(lab.ready().dns.external)
    }

    /// Every wait is cut short.
    pub(crate) fn impatient(mut self) -> Attempt {
        hurry(&mut self.sign_in);
        self
    }

    /// Signs in, and out again when it succeeded.
    pub(crate) async fn run(self) -> Outcome {
        let sockets = Sockets::new(self.sockets).expect("good sockets");
        run_through(&self.sign_in, sockets, async |_, _| ()).await.0
    }
}

/// The same through this door; `then` is done once signed in. The recorder still has the door.
pub(crate) async fn run_through<I: Io>(
    sign_in: &SignIn,
    door: I,
    then: impl AsyncFnOnce(&dyn Io, &SignedIn<'_>),
) -> (Outcome, Recorder<I>) {
    let address = sign_in.aor.to_string();
    let recorder = Recorder::new(door, &address, "test");
    let ending = match sign_in.run(&recorder).await {
        Ok(signed_in) => {
            let ending = signed_in.ending();
            then(&recorder, &signed_in).await;
            signed_in.session.sign_out().await;
            ending
        }
        Err(verdict) => Ending::Failed(verdict),
    };
    let record = recorder.record();
    let report = SignInReport::assemble(&address, &record.told(), &ending);
    (Outcome { report, record }, recorder)
}

/// Cuts every wait short.
pub(crate) fn hurry(sign_in: &mut SignIn) {
    sign_in.connect = ConnectLimits { tcp: SHORT, tls: SHORT };
    sign_in.response_limit = SHORT;
    sign_in.discovery.limits =
        DiscoveryLimits { web: WebLimits { dns: SHORT, tcp: SHORT, tls: SHORT, http: SHORT }, ..Default::default() };
}

/// A sign-in with the defaults.
pub(crate) fn wish(address: &str, login: &str, password: &str) -> SignIn {
    SignIn {
        aor: address.parse().expect("a sign-in address"),
        log_on: Some(log_on(login, password)),
        choice: Choice::Auto,
        keyring: None,
        epid: "a0ae9e6cb0".parse().expect("an epid"),
        user_agent: "UCCAPI/16.0.0 Signpost".to_owned(),
        discovery: Ask::default(),
        connect: ConnectLimits::default(),
        proxy: None,
        appearance: Appearance::default(),
        response_limit: LONG,
    }
}

pub(crate) fn log_on(login: &str, password: &str) -> LogOn {
    LogOn {
        account: AccountName::parse(login),
        password: Some(Password::new(password.to_owned())),
        tickets: None,
        workstation: "TEST".to_owned(),
    }
}

/// Others are still served: alice, from the beginning to the end.
pub(crate) async fn alice_signs_in(lab: &Lab) {
    let outcome = Attempt::of(lab, "alice").epid("00a11ce000").run().await;
    assert!(outcome.report.signed_in, "alice is not served any more: {}\n{}", outcome.sentence(), outcome.ladder());
}

/// Certificates in memory.
#[derive(Debug, Default)]
pub(crate) struct Pocket(Mutex<HashMap<Aor, UserCertificate>>);

impl Keyring for Pocket {
    fn load(&self, aor: &Aor) -> Option<UserCertificate> {
        self.0.lock().expect("not poisoned").get(aor).cloned()
    }

    fn save(&self, aor: &Aor, certificate: &UserCertificate) -> Result<(), String> {
        self.0.lock().expect("not poisoned").insert(aor.clone(), certificate.clone());
        Ok(())
    }

    fn forget(&self, aor: &Aor) {
        self.0.lock().expect("not poisoned").remove(aor);
    }
}
