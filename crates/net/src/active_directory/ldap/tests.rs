//! The directory against servers on loopback that answer, are silent, hang up, or talk nonsense.

use super::ber;
use super::message::Message;
use super::*;
use crate::active_directory::Secret;
use crate::server::SystemSurroundings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that reads one request after the other and answers with what a function makes of it.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answer: impl Fn(i32, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (answer, connections) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(converse(stream, answer.clone()));
            }
        });
        Server { address, connections }
    }

    /// Logs everybody on, and finds these entries whatever is searched.
    async fn with(entries: &'static [&'static [(&'static str, &'static str)]]) -> Server {
        Server::start(move |id, request| Some(serve(id, request, entries))).await
    }

    fn controller(&self) -> Controller {
        plain(self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn converse(mut stream: TcpStream, answer: Arc<impl Fn(i32, &[u8]) -> Option<Vec<u8>>>) {
    let mut received = Vec::new();
    loop {
        while let Ok(Some(length)) = Message::length(&received)
            && received.len() >= length
        {
            let mut request =
                ber::Reader::new(&received[..length]).enter(ber::SEQUENCE, "a request").expect("a request");
            let id = request.number(ber::INTEGER, "its number").expect("its number");
            let Some(bytes) = answer(id, &received[..length]) else { return };
            stream.write_all(&bytes).await.ok();
            received.drain(..length);
        }
        if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            return;
        }
    }
}

fn result(id: i32, tag: u8, code: i32) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put(&mut out, ber::SEQUENCE, |out| {
        ber::put_number(out, ber::INTEGER, id);
        ber::put(out, tag, |out| {
            ber::put_number(out, ber::ENUMERATED, code);
            ber::put_bytes(out, ber::OCTET_STRING, b"");
            ber::put_bytes(out, ber::OCTET_STRING, b"words\0");
        });
    });
    out
}

fn serve(id: i32, request: &[u8], entries: &[&[(&str, &str)]]) -> Vec<u8> {
    if is_bind(request) {
        return result(id, 0x61, 0);
    }
    let mut out = Vec::new();
    for attributes in entries {
        ber::put(&mut out, ber::SEQUENCE, |out| {
            ber::put_number(out, ber::INTEGER, id);
            ber::put(out, 0x64, |out| {
                ber::put_bytes(out, ber::OCTET_STRING, b"CN=Somebody");
                ber::put(out, ber::SEQUENCE, |out| {
                    for (name, value) in *attributes {
                        ber::put(out, ber::SEQUENCE, |out| {
                            ber::put_bytes(out, ber::OCTET_STRING, name.as_bytes());
                            ber::put(out, ber::SET, |out| ber::put_bytes(out, ber::OCTET_STRING, value.as_bytes()));
                        });
                    }
                });
            });
        });
    }
    out.extend(result(id, 0x65, 0));
    out
}

/// The request after its number: `[APPLICATION 0]` is a bind.
fn is_bind(request: &[u8]) -> bool {
    let mut message = ber::Reader::new(request).enter(ber::SEQUENCE, "a request").expect("a request");
    message.element().expect("its number");
    message.element().is_ok_and(|(tag, _)| tag == 0x60)
}

fn plain(address: SocketAddr) -> Controller {
    Controller {
        host: "dc1.contoso.test".to_owned(),
        port: address.port(),
        address: Some(address),
        security: Security::Plain,
    }
}

/// Somewhere nobody listens.
async fn nowhere() -> Controller {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    plain(listener.local_addr().expect("it is bound"))
}

fn directory(controllers: Vec<Controller>) -> LdapDirectory {
    directory_with(controllers, |_| {})
}

fn directory_with(controllers: Vec<Controller>, change: impl FnOnce(&mut LdapSettings)) -> LdapDirectory {
    let domain = DomainNames::of("contoso.test");
    let mut settings = LdapSettings {
        controllers,
        ca_file: None,
        account: "reader@contoso.test".to_owned(),
        password: Secret::known("pass"),
        base: domain.base(),
        domain,
        schema: Schema::skype_for_business(),
        backup_pools: BTreeMap::new(),
        limits: Limits {
            connect: Duration::from_millis(300),
            bind: Duration::from_millis(300),
            search: Duration::from_millis(300),
            question: Duration::from_millis(900),
            retry_first: Duration::from_millis(100),
            ..Limits::default()
        },
    };
    change(&mut settings);
    LdapDirectory::new(settings, Arc::new(SystemSurroundings::new())).expect("the settings are good")
}

fn alice() -> Aor {
    "alice@contoso.test".parse().expect("an address")
}

fn account(text: &str) -> AccountName {
    AccountName::parse(text)
}

const ALICE: &[(&str, &str)] = &[
    ("sAMAccountName", "alice"),
    ("userPrincipalName", "alice.adams@contoso.test"),
    ("userAccountControl", "512"),
    ("msRTCSIP-PrimaryUserAddress", "sip:alice@contoso.test"),
    ("msRTCSIP-UserEnabled", "TRUE"),
];

#[tokio::test]
async fn a_user_is_found_and_remembered() {
    let server = Server::with(&[ALICE]).await;
    let directory = directory(vec![server.controller()]);
    let user = directory.user(&alice()).await.expect("it answers").expect("she is there");
    assert!(user.enabled && user.sip_enabled);
    drop(server);
    let again = directory_with(vec![nowhere().await], |_| {}).user(&alice()).await;
    assert!(again.is_err(), "another directory knows nothing of it");
    assert_eq!(directory.user(&alice()).await.expect("it is remembered"), Some(user));
}

#[tokio::test]
async fn one_connection_serves_many_questions() {
    let server = Server::with(&[ALICE]).await;
    let directory = directory_with(vec![server.controller()], |settings| settings.limits.remember = Duration::ZERO);
    for _ in 0..5 {
        assert!(directory.user(&alice()).await.expect("it answers").is_some());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_entry_that_is_not_about_the_name_asked_for_is_nobody() {
    let server = Server::with(&[ALICE]).await;
    let directory = directory(vec![server.controller()]);
    let bob = "bob@contoso.test".parse().expect("an address");
    assert_eq!(directory.user(&bob).await, Ok(None));
    for good in ["CONTOSO\\alice", "contoso.test\\Alice", "ALICE@CONTOSO.TEST", "alice.adams@contoso.test", "alice"] {
        assert!(directory.user_of_account(&account(good)).await.expect("it answers").is_some(), "{good}");
    }
    for bad in
        ["CONTOSO\\bob", "FABRIKAM\\alice", "alice@fabrikam.test", "álice", "", "alice\0", "CONTOSO\\alice.adams"]
    {
        assert_eq!(directory.user_of_account(&account(bad)).await, Ok(None), "{bad:?}");
    }
}

#[tokio::test]
async fn what_a_user_types_stays_a_value() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let server = Server::start(move |id, request| {
        noted.lock().expect("nobody panicked").push(request.to_vec());
        Some(serve(id, request, &[]))
    })
    .await;
    let directory = directory(vec![server.controller()]);
    let hostile = "alice)(|(sAMAccountName=*";
    assert_eq!(directory.user_of_account(&account(hostile)).await, Ok(None));
    let seen = seen.lock().expect("nobody panicked");
    let mut condition = Vec::new();
    Filter::equal("sAMAccountName", hostile).put(&mut condition);
    assert!(seen.iter().any(|request| request.windows(condition.len()).any(|window| window == condition)));
}

#[tokio::test]
async fn two_with_one_address_are_an_error_that_names_both() {
    let server = Server::with(&[ALICE, ALICE]).await;
    let error = directory(vec![server.controller()]).user(&alice()).await.expect_err("which one is it?");
    assert!(error.why.contains("user-duplicate-sip") && error.why.contains("CN=Somebody"), "{error}");
}

#[tokio::test]
async fn the_next_controller_answers_when_the_first_is_down() {
    let server = Server::with(&[ALICE]).await;
    let directory = directory(vec![nowhere().await, server.controller()]);
    assert!(directory.user(&alice()).await.expect("the second answers").is_some());
}

#[tokio::test]
async fn silence_is_an_error_in_time_and_the_next_controller_is_asked() {
    let silent = Server::start(|_, _| Some(Vec::new())).await;
    let server = Server::with(&[ALICE]).await;
    let begun = Instant::now();
    let error = directory(vec![silent.controller()]).user(&alice()).await.expect_err("nobody answers");
    assert!(error.why.contains("no answer to the bind within 300ms"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let both = directory(vec![silent.controller(), server.controller()]);
    assert!(both.user(&alice()).await.expect("the second answers").is_some());
}

/// An address whose connections are never taken: the system no longer answers further ones. Holds those that fill it.
async fn unanswered() -> (Controller, TcpListener, Vec<tokio::task::JoinHandle<std::io::Result<TcpStream>>>) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has a free port");
    let listener = socket.listen(0).expect("it is bound");
    let address = listener.local_addr().expect("it is bound");
    let filling = (0..4).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    (plain(address), listener, filling)
}

#[tokio::test]
async fn an_address_from_which_nothing_comes_costs_its_limit_once() {
    let (nowhere, _listener, _filling) = unanswered().await;
    let begun = Instant::now();
    let error = directory(vec![nowhere.clone()]).user(&alice()).await.expect_err("nobody is there");
    assert!(error.why.contains("no answer to the attempt to connect within 300ms"), "{error}");
    assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());

    let server = Server::with(&[ALICE]).await;
    let both = directory_with(vec![nowhere, server.controller()], |settings| settings.limits.remember = Duration::ZERO);
    assert!(both.user(&alice()).await.expect("the second answers").is_some());
    let begun = Instant::now();
    assert!(both.user(&alice()).await.expect("the second answers").is_some());
    assert!(begun.elapsed() < Duration::from_millis(250), "the first is left alone: {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_account_name_that_two_could_have_is_nobodys() {
    const CAROL: &[(&str, &str)] = &[
        ("sAMAccountName", "carol"),
        ("userPrincipalName", "carol.c@contoso.test"),
        ("userAccountControl", "512"),
        ("msRTCSIP-PrimaryUserAddress", "sip:carol@contoso.test"),
    ];
    const OTHER: &[(&str, &str)] = &[
        ("sAMAccountName", "alina"),
        ("userPrincipalName", "carol@contoso.test"),
        ("userAccountControl", "512"),
        ("msRTCSIP-PrimaryUserAddress", "sip:alina@contoso.test"),
    ];
    let server = Server::with(&[CAROL, OTHER]).await;
    let directory = directory(vec![server.controller()]);
    directory.user_of_account(&account("carol@contoso.test")).await.expect_err("carol or alina?");
    let carol = directory.user_of_account(&account("CONTOSO\\carol")).await.expect("it answers").expect("only she");
    assert_eq!(carol.aor.as_str(), "carol@contoso.test");
}

#[tokio::test]
async fn while_a_controller_is_left_alone_the_error_comes_at_once() {
    let silent = Server::start(|_, _| Some(Vec::new())).await;
    let directory =
        directory_with(vec![silent.controller()], |settings| settings.limits.retry_first = Duration::from_secs(60));
    directory.user(&alice()).await.expect_err("nobody answers");
    let begun = Instant::now();
    let error = directory.user(&alice()).await.expect_err("nobody is asked");
    assert!(error.why.contains("dc1.contoso.test: no answer to the bind"), "{error}");
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
    assert_eq!(silent.connections(), 1);
}

#[tokio::test]
async fn nonsense_is_an_error() {
    let deep: Vec<u8> = {
        let levels = 150_000u32;
        (0..levels).flat_map(|level| [&[0x30, 0x83], &((levels - level - 1) * 5).to_be_bytes()[1..]].concat()).collect()
    };
    let nonsense: [(&str, Vec<u8>); 6] = [
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("nesting", deep),
        ("an empty result", b"\x30\x05\x02\x01\x01\x61\x00".to_vec()),
        ("an endless length", b"\x30\x84\x7f\xff\xff\xff".to_vec()),
        ("another number", result(77, 0x61, 0)),
        ("another answer", result(1, 0x65, 0)),
    ];
    for (what, bytes) in nonsense {
        let server = Server::start(move |_, _| Some(bytes.clone())).await;
        let begun = Instant::now();
        directory(vec![server.controller()]).user(&alice()).await.expect_err(what);
        assert!(begun.elapsed() < Duration::from_secs(1), "{what}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_hung_up_meanwhile_is_connected_anew() {
    let once = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |id, request| {
        // Every connection is good for a bind and one search.
        let number = once.fetch_add(1, Ordering::Relaxed) % 3;
        (number < 2 || is_bind(request)).then(|| serve(id, request, &[ALICE]))
    })
    .await;
    let directory = directory_with(vec![server.controller()], |settings| settings.limits.remember = Duration::ZERO);
    assert!(directory.user(&alice()).await.expect("it answers").is_some());
    assert!(directory.user(&alice()).await.expect("over a new connection").is_some());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_wrong_service_password_is_not_tried_again_soon() {
    let server = Server::start(|id, _| Some(result(id, 0x61, 49))).await;
    let directory = directory(vec![server.controller()]);
    for _ in 0..3 {
        let error = directory.user(&alice()).await.expect_err("nobody is logged on");
        assert!(error.why.contains("the password of the service account is wrong"), "{error}");
        assert!(error.why.contains("LDAP result 49: words"), "{error}");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_search_the_server_dislikes_does_not_put_it_away() {
    let server =
        Server::start(|id, request| Some(if is_bind(request) { result(id, 0x61, 0) } else { result(id, 0x65, 18) }))
            .await;
    let directory = directory(vec![server.controller()]);
    for _ in 0..3 {
        let error = directory.user(&alice()).await.expect_err("it is refused");
        assert!(error.why.contains("LDAP result 18"), "{error}");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_sent_after_start_tls_in_the_clear_is_not_believed() {
    let server = Server::start(|id, _| Some([result(id, 0x78, 0), result(2, 0x61, 0)].concat())).await;
    let controller = Controller { security: Security::StartTls, ..server.controller() };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca_file = folder.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().expect("keys can be made");
    let authority = rcgen::CertificateParams::default().self_signed(&key).expect("it can sign itself");
    std::fs::write(&ca_file, authority.pem()).expect("it can be written");
    let directory = directory_with(vec![controller], |settings| settings.ca_file = Some(ca_file));
    let error = directory.user(&alice()).await.expect_err("somebody is in between");
    assert!(error.why.contains("an answer to another question"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let controller = plain("127.0.0.1:389".parse().expect("an address"));
    let settings = directory(vec![controller.clone()]).settings.clone();
    let new = |settings| LdapDirectory::new(settings, Arc::new(SystemSurroundings::new())).map(drop);
    let without = LdapSettings { controllers: Vec::new(), ..settings.clone() };
    assert!(matches!(new(without), Err(LdapSetupError::NoController)));
    let nameless = LdapSettings { account: String::new(), ..settings.clone() };
    assert!(matches!(new(nameless), Err(LdapSetupError::NoAccount)));
    let secured = vec![Controller { security: Security::Ldaps, ..controller }];
    let untrusting = LdapSettings { controllers: secured.clone(), ..settings.clone() };
    assert!(matches!(new(untrusting), Err(LdapSetupError::NoAuthority)));
    let missing = LdapSettings { ca_file: Some("/nowhere/ca.pem".into()), ..settings };
    assert!(matches!(new(missing), Err(LdapSetupError::BadAuthority { .. })));
}
