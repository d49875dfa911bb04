//! Our KDC on the loopback, over UDP and TCP, with a folder in which the programs of MIT Kerberos find it.

use super::mit::{PASSWORD, REALM, surrounded, typed};
use mechanism::kerberos::Now;
use mechanism::kerberos::kdc::{Database, Entry, Kdc, Keys};
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::name::{NameType, Principal};
use std::cell::Cell;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// How long a connection may say nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running KDC. It ends when this is dropped.
pub(crate) struct OurRealm {
    folder: TempDir,
    address: SocketAddr,
    serving: Arc<Serving>,
    keytab: Vec<u8>,
    threads: Vec<JoinHandle<()>>,
}

struct Serving {
    kdc: Kdc,
    /// Seconds that its clock is ahead.
    ahead: i64,
    /// Longest answer in a datagram.
    datagram: usize,
    ended: AtomicBool,
    over_udp: AtomicUsize,
    over_tcp: AtomicUsize,
}

/// What the KDC is like.
pub(crate) struct Nature {
    /// Seconds that its clock is ahead of this machine's.
    pub(crate) ahead: i64,
    /// Longest answer in a datagram, in bytes.
    pub(crate) datagram: usize,
}

impl Default for Nature {
    fn default() -> Nature {
        Nature { ahead: 0, datagram: 1400 }
    }
}

impl OurRealm {
    /// Starts one that knows `alice` (and her address), `dave`, who is disabled, and two services of a server.
    pub(crate) fn start(nature: Nature) -> OurRealm {
        let (database, keytab) = people_and_services();
        let serving = Arc::new(Serving {
            kdc: Kdc::new(REALM, database, &random()),
            ahead: nature.ahead,
            datagram: nature.datagram,
            ended: AtomicBool::new(false),
            over_udp: AtomicUsize::new(0),
            over_tcp: AtomicUsize::new(0),
        });
        let (listener, datagrams, address) = sockets();
        let (one, other) = (serving.clone(), serving.clone());
        let threads = vec![
            thread::spawn(move || one.answer_datagrams(&datagrams)),
            thread::spawn(move || other.accept(&listener)),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let realm = OurRealm { folder, address, serving, keytab, threads };
        realm.configure("");
        realm
    }

    /// Writes `krb5.conf`, with these lines among its defaults.
    pub(crate) fn configure(&self, defaults: &str) {
        let text = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n{defaults}\n\
             [realms]\n {REALM} = {{\n  kdc = {}\n }}\n[domain_realm]\n .contoso.test = {REALM}\n",
            self.address
        );
        fs::write(self.folder.path().join("krb5.conf"), text).expect("writes krb5.conf");
    }

    /// `kinit`, with a password for whoever asks.
    pub(crate) fn kinit(&self, arguments: &[&str], password: &str) -> Said {
        Said::of(&typed(surrounded(self.folder.path(), "kinit").args(arguments), password))
    }

    /// Any of its programs.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Said {
        Said::of(&surrounded(self.folder.path(), program).args(arguments).output().expect("runs; install krb5-user"))
    }

    /// Where a file of this name is, or goes.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The keys of the services, as a file.
    pub(crate) fn keytab(&self) -> &[u8] {
        &self.keytab
    }

    /// One request, past all sockets.
    pub(crate) fn answer(&self, request: &[u8]) -> Vec<u8> {
        self.serving.answer(request, None)
    }

    /// How many requests came over UDP and over TCP since this was asked last.
    pub(crate) fn requests(&self) -> (usize, usize) {
        (self.serving.over_udp.swap(0, Ordering::SeqCst), self.serving.over_tcp.swap(0, Ordering::SeqCst))
    }
}

impl Drop for OurRealm {
    fn drop(&mut self) {
        self.serving.ended.store(true, Ordering::SeqCst);
        // Both wait for somebody.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", self.address));
        drop(TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Serving {
    fn answer(&self, request: &[u8], limit: Option<usize>) -> Vec<u8> {
        let now = now();
        let now = Now { unix_seconds: now.unix_seconds + self.ahead, ..now };
        self.kdc.answer(request, limit, now, &random())
    }

    fn answer_datagrams(&self, socket: &UdpSocket) {
        let mut buffer = [0; 8192];
        while !self.ended.load(Ordering::SeqCst) {
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            self.over_udp.fetch_add(1, Ordering::SeqCst);
            let _ = socket.send_to(&self.answer(&buffer[..length], Some(self.datagram)), peer);
        }
    }

    fn accept(&self, listener: &TcpListener) {
        while !self.ended.load(Ordering::SeqCst) {
            let Ok((mut stream, _)) = listener.accept() else { continue };
            // A client that breaks off has nobody to be told.
            let _ = self.converse(&mut stream);
        }
    }

    fn converse(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        self.over_tcp.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer(&request, None);
        stream.write_all(&[&u32::try_from(answer.len()).expect("short").to_be_bytes(), &answer[..]].concat())
    }
}

/// Both at one port.
fn sockets() -> (TcpListener, UdpSocket, SocketAddr) {
    for _ in 0..50 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        if let Ok(datagrams) = UdpSocket::bind(address) {
            return (listener, datagrams, address);
        }
    }
    panic!("no port is free for both");
}

fn people_and_services() -> (Database, Vec<u8>) {
    let mut database = Database::default();
    for (name, disabled) in [("alice", false), ("dave", true)] {
        let principal = Principal::new(NameType::Principal, vec![name.to_owned()], REALM.to_owned()).expect("a name");
        database.add_alias(&format!("{name}@mail.contoso.test"), &principal);
        database.add(Entry { keys: Keys::of_password(&principal, PASSWORD), principal, disabled });
    }
    let mut keytab = Keytab::new();
    for class in ["sip", "http"] {
        let principal = Principal::service(class, "fe1.contoso.test", REALM).expect("a name");
        let keys = Keys { kvno: 7, ..Keys::generate(&random()) };
        for key in &keys.keys {
            keytab.add(principal.clone(), keys.kvno, key.clone(), 0);
        }
        database.add(Entry { principal, keys, disabled: false });
    }
    let file = keytab.write().to_vec();
    (database, file)
}

/// What a program said, and whether it was content.
#[derive(Debug)]
pub(crate) struct Said {
    content: bool,
    words: String,
}

impl Said {
    fn of(output: &Output) -> Said {
        let words = [&output.stdout[..], &output.stderr].concat();
        Said { content: output.status.success(), words: String::from_utf8_lossy(&words).into_owned() }
    }

    /// Its words, when it was content.
    #[track_caller]
    pub(crate) fn yes(self) -> String {
        assert!(self.content, "{}", self.words);
        self.words
    }

    /// Its words, when it was not.
    #[track_caller]
    pub(crate) fn no(self) -> String {
        assert!(!self.content, "{}", self.words);
        self.words
    }
}

/// This machine's clock.
pub(crate) fn now() -> Now {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Now { unix_seconds: time.as_secs().cast_signed(), microseconds: time.subsec_micros() }
}

/// Different bytes with every call; that they can be guessed does no harm here.
pub(crate) fn random() -> impl Fn(&mut [u8]) {
    static CALLS: AtomicUsize = AtomicUsize::new(1);
    let seed = u64::from(now().microseconds) << 32 | CALLS.fetch_add(1, Ordering::SeqCst) as u64;
    let state = Cell::new(seed);
    move |bytes| {
        for byte in bytes {
            state.set(state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
            *byte = (state.get() >> 56) as u8;
        }
    }
}
