//! The password of a service account.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest password file read. Bytes; Active Directory allows 256 characters.
const LONGEST: usize = 4096;

/// A password, or the file it is in. Prints nothing of it.
#[derive(Clone)]
pub struct Secret(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Known(Zeroizing<String>),
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the password file {path} cannot be read: {error}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is empty, too long, or no text. With an empty password a server would log nobody on and say it succeeded:
    /// RFC 4513 §5.1.2.
    #[error("the password{} is empty, longer than {LONGEST} bytes, or no UTF-8 text", of(.path))]
    Unusable {
        /// In which file, if in one.
        path: Option<PathBuf>,
    },
}

fn of(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default()
}

impl Secret {
    /// The first line of this file. It is read anew for each use, so that a password can be changed without a restart.
    pub fn in_file(path: impl Into<PathBuf>) -> Secret {
        Secret(Source::File(path.into()))
    }

    /// This password.
    pub fn known(password: impl Into<String>) -> Secret {
        Secret(Source::Known(Zeroizing::new(password.into())))
    }

    /// The password, never empty.
    pub(super) async fn reveal(&self) -> Result<Zeroizing<String>, SecretError> {
        match &self.0 {
            Source::Known(password) => usable(password, None),
            Source::File(path) => {
                let read = tokio::fs::read(path).await.map(Zeroizing::new);
                let bytes = read.map_err(|error| SecretError::Unreadable { path: path.clone(), error })?;
                let unusable = || SecretError::Unusable { path: Some(path.clone()) };
                let text = std::str::from_utf8(&bytes).map_err(|_| unusable())?;
                usable(text.lines().next().unwrap_or_default(), Some(path))
            }
        }
    }
}

fn usable(password: &str, path: Option<&Path>) -> Result<Zeroizing<String>, SecretError> {
    if password.is_empty() || password.len() > LONGEST {
        return Err(SecretError::Unusable { path: path.map(Path::to_owned) });
    }
    Ok(Zeroizing::new(password.to_owned()))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => write!(f, "Secret(in {})", path.display()),
            Source::Known(_) => f.write_str("Secret(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_each_time_and_its_line_end_is_no_part_of_the_password() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("password");
        let secret = Secret::in_file(&path);
        assert!(matches!(secret.reveal().await, Err(SecretError::Unreadable { .. })));
        std::fs::write(&path, "first one \r\n").expect("it can be written");
        assert_eq!(*secret.reveal().await.expect("a password"), "first one ");
        std::fs::write(&path, "second\n").expect("it can be written");
        assert_eq!(*secret.reveal().await.expect("a password"), "second");
    }

    #[tokio::test]
    async fn an_empty_password_is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("password");
        for content in [b"".as_slice(), b"\n", b"\xff\xff"] {
            std::fs::write(&path, content).expect("it can be written");
            assert!(matches!(Secret::in_file(&path).reveal().await, Err(SecretError::Unusable { .. })));
        }
        assert!(matches!(Secret::known("").reveal().await, Err(SecretError::Unusable { .. })));
    }

    #[test]
    fn it_prints_nothing() {
        assert_eq!(format!("{:?}", Secret::known("opensesame")), "Secret(…)");
    }
}
