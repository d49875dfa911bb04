//! The user's certificates as files: one for each address, certificate and key in PEM, readable by the user alone.

use miette::{IntoDiagnostic, Result, WrapErr};
use signin::authenticate::keyring::{Keyring, UserCertificate};
use signin::name::Aor;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
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
