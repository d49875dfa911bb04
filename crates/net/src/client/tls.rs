//! TLS as a client that must reach any server and describe it, whatever is wrong with its certificate.
//!
//! Versions 1.0 to 1.3 and every cipher OpenSSL was built with are offered, and a certificate is never refused here:
//! what chain building finds is recorded and handed to whoever decides. Names are not compared either. Sessions are
//! not resumed, so the chain reported is always the one the server sent just now.

use crate::client::SetupError;
use crate::client::tcp::Tcp;
use mechanism::tls_dsk::alert_name;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use signin::io::{ChainError, TlsError, TlsSession};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tokio_openssl::SslStream;

/// `SSL_OP_LEGACY_SERVER_CONNECT`: also reach servers older than RFC 5746 (2010).
const LEGACY_SERVER_CONNECT: u64 = 0x4;

/// Number of OpenSSL's library that reports TLS faults.
const ERR_LIB_SSL: i32 = 20;

/// Alert n is reported as reason 1000 + n.
const ALERT_REASONS: std::ops::Range<i32> = 1000..1256;

/// Most findings of chain building that are kept.
const MOST_CHAIN_ERRORS: usize = 64;

/// The file that session keys are appended to, readable by its owner only.
fn open_key_log(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Makes TLS clients.
pub(super) struct Client {
    context: SslContext,
}

impl Client {
    /// Trusts the system's roots, those of `ca_files`, or both.
    pub(super) fn new(system_roots: bool, ca_files: &[PathBuf], key_log: Option<&Path>) -> Result<Client, SetupError> {
        let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
        builder.set_security_level(0);
        builder.set_min_proto_version(Some(SslVersion::TLS1))?;
        builder.set_max_proto_version(None)?;
        builder.set_cipher_list("ALL:!aNULL:!eNULL:@SECLEVEL=0")?;
        builder.set_options(SslOptions::from_bits_retain(LEGACY_SERVER_CONNECT));
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_verify(SslVerifyMode::PEER);
        if let Some(path) = key_log {
            let file = open_key_log(path).map_err(|error| SetupError::KeyLog { path: path.to_owned(), error })?;
            let file = Mutex::new(file);
            builder.set_keylog_callback(move |_, line| {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                // A line that cannot be written costs a reader of captures, never the sign-in.
                let _ = writeln!(file, "{line}");
            });
        }
        if system_roots {
            builder.set_default_verify_paths()?;
        }
        for path in ca_files {
            let unreadable = |error: String| SetupError::CaFile { path: path.clone(), error };
            let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let roots = X509::stack_from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
            if roots.is_empty() {
                return Err(SetupError::EmptyCaFile { path: path.clone() });
            }
            for root in roots {
                builder.cert_store_mut().add_cert(root)?;
            }
        }
        Ok(Client { context: builder.build() })
    }

    /// One handshake, `server_name` sent as SNI unless it is an address (RFC 6066 §3). When the time is over, a server that
    /// has not sent one byte is told apart from a slow one.
    pub(super) async fn handshake(
        &self,
        tcp: Tcp,
        server_name: &str,
        limit: Duration,
    ) -> Result<(SslStream<Tcp>, TlsSession), TlsError> {
        let findings = Arc::<Mutex<Vec<ChainError>>>::default();
        let ssl = self.session(server_name, &findings).map_err(|error| TlsError::Failed(error.to_string()))?;
        let mut stream = SslStream::new(ssl, tcp).map_err(|error| TlsError::Failed(error.to_string()))?;
        match timeout(limit, Pin::new(&mut stream).connect()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(handshake_error(&error, stream.get_mut().first_bytes())),
            Err(_) if stream.get_mut().first_bytes().is_empty() => return Err(TlsError::Silent),
            Err(_) => return Err(TlsError::Timeout),
        }
        let chain_errors = std::mem::take(&mut *findings.lock().unwrap_or_else(PoisonError::into_inner));
        let session = describe(stream.ssl(), chain_errors);
        Ok((stream, session))
    }

    fn session(
        &self,
        server_name: &str,
        findings: &Arc<Mutex<Vec<ChainError>>>,
    ) -> Result<Ssl, openssl::error::ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        if server_name.parse::<std::net::IpAddr>().is_err() {
            ssl.set_hostname(server_name)?;
        }
        let findings = findings.clone();
        ssl.set_verify_callback(SslVerifyMode::PEER, move |good, context| {
            if !good {
                let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
                let found = ChainError {
                    depth: context.error_depth(),
                    code: context.error().as_raw(),
                    text: context.error().error_string().to_owned(),
                };
                if findings.len() < MOST_CHAIN_ERRORS && !findings.contains(&found) {
                    findings.push(found);
                }
            }
            true
        });
        Ok(ssl)
    }
}

fn describe(ssl: &SslRef, chain_errors: Vec<ChainError>) -> TlsSession {
    let cipher = ssl.current_cipher();
    let chain = ssl.peer_cert_chain().into_iter().flatten().filter_map(|certificate| certificate.to_der().ok());
    TlsSession {
        version: ssl.version_str().to_owned(),
        cipher: cipher.map(|cipher| cipher.name().to_owned()).unwrap_or_default(),
        bits: cipher.and_then(|cipher| u32::try_from(cipher.bits().secret).ok()).unwrap_or_default(),
        chain: chain.collect(),
        chain_errors,
        resumed: ssl.session_reused(),
    }
}

/// Why the handshake failed, from OpenSSL's findings and from what the peer sent first.
fn handshake_error(error: &openssl::ssl::Error, first: &[u8]) -> TlsError {
    if let Some(number) = reasons(error).find_map(alert) {
        return TlsError::Alert { number, name: alert_name(number).unwrap_or("unknown").to_owned() };
    }
    if !first.is_empty() && !begins_tls(first) {
        return TlsError::NotTls(excerpt(first));
    }
    if error.io_error().is_some() || is_cut_off(error) {
        return TlsError::Closed;
    }
    match reasons(error).find(|reason| {
        matches!(
            *reason,
            WRONG_VERSION_NUMBER
                | UNSUPPORTED_PROTOCOL
                | UNKNOWN_CIPHER
                | WRONG_CIPHER
                | NO_PROTOCOLS_AVAILABLE
                | NO_CIPHERS_AVAILABLE
                | UNKNOWN_SSL_VERSION
                | WRONG_SSL_VERSION
        )
    }) {
        Some(_) => TlsError::NothingInCommon(words(error)),
        None => TlsError::Failed(words(error)),
    }
}

// Reasons of OpenSSL's sslerr.h that mean: what the server chose is not what we offer.
const NO_CIPHERS_AVAILABLE: i32 = 181;
const NO_PROTOCOLS_AVAILABLE: i32 = 191;
const UNKNOWN_CIPHER: i32 = 248;
const UNKNOWN_SSL_VERSION: i32 = 254;
const UNSUPPORTED_PROTOCOL: i32 = 258;
const WRONG_CIPHER: i32 = 261;
const WRONG_SSL_VERSION: i32 = 266;
const WRONG_VERSION_NUMBER: i32 = 267;
/// The peer closed TCP without a goodbye in TLS.
const UNEXPECTED_EOF_WHILE_READING: i32 = 294;

/// Whether the peer ended the connection without ending TLS first.
pub(super) fn is_cut_off(error: &openssl::ssl::Error) -> bool {
    let says_nothing = error.io_error().is_none() && error.ssl_error().is_none_or(|stack| stack.errors().is_empty());
    let ended = error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof);
    says_nothing || ended || reasons(error).any(|reason| reason == UNEXPECTED_EOF_WHILE_READING)
}

fn reasons(error: &openssl::ssl::Error) -> impl Iterator<Item = i32> {
    let of_tls = |error: &&openssl::error::Error| error.library_code() == ERR_LIB_SSL;
    error.ssl_error().into_iter().flat_map(|stack| stack.errors()).filter(of_tls).map(|error| error.reason_code())
}

fn words(error: &openssl::ssl::Error) -> String {
    let first = error.ssl_error().and_then(|stack| stack.errors().first()).and_then(|error| error.reason());
    first.map_or_else(|| error.to_string(), str::to_owned)
}

fn alert(reason: i32) -> Option<u8> {
    ALERT_REASONS.contains(&reason).then(|| u8::try_from(reason - ALERT_REASONS.start).ok()).flatten()
}

/// Handshake or alert record of SSL 3.0 or any TLS, RFC 8446 §5.1.
fn begins_tls(first: &[u8]) -> bool {
    matches!(first, [0x15 | 0x16]) || matches!(first, [0x15 | 0x16, 0x03, ..])
}

/// What a peer sent, fit to be shown: control characters and what is not ASCII become dots.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(40)];
    shown.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { *b as char } else { '.' }).collect()
}
