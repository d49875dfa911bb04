//! A whole server on top of the domain: our client signs in over TLS at a Front End whose users come by LDAP, whose
//! passwords are checked by winbind and whose tickets are opened with the keytab; also while there is no controller.

use crate::domain_controller::{DomainController, PASSWORD, REALM, domain_controller};
use crate::{block_on, directory, kerberos};
use net::active_directory::{LayeredDirectory, WinbindSettings, WinbindVerifier};
use net::client::{Config, Sockets};
use net::server::{Identity, Serving, SipLimits, SystemSurroundings, Wires, listen, serve_sip};
use signin::authenticate::client::Choice;
use signin::authenticate::message::Scheme;
use signin::authenticate::offer::{Offer, Offers};
use signin::authenticate::server::Settings as Authentication;
use signin::client::SignIn;
use signin::discover::AccessLocation;
use signin::discover::client::{Ask, Manual};
use signin::io::{DnsAnswer, Io, Now, Operation, Outcome, Pending, RecordKind};
use signin::journal::{Journal, ServerEvent};
use signin::log_on::LogOn;
use signin::name::AccountName;
use signin::provision::client::Appearance;
use signin::provision::server::{Limits as ProvisionLimits, Live, Provision};
use signin::register::server::{Here, Role};
use signin::report::{Event, Verdict};
use signin::secret::Password;
use signin::server::{Foundations, FrontEnd, Neighbours, Settings};
use signin::service::Surroundings;
use signin::tickets::{Source, Tickets};
use signin::topology::{HostPort, Liveness, Pool, Topology};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{Store, Users};

const SERVER: &str = "pool1.contoso.test";

/// What the server tells its log.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Journal for Log {
    fn note(&self, _: &str, event: &ServerEvent) {
        self.0.lock().expect("no panic").push(event.to_string());
    }
}

/// Real sockets, and a name service that goes on without the controller.
struct Network(Sockets);

impl Io for Network {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        match operation {
            Operation::Resolve { kind: RecordKind::Address, .. } => {
                let addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
                let answer = DnsAnswer::Addresses { addresses, aliases: Vec::new() };
                Box::pin(std::future::ready(Outcome::Resolved(answer)))
            }
            operation => self.0.perform(operation),
        }
    }

    fn now(&self) -> Now {
        self.0.now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.0.fill_random(bytes);
    }

    fn note(&self, event: Event) {
        self.0.tell(event);
    }
}

/// A running Front End of pool1.
struct Server {
    address: SocketAddr,
    certificate: tempfile::NamedTempFile,
    front_end: Arc<FrontEnd>,
    log: Arc<Log>,
    _serving: Serving,
}

impl Server {
    fn start(dc: &DomainController) -> Server {
        let surroundings: Arc<dyn Surroundings> = Arc::new(SystemSurroundings::new());
        let store = store::Settings { users: Users::Elsewhere, ..store::Settings::default() };
        let rest = Arc::new(Store::in_memory_with(store).expect("a store"));
        let directory = Arc::new(LayeredDirectory::new(Arc::new(directory::open(directory::settings(dc))), rest));
        let own = HostPort { host: SERVER.to_owned(), port: 5061 };
        let front_ends = vec![SERVER.to_owned()];
        let pool = Pool { fqdn: SERVER.to_owned(), port: 5061, front_ends, web: SERVER.to_owned() };
        let topology = Arc::new(Topology {
            sip_domains: vec!["contoso.test".to_owned()],
            pools: vec![pool],
            ..Topology::default()
        });
        let provision = Provision::new(
            &own,
            directory.clone(),
            surroundings.clone(),
            topology.clone(),
            Live::new(),
            ProvisionLimits::default(),
        );
        let wires = Arc::new(Wires::new());
        let log = Arc::new(Log::default());
        let foundations = Foundations {
            directory,
            surroundings,
            wire: wires.clone(),
            neighbours: Neighbours::default(),
            journal: log.clone(),
        };
        let offers = vec![
            Offer::Kerberos(Arc::new(kerberos::verifier(dc, None))),
            Offer::Ntlm(Arc::new(WinbindVerifier::new(WinbindSettings::default()))),
        ];
        let authentication = Authentication::new(SERVER, "contoso.test", Offers::inside(offers));
        let role = Role::FrontEnd { pool: SERVER.to_owned() };
        let here = Here { fqdn: SERVER.to_owned(), role, topology, liveness: Liveness::default() };
        let front_end =
            Arc::new(FrontEnd::new(here, Settings::default(), authentication, Arc::new(provision), foundations));

        let certified = rcgen::generate_simple_self_signed(vec![SERVER.to_owned()]).expect("a certificate");
        let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
        let certificate = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(certificate.path(), &chain).expect("it can be written");
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).expect("they fit").for_sip();
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let identity = identity.expect("good for SIP");
        let serving = serve_sip(listener, identity, front_end.clone(), wires, SipLimits::default()).expect("it serves");
        Server { address, certificate, front_end, log, _serving: serving }
    }

    /// Alice signs in, and out again; gives the mechanism that was used.
    async fn sign_in(&self, scheme: Scheme, password: &str, tickets: &Arc<Tickets>) -> Result<String, Verdict> {
        let manual =
            Manual { host: SERVER.to_owned(), port: Some(self.address.port()), view: AccessLocation::Internal };
        let log_on = LogOn {
            account: AccountName::parse("CONTOSO\\alice"),
            password: Some(Password::new(password.to_owned())),
            tickets: Some(tickets.clone()),
            workstation: "TEST".to_owned(),
        };
        let sign_in = SignIn {
            aor: "alice@contoso.test".parse().expect("an address"),
            log_on: Some(log_on),
            choice: Choice::Only(scheme),
            keyring: None,
            epid: "00a11ce001".parse().expect("an epid"),
            user_agent: "UCCAPI/16.0.0 Signpost".to_owned(),
            discovery: Ask { manual: vec![manual], ..Ask::default() },
            connect: signin::connect::client::Limits::default(),
            proxy: None,
            appearance: Appearance::default(),
            response_limit: Duration::from_secs(30),
        };
        let ca_files = vec![self.certificate.path().to_owned()];
        let network =
            Network(Sockets::new(Config { system_roots: false, ca_files, ..Config::default() }).expect("good"));
        let signed_in = sign_in.run(&network).await?;
        let mechanism = signed_in.mechanism.clone();
        signed_in.session.sign_out().await;
        Ok(mechanism)
    }

    fn log(&self) -> String {
        std::mem::take(&mut *self.log.0.lock().expect("no panic")).join("\n")
    }
}

fn tickets() -> Arc<Tickets> {
    let kdcs = vec!["127.0.0.1:88".parse().expect("a KDC")];
    Arc::new(Tickets::new(Source { realm: Some(REALM.to_owned()), kdcs, ..Source::default() }))
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn a_server_signs_in_its_domain_s_users_and_survives_the_controller() {
    let mut dc = domain_controller();
    block_on(async {
        let server = Server::start(&dc);
        let (ntlm, kerberos) = (Scheme::Ntlm, Scheme::Kerberos);
        let held = tickets();
        for (scheme, name) in [(&kerberos, "Kerberos"), (&ntlm, "NTLM")] {
            let signed_in = server.sign_in(scheme.clone(), PASSWORD, &held).await;
            assert_eq!(signed_in.map_err(|verdict| verdict.sentence).as_deref(), Ok(name), "{}", server.log());
        }
        let wrong = server.sign_in(ntlm.clone(), "not her password", &held).await.expect_err("refused");
        assert_eq!(wrong.id, "ntlm-wrong-password", "{wrong:?}");
        server.log();

        dc.stop();
        for scheme in [&kerberos, &ntlm] {
            let begun = Instant::now();
            let verdict = server.sign_in(scheme.clone(), PASSWORD, &held).await.expect_err("nobody can tell");
            assert_eq!(verdict.id, "ntlm-dc-unreachable", "{scheme}: {verdict:?}\n{}", server.log());
            assert!(verdict.sentence.contains("answered 504"), "{verdict:?}");
            assert!(begun.elapsed() < Duration::from_secs(25), "{scheme}: {:?}", begun.elapsed());
            let log = server.log();
            assert!(log.contains("the directory did not answer"), "{scheme}: {log}");
        }
        assert_eq!(server.front_end.counts(), (0, 0, 0, 0), "nothing stays behind");

        dc.serve();
        let patience = Instant::now();
        for scheme in [&kerberos, &ntlm] {
            loop {
                match server.sign_in(scheme.clone(), PASSWORD, &tickets()).await {
                    Ok(_) => break,
                    Err(verdict) if patience.elapsed() > Duration::from_secs(60) => {
                        panic!("{scheme}: {verdict:?}\n{}", server.log())
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        }
    });
}
