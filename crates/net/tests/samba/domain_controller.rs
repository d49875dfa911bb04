//! One Samba domain controller for all tests of a program, on loopback in namespaces of its own: nothing else on this
//! machine sees it, and it ends with the program.
//!
//! It needs root (Samba gives files to several users) and the packages of `scripts/packages.sh test`. The domain is
//! `contoso.test` alias `CONTOSO`; everybody in `people.ldif` has [`PASSWORD`].

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Of everybody.
pub(crate) const PASSWORD: &str = "Pa55-word";
/// The Kerberos realm.
pub(crate) const REALM: &str = "CONTOSO.TEST";
/// Name of the controller, as in its certificate.
pub(crate) const HOST: &str = "dc1.contoso.test";

/// A running controller, or one that was stopped.
pub(crate) struct DomainController {
    folder: PathBuf,
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    running: bool,
}

/// The controller, for one test at a time, running; the thread of the test is moved into its network.
pub(crate) fn domain_controller() -> MutexGuard<'static, DomainController> {
    static CONTROLLER: OnceLock<Mutex<DomainController>> = OnceLock::new();
    let controller = CONTROLLER.get_or_init(|| Mutex::new(DomainController::start()));
    let mut controller = controller.lock().unwrap_or_else(PoisonError::into_inner);
    controller.serve();
    controller.enter();
    controller
}

impl DomainController {
    fn start() -> DomainController {
        assert!(nix::unistd::geteuid().is_root(), "a domain controller can only be started by root");
        let folder = tempfile::Builder::new().prefix("signpost-samba-").tempdir().expect("a temporary folder").keep();
        write_certificate(&folder);
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samba");
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash"])
            .arg(here.join("domain_controller.sh"))
            .args([&folder, &here])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (package util-linux) starts");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut controller = DomainController { folder, child, commands, answers, running: true };
        controller.expect("ready");
        controller
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        if read.is_ok() && line.trim() == word {
            return;
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n");
        panic!("the domain controller does not serve; are the packages of `scripts/packages.sh test` there?\n{last}");
    }

    fn command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("it reads");
        self.expect("done");
    }

    /// Ends all of Samba, winbind too.
    pub(crate) fn stop(&mut self) {
        self.command("stop");
        self.running = false;
    }

    /// Starts it again with what it knew.
    pub(crate) fn serve(&mut self) {
        if !self.running {
            self.command("start");
            self.running = true;
        }
    }

    /// Moves this thread, and those it starts, into the network and the file systems of the controller.
    fn enter(&self) {
        let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", self.child.id())).expect("it runs");
        let (network, mounts) = (open("net"), open("mnt"));
        unshare(CloneFlags::CLONE_FS).expect("root may");
        setns(network, CloneFlags::CLONE_NEWNET).expect("root may");
        setns(mounts, CloneFlags::CLONE_NEWNS).expect("root may");
    }

    /// LDAP over TLS and without.
    pub(crate) fn ldaps(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 636))
    }

    /// LDAP that becomes TLS.
    pub(crate) fn ldap(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 389))
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Keys of `sip/pool1.contoso.test`, `http/pool1.contoso.test`, and of `sip/old.contoso.test`, whose tickets are RC4.
    pub(crate) fn keytab(&self) -> PathBuf {
        self.folder.join("service.keytab")
    }

    /// Names the key distribution centre, 127.0.0.1:88.
    pub(crate) fn krb5_conf(&self) -> PathBuf {
        self.folder.join("krb5.conf")
    }

    /// For what a test writes; it ends with the controller.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn write_certificate(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.distinguished_name.push(DnType::CommonName, "Contoso test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("keys can be made");
    let ca = authority.self_signed(&key).expect("it can sign itself").pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().expect("keys can be made");
    let leaf = CertificateParams::new(vec![HOST.to_owned()]).expect("a name");
    let certificate = leaf.signed_by(&key, &issuer).expect("it can sign").pem();
    let write = |name: &str, content: &str| std::fs::write(folder.join(name), content).expect("it can be written");
    write("ca.pem", &ca);
    write("dc1.pem", &certificate);
    write("dc1.key", &key.serialize_pem());
    // Samba insists on it.
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.join("dc1.key"), private).expect("it is ours");
}
