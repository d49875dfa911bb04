//! The user's certificates as files: one for each address, certificate and key in PEM, readable by the user alone.
//!
//! A folder is for one deployment. One address may be somebody in several (a laboratory beside the real network), which are
//! told apart by how they are reached: their name server and their roots ([`Files::folder_of`]). Not by a server that was
//! named: a deployment has several, and one certificate is good at all of them. What is not told apart by that costs a
//! password: the certificate of one is refused by the other, and replaced.

use miette::{IntoDiagnostic, Result, WrapErr};
use signin::authenticate::keyring::{Keyring, UserCertificate};
use signin::name::Aor;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A folder with certificates. All are of one deployment.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    /// The folder, made when it is not there.
    pub(crate) fn open(folder: PathBuf) -> Result<Files> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .into_diagnostic()
            .wrap_err_with(|| format!("the folder for certificates {} cannot be made", folder.display()))?;
        Ok(Files(folder))
    }

    /// Where programs keep state, by the convention of the desktop.
    pub(crate) fn usual_folder() -> Option<PathBuf> {
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
        Some(state.or_else(home)?.join("signpost/certificates"))
    }

    /// The folder within this one for the deployment that is reached by this name server and has these roots; the folder
    /// itself for the one that the machine is set up for. A name server is an address, however it was written; a root is what
    /// is in its file, wherever it lies.
    pub(crate) fn folder_of(folder: PathBuf, dns: Option<SocketAddr>, roots: &[PathBuf]) -> PathBuf {
        let mut parts: Vec<Vec<u8>> =
            roots.iter().map(|root| fs::read(root).unwrap_or_else(|_| root.as_os_str().as_bytes().to_vec())).collect();
        parts.sort();
        parts.dedup();
        let dns = dns.map(|dns| if dns.port() == 53 { dns.ip().to_string() } else { dns.to_string() });
        parts.extend(dns.map(|dns| format!("name server {dns}").into_bytes()));
        if parts.is_empty() {
            return folder;
        }
        let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let digest = parts.join(&0).into_iter().fold(0xcbf2_9ce4_8422_2325, hash);
        folder.join(format!("deployment-{digest:016x}"))
    }

    fn path(&self, aor: &Aor) -> PathBuf {
        // An address may hold a slash; no file name may.
        self.0.join(format!("{}.pem", aor.as_str().replace('/', "%2F")))
    }
}

impl Keyring for Files {
    fn load(&self, aor: &Aor) -> Option<UserCertificate> {
        let path = self.path(aor);
        if fs::metadata(&path).ok()?.permissions().mode() & 0o077 != 0 {
            // Others could have read the key: it is not used any more.
            return None;
        }
        let text = Zeroizing::new(fs::read_to_string(&path).ok()?);
        let mut certificate = None;
        let mut key = None;
        for (label, bytes) in pem_blocks(&text) {
            match label {
                "CERTIFICATE" => certificate = Some(bytes.to_vec()),
                "PRIVATE KEY" => key = Some(bytes),
                _ => {}
            }
        }
        UserCertificate::of(certificate?, key?).ok()
    }

    fn save(&self, aor: &Aor, certificate: &UserCertificate) -> Result<(), String> {
        let text = Zeroizing::new(format!(
            "{}{}",
            *pem("CERTIFICATE", &certificate.certificate),
            *pem("PRIVATE KEY", &certificate.key)
        ));
        replace(&self.path(aor), text.as_bytes()).map_err(|error| format!("{}: {error}", self.path(aor).display()))
    }

    fn forget(&self, aor: &Aor) {
        // That there is none is just as well.
        let _ = fs::remove_file(self.path(aor));
    }
}

/// Writes beside it and renames, so that there is never half a file.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn pem(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    use base64::Engine;
    let body = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(bytes));
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 64));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn pem_blocks(text: &str) -> impl Iterator<Item = (&str, Zeroizing<Vec<u8>>)> {
    use base64::Engine;
    text.split("-----BEGIN ").skip(1).filter_map(|block| {
        let (label, rest) = block.split_once("-----")?;
        let (body, _) = rest.split_once("-----END ")?;
        let body: Zeroizing<String> = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let bytes = base64::engine::general_purpose::STANDARD.decode(body.as_bytes()).ok()?;
        Some((label, Zeroizing::new(bytes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::name_server;

    /// A certificate that was made once for these tests; what stands for its key is any bytes.
    fn certificate(key: &[u8]) -> UserCertificate {
        let text = include_str!("keyring_certificate.pem");
        let (_, der) = pem_blocks(text).next().expect("a certificate");
        UserCertificate::of(der.to_vec(), Zeroizing::new(key.to_vec())).expect("it can be read")
    }

    fn aor(text: &str) -> Aor {
        text.parse().expect("an address")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn one_file_for_each_user_that_nobody_else_can_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().join("a/b")).expect("it can be made");
        assert_eq!(mode(&folder.path().join("a/b")), 0o700);
        let (alice, bob, slash) = (aor("alice@contoso.test"), aor("bob@contoso.test"), aor("a/b@contoso.test"));
        assert!(files.load(&alice).is_none());
        for (who, key) in [(&alice, &b"one"[..]), (&bob, b"two"), (&slash, b"three")] {
            files.save(who, &certificate(key)).expect("it can be kept");
        }
        files.save(&alice, &certificate(b"one again")).expect("it can be replaced");
        let key = |who: &Aor| files.load(who).map(|kept| kept.key.to_vec());
        assert_eq!(key(&alice).as_deref(), Some(&b"one again"[..]));
        assert_eq!((key(&bob).as_deref(), key(&slash).as_deref()), (Some(&b"two"[..]), Some(&b"three"[..])));
        let kept = files.load(&alice).expect("it is there");
        let same = certificate(b"");
        assert_eq!((kept.certificate, kept.begins, kept.ends), (same.certificate.clone(), same.begins, same.ends));
        let names: Vec<_> = fs::read_dir(folder.path().join("a/b")).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 3, "nothing is left beside them");
        assert!(names.iter().all(|name| mode(&name.path()) == 0o600));

        files.forget(&alice);
        files.forget(&alice);
        assert!(files.load(&alice).is_none() && files.load(&bob).is_some());
    }

    #[test]
    fn a_key_that_others_could_read_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().to_owned()).expect("a folder");
        let alice = aor("alice@contoso.test");
        files.save(&alice, &certificate(b"key")).expect("it can be kept");
        for (bits, usable) in [(0o640, false), (0o604, false), (0o610, false), (0o600, true), (0o400, true)] {
            fs::set_permissions(files.path(&alice), fs::Permissions::from_mode(bits)).expect("it is ours");
            assert_eq!(files.load(&alice).is_some(), usable, "{bits:o}");
        }
        fs::set_permissions(files.path(&alice), fs::Permissions::from_mode(0o644)).expect("it is ours");
        files.save(&alice, &certificate(b"another")).expect("it can be replaced");
        assert_eq!(mode(&files.path(&alice)), 0o600);
        assert!(files.load(&alice).is_some());
    }

    #[test]
    fn a_damaged_file_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().to_owned()).expect("a folder");
        let alice = aor("alice@contoso.test");
        files.save(&alice, &certificate(b"key")).expect("it can be kept");
        let whole = fs::read_to_string(files.path(&alice)).expect("text");
        let key_at = whole.find("-----BEGIN PRIVATE KEY").expect("a key");
        for damaged in
            ["", "nonsense", &whole[..key_at], &whole[key_at..], &whole[..100], &whole.replacen("MII", "!!!", 1)]
        {
            fs::write(files.path(&alice), damaged).expect("it is ours");
            assert!(files.load(&alice).is_none(), "{damaged:?}");
        }
        files.save(&alice, &certificate(b"key")).expect("it can be replaced");
        assert!(files.load(&alice).is_some());
    }

    #[test]
    fn deployments_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("written");
            folder.path().join(name)
        };
        let (one, copy, other) = (root("one", "A"), root("copy", "A"), root("other", "B"));
        let of = |dns: Option<&str>, roots: &[&PathBuf]| {
            let dns = dns.map(|dns| name_server(dns).expect("a name server"));
            let roots: Vec<PathBuf> = roots.iter().map(|root| (*root).clone()).collect();
            Files::folder_of(PathBuf::from("/certificates"), dns, &roots)
        };
        assert_eq!(of(None, &[]), Path::new("/certificates"), "the one this machine is set up for");
        assert_eq!(of(None, &[&one]), of(None, &[&copy, &one]), "a root is what is in its file");
        assert_eq!(of(None, &[&one, &other]), of(None, &[&other, &one]), "in any order");
        for (short, long) in [("192.0.2.53", "192.0.2.53:53"), ("2001:db8::53", "[2001:DB8:0::53]:53")] {
            assert_eq!(of(Some(short), &[]), of(Some(long), &[]), "one name server in two spellings");
        }
        assert_ne!(of(Some("192.0.2.53"), &[]), of(Some("192.0.2.53:5353"), &[]));
        let dns = "192.0.2.53";
        let all = [of(None, &[]), of(None, &[&one]), of(None, &[&other]), of(Some(dns), &[]), of(Some(dns), &[&one])];
        for (nth, first) in all.iter().enumerate() {
            assert!(all[nth + 1..].iter().all(|second| second != first), "{all:?}");
        }
    }
}
