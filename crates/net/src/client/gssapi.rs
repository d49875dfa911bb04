//! Single sign-on through the system's GSS-API library. RFC 2743; for Kerberos, RFC 4121.
//!
//! It knows every kind of ticket cache (files, folders, the kernel's keyrings, the daemons of KCM), the rules by which one
//! of several is chosen, and the KDCs of `krb5.conf`. What it does is as SIP wants it: one bare token of Kerberos, integrity,
//! no answer from the service. The service's name is taken as the server gave it, past the DNS, which may not lead to
//! another one; its realm is found from that of the user.
//!
//! The library reads its environment (`KRB5CCNAME`, `KRB5_CONFIG`) by itself, and blocks while it asks KDCs: hence a thread
//! for each context. Omitted: passwords (tickets are had without this library then), delegation.

use libgssapi::context::{ClientCtx, CtxFlags, SecurityContext};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::{Error, MajorFlags};
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_NT_KRB5_PRINCIPAL, OidSet};
use mechanism::kerberos::PerMessageCalls;
use signin::io::{SecContext, SecContextError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Where the errors of Kerberos begin among the minor statuses, the same with MIT Kerberos and Heimdal (`krb5_err.et`). The
/// first 128 are those of RFC 4120 §7.5.9, the others are the library's own.
const KRB5_ERRORS: i32 = -1_765_328_384;

/// The library's own errors, from [`KRB5_ERRORS`] on.
mod own {
    use std::ops::RangeInclusive;

    /// A ticket cache has a bad name, an unknown kind, or not the ticket (`KRB5_CC_BADNAME` to `KRB5_CC_END`).
    pub(super) const CACHE: RangeInclusive<i32> = 139..=142;
    /// It is not there, may not be read, or is damaged (`KRB5_CC_IO` to `KRB5_CC_NOT_KTYPE`).
    pub(super) const CACHE_FILE: RangeInclusive<i32> = 193..=200;
    /// `KRB5_REALM_UNKNOWN`: nobody says where the realm's KDC is.
    pub(super) const REALM_UNKNOWN: i32 = 154;
    /// `KRB5_KDC_UNREACH`.
    pub(super) const KDC_UNREACH: i32 = 156;
    /// `KRB5_REALM_CANT_RESOLVE`: the KDC's name has no address.
    pub(super) const REALM_CANT_RESOLVE: i32 = 220;
}

/// `KRB_AP_ERR_TKT_EXPIRED`, which the library finds out by itself.
const TICKET_EXPIRED: i32 = 32;

/// Begins a context with `class/host`, over a connection with these bindings. The thread that asks is left to itself when the limit is over: whatever hangs in the
/// library must not hold up the end of the program.
pub(super) async fn init_sec_context(
    service: String,
    channel: Option<Vec<u8>>,
    limit: Duration,
) -> Result<SecContext, SecContextError> {
    let (answer, answered) = oneshot::channel();
    let asking = std::thread::Builder::new().name("gssapi".to_owned()).spawn(move || {
        // Nobody takes the answer any more when the limit is over.
        let _ = answer.send(begin(&service, channel.as_deref()));
    });
    if let Err(error) = asking {
        return Err(SecContextError::Failed(format!("no thread can be started for it: {error}")));
    }
    match timeout(limit, answered).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(SecContextError::Failed("it ended without an answer".to_owned())),
        Err(_) => Err(SecContextError::Timeout),
    }
}

fn begin(service: &str, channel: Option<&[u8]>) -> Result<SecContext, SecContextError> {
    let without_client = |error| failure(error, None);
    let mut mechanisms = OidSet::new();
    mechanisms.add(GSS_MECH_KRB5).map_err(without_client)?;
    let credential = Cred::acquire(None, None, CredUsage::Initiate, Some(&mechanisms)).map_err(without_client)?;
    let target = Name::new(principal(service).as_bytes(), Some(GSS_NT_KRB5_PRINCIPAL)).map_err(without_client)?;
    // Which cache is used may depend on the service; so the user is asked for afterwards.
    let mut context = ClientCtx::new(Some(credential.clone()), target, CtxFlags::GSS_C_INTEG_FLAG, Some(GSS_MECH_KRB5));
    let token = context.step(None, channel).map_err(|error| failure(error, Some(&credential)))?;
    let token = match token {
        Some(token) if context.is_complete() => token.to_vec(),
        _ => return Err(SecContextError::Failed("its context is not complete after one token".to_owned())),
    };
    let client = context.source_name().map_err(without_client)?.to_string();
    Ok(SecContext { client, token, calls: Some(Arc::new(Context(Mutex::new(context)))) })
}

/// The service as a principal of no realm, which stands for "begin with the user's and follow the KDC".
fn principal(service: &str) -> String {
    let mut name = String::with_capacity(service.len() + 1);
    for letter in service.chars() {
        if matches!(letter, '@' | '\\') {
            name.push('\\');
        }
        name.push(letter);
    }
    name.push('@');
    name
}

/// What an error means. The library keeps its words for the thread that got it, so they are asked for at once.
fn failure(error: Error, credential: Option<&Cred>) -> SecContextError {
    let words = words(&error);
    let routine_error = error.major.bits() & (0xff << 16);
    let is = |flags: MajorFlags| routine_error == flags.bits();
    let kerberos = error.minor.cast_signed().wrapping_sub(KRB5_ERRORS);
    match kerberos {
        TICKET_EXPIRED => SecContextError::NoTicket(words),
        code @ 0..128 => {
            let client = credential.and_then(|credential| Some(credential.name().ok()?.to_string()));
            SecContextError::Refused { client, code, words }
        }
        own::REALM_UNKNOWN | own::KDC_UNREACH | own::REALM_CANT_RESOLVE => SecContextError::Unreachable(words),
        code if own::CACHE.contains(&code) || own::CACHE_FILE.contains(&code) => SecContextError::NoTicket(words),
        _ if is(MajorFlags::GSS_S_NO_CRED) || is(MajorFlags::GSS_S_CREDENTIALS_EXPIRED) => {
            SecContextError::NoTicket(words)
        }
        _ => SecContextError::Failed(words),
    }
}

/// "Unspecified GSS failure. Minor code may provide more information (Ticket expired)": what is in the brackets, where there
/// is anything.
fn words(error: &Error) -> String {
    let all = error.to_string();
    if error.minor == 0 { all } else { in_brackets(&all).to_owned() }
}

fn in_brackets(all: &str) -> &str {
    all.split_once(" (").and_then(|(_, minor)| minor.strip_suffix(')')).unwrap_or(all)
}

/// A context that is complete. Signing and checking ask nobody and do not block.
struct Context(Mutex<ClientCtx>);

impl Context {
    fn context(&self) -> MutexGuard<'_, ClientCtx> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PerMessageCalls for Context {
    fn get_mic(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.context().get_mic(text).ok().map(|mic| mic.to_vec())
    }

    fn verify_mic(&self, text: &[u8], mic: &[u8]) -> bool {
        self.context().verify_mic(text, mic).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_realm_but_the_empty_one() {
        assert_eq!(principal("sip/fe01.contoso.test"), "sip/fe01.contoso.test@");
        assert_eq!(principal("sip/fe01@EVIL.TEST"), "sip/fe01\\@EVIL.TEST@");
        assert_eq!(principal("sip/fe01\\"), "sip/fe01\\\\@");
    }

    #[test]
    fn errors_are_told_apart_by_their_numbers() {
        let of = |major: MajorFlags, minor: i32| {
            failure(Error { major, minor: KRB5_ERRORS.wrapping_add(minor).cast_unsigned() }, None)
        };
        let general = MajorFlags::GSS_S_FAILURE;
        assert!(matches!(of(general, 7), SecContextError::Refused { code: 7, client: None, .. }));
        assert!(matches!(of(general, 127), SecContextError::Refused { code: 127, .. }));
        for none in [32, 140, 141, 195] {
            assert!(matches!(of(general, none), SecContextError::NoTicket(_)), "{none}");
        }
        for unreachable in [154, 156, 220] {
            assert!(matches!(of(general, unreachable), SecContextError::Unreachable(_)), "{unreachable}");
        }
        assert!(matches!(of(general, 224), SecContextError::Failed(_)), "no default realm");
        assert!(matches!(of(general, -1), SecContextError::Failed(_)), "of another table");
        for major in [MajorFlags::GSS_S_NO_CRED, MajorFlags::GSS_S_CREDENTIALS_EXPIRED] {
            let error = failure(Error { major, minor: 0 }, None);
            assert!(matches!(&error, SecContextError::NoTicket(words) if !words.is_empty()), "{error:?}");
        }
    }

    #[test]
    fn the_words_are_those_of_kerberos() {
        let all = "Unspecified GSS failure.  Minor code may provide more information (Ticket (it) expired)";
        assert_eq!(in_brackets(all), "Ticket (it) expired");
        assert_eq!(in_brackets("No context"), "No context");
        let error = Error { major: MajorFlags::GSS_S_NO_CRED, minor: 0 };
        assert!(words(&error).contains("credential"), "{}", words(&error));
    }
}
