//! MIT Kerberos: a KDC of its own on the loopback, with its database in a folder that goes away with it, its programs, and
//! its library as the other end of a handshake (`tests/counterparts/kerberos/gss_krb5_peer.c`, compiled once).

use super::line::{Peer, Step, build};
use super::mit::{PASSWORD, REALM, surrounded, typed};
use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// A running KDC. It ends when this is dropped.
pub(crate) struct Realm {
    folder: TempDir,
    kdc: Child,
}

impl Realm {
    /// Starts one that knows `alice`.
    pub(crate) fn start() -> Realm {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        configure(folder.path(), port);
        run(folder.path(), "kdb5_util", &["create", "-s", "-r", REALM, "-P", "master"]);
        let kdc = surrounded(folder.path(), "krb5kdc")
            .args(["-n", "-r", REALM])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts krb5kdc; install krb5-kdc");
        let mut realm = Realm { folder, kdc };
        realm.wait_until_it_listens(port);
        realm.admin(&format!("addprinc -pw {PASSWORD} alice"));
        realm
    }

    fn wait_until_it_listens(&mut self, port: u16) {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return;
            }
            let ended = self.kdc.try_wait().expect("asks");
            assert!(ended.is_none(), "krb5kdc: {:?}", fs::read_to_string(self.folder.path().join("kdc.log")));
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("krb5kdc does not listen");
    }

    /// Makes a service with keys of one type.
    pub(crate) fn service(&self, name: &str, etype: &str) {
        self.admin(&format!("addprinc -randkey -e {etype}:normal {name}"));
    }

    /// Makes one that knows no other type: else the KDC picks the client's best for the session.
    pub(crate) fn service_of_one_type(&self, name: &str, etype: &str) {
        self.service(name, etype);
        self.admin(&format!("setstr {name} session_enctypes {etype}"));
    }

    /// One command of the administrator.
    pub(crate) fn admin(&self, query: &str) {
        run(self.folder.path(), "kadmin.local", &["-r", REALM, "-q", query]);
    }

    /// The keys of some services as MIT Kerberos writes them.
    pub(crate) fn keytab(&self, names: &[&str]) -> Vec<u8> {
        let file = self.folder.path().join("exported.keytab");
        let _ = fs::remove_file(&file);
        self.admin(&format!("ktadd -norandkey -k {} {}", file.display(), names.join(" ")));
        fs::read(file).expect("kadmin wrote it")
    }

    /// The `krb5.conf` of those who know this realm only.
    #[allow(dead_code)] // for tests of other crates
    pub(crate) fn conf(&self) -> PathBuf {
        self.folder.path().join("krb5.conf")
    }

    /// A program that knows this realm only, and alice's tickets.
    pub(crate) fn surround(&self, program: impl AsRef<OsStr>) -> Command {
        surrounded(self.folder.path(), program)
    }

    /// `kinit alice`.
    pub(crate) fn sign_in(&self) {
        let output = typed(self.surround("kinit").arg("alice"), PASSWORD);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `klist -k` says of a keytab.
    pub(crate) fn list(&self, keytab: &[u8]) -> String {
        let file = self.write_keytab(keytab);
        let output = self.surround("klist").args(["-k", "-e"]).arg(file).output().expect("runs klist");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// alice's side of a handshake: `krb5` or `spnego`; `mutual` or `alone`, and `,ordered` where their side is
    /// to insist on the numbers of signatures.
    pub(crate) fn initiate(&self, mechanism: &str, answer: &str, service: &str) -> (Peer, Step) {
        let mut peer = Peer::spawn(&mut self.surround(program()));
        let step = peer.step(&format!("initiate {mechanism} {answer} {service}"));
        (peer, step)
    }

    /// The same over a TLS connection of which both ends know these data.
    #[allow(dead_code)] // for tests of this crate
    pub(crate) fn initiate_over(&self, data: &[u8], mechanism: &str, answer: &str, service: &str) -> (Peer, Step) {
        let mut peer = Peer::spawn(&mut self.surround(program()));
        peer.bind(data);
        let step = peer.step(&format!("initiate {mechanism} {answer} {service}"));
        (peer, step)
    }

    /// alice's tickets, one for this service among them, as `kinit` and `kvno` leave them.
    #[allow(dead_code)] // for tests of this crate
    pub(crate) fn tickets(&self, service: &str) -> Vec<u8> {
        let output = self.surround("kvno").arg(service).output().expect("runs kvno");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(self.folder.path().join("ccache")).expect("kinit wrote it")
    }

    /// A server's side of a handshake with a keytab.
    pub(crate) fn acceptor(&self, keytab: &[u8]) -> Peer {
        let file = self.write_keytab(keytab);
        Peer::spawn(self.surround(program()).env("KRB5_KTNAME", file))
    }

    fn write_keytab(&self, keytab: &[u8]) -> PathBuf {
        let file = self.folder.path().join("ours.keytab");
        fs::write(&file, keytab).expect("writes the keytab");
        file
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        let _ = self.kdc.kill();
        let _ = self.kdc.wait();
    }
}

fn configure(folder: &Path, port: u16) {
    let here = folder.display();
    let krb5 = format!(
        "[libdefaults]
 default_realm = {REALM}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 allow_weak_crypto = true
 allow_rc4 = true
 permitted_enctypes = aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96 arcfour-hmac
[realms]
 {REALM} = {{
  kdc = 127.0.0.1:{port}
 }}
[domain_realm]
 .contoso.test = {REALM}
[logging]
 kdc = FILE:{here}/kdc.log
"
    );
    let kdc = format!(
        "[realms]
 {REALM} = {{
  database_name = {here}/principal
  key_stash_file = {here}/stash
  acl_file = {here}/acl
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
  master_key_type = aes256-cts-hmac-sha1-96
  supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal arcfour-hmac:normal
 }}
"
    );
    fs::write(folder.join("krb5.conf"), krb5).expect("writes krb5.conf");
    fs::write(folder.join("kdc.conf"), kdc).expect("writes kdc.conf");
}

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = surrounded(folder, program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}; install krb5-kdc, krb5-admin-server, krb5-user"));
    let words = String::from_utf8_lossy(&output.stderr);
    // kadmin.local leaves with 0 whatever its query came to.
    let failed = words.lines().any(|line| line.starts_with(program) || line.contains(": "));
    assert!(output.status.success() && !(program == "kadmin.local" && failed && !words.contains("WARNING")), "{words}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("kerberos", "gcc and libkrb5-dev"))
}
