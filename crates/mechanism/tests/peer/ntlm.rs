//! gss-ntlmssp as the other end of a handshake: `tests/counterparts/ntlm/gss_ntlmssp_peer.c`, compiled once.

use super::line::{Peer, Step, build};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A running counterpart and the file with its accounts.
pub(crate) struct NtlmPeer {
    peer: Peer,
    users: PathBuf,
}

impl NtlmPeer {
    /// Starts a counterpart that knows one account, by its own rules (`LM_COMPAT_LEVEL`, 0 to 5; 3 is what it takes by
    /// itself: version 2 only).
    pub(crate) fn start(account: &str, compatibility_level: u8) -> NtlmPeer {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let users = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("users-{}-{number}", std::process::id()));
        fs::write(&users, format!("{account}\n")).expect("writes the accounts");
        let mut command = Command::new(program());
        command
            .env_clear()
            // Without a locale of UTF-8 it does not find names outside ASCII.
            .env("LC_ALL", "C.UTF-8")
            .env("NTLM_USER_FILE", &users)
            .env("LM_COMPAT_LEVEL", compatibility_level.to_string())
            .env("NETBIOS_COMPUTER_NAME", "FE01")
            .env("NETBIOS_DOMAIN_NAME", "CONTOSO");
        NtlmPeer { peer: Peer::spawn(&mut command), users }
    }

    /// Begins as initiator towards `sip/fe01.contoso.test`. `form` is `datagram`, `connection`, or `unsigned` (connection
    /// oriented without signatures, so without key exchange).
    pub(crate) fn initiate(&mut self, form: &str) -> Step {
        self.step(&format!("initiate {form} sip@fe01.contoso.test"))
    }

    /// Begins as acceptor: `datagram` or `connection`.
    pub(crate) fn accept(&mut self, form: &str) -> Step {
        self.step(&format!("accept {form}"))
    }

    /// The session key it arrived at.
    pub(crate) fn session_key(&mut self) -> [u8; 16] {
        self.bytes("key", "key").try_into().expect("16 bytes")
    }
}

impl Deref for NtlmPeer {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for NtlmPeer {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

impl Drop for NtlmPeer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.users);
    }
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("ntlm", "gcc, libkrb5-dev and gss-ntlmssp"))
}
