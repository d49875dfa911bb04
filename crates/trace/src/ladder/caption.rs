//! What stands on an arrow: the one line that says what a question, an answer or a message is.

use signin::authenticate::message::{AuthenticationInfo, Challenge, Credentials, Scheme};
use signin::io::{ConnectError, DnsAnswer, HttpRequest, HttpResponse, Outcome, RecordKind, Srv, Target};
use signin::legible::steers;
use sip::framing::FramingError;
use sip::{Message, Name, NameAddr, StartLine};

/// One line, and whether it speaks of something that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caption {
    pub(super) text: String,
    pub(super) failed: bool,
}

fn fine(text: String) -> Caption {
    Caption { text: printable(&text), failed: false }
}

fn bad(text: String) -> Caption {
    Caption { text: printable(&text), failed: true }
}

/// Text of peers, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// `A sip.contoso.test → 127.0.0.11`.
pub(super) fn dns(name: &str, kind: RecordKind, outcome: Option<&Outcome>) -> Caption {
    let question = match kind {
        RecordKind::Address => format!("A {name}"),
        RecordKind::Srv => format!("SRV {name}"),
    };
    let Some(Outcome::Resolved(answer)) = outcome else { return fine(question) };
    match answer {
        DnsAnswer::Addresses { addresses, aliases } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let through: String = aliases.iter().map(|alias| format!("{alias} → ")).collect();
            fine(format!("{question} → {through}{}", addresses.join(", ")))
        }
        DnsAnswer::Services(services) => {
            let service = |srv: &Srv| format!("{}:{}", srv.target, srv.port);
            let services: Vec<String> = services.iter().map(service).collect();
            fine(format!("{question} → {}", services.join(", ")))
        }
        DnsAnswer::NxDomain => fine(format!("{question} → no such name")),
        DnsAnswer::NoData => fine(format!("{question} → no such record")),
        DnsAnswer::ServerFailure => bad(format!("{question} → SERVFAIL")),
        DnsAnswer::Refused => bad(format!("{question} → REFUSED")),
        DnsAnswer::Timeout => bad(format!("{question} → no answer")),
        DnsAnswer::Failed(why) => bad(format!("{question} → {why}")),
    }
}

/// `TCP 127.0.0.11:5061`.
pub(super) fn tcp(target: &Target, outcome: Option<&Outcome>) -> Caption {
    let to = match target {
        Target::Direct(peer) => format!("TCP {peer}"),
        Target::Proxied { host, port, proxy, .. } => format!("CONNECT {host}:{port} through {proxy}"),
    };
    match outcome {
        Some(Outcome::Connected(Err(ConnectError::Refused))) => bad(format!("{to} refused")),
        Some(Outcome::Connected(Err(why))) => bad(format!("{to}: {why}")),
        _ => fine(to),
    }
}

/// `TLSv1.3 TLS_AES_256_GCM_SHA384`.
pub(super) fn tls(outcome: Option<&Outcome>) -> Caption {
    match outcome {
        Some(Outcome::Secured(Ok(session))) => {
            let resumed = if session.resumed { ", resumed" } else { "" };
            match session.chain_errors.first() {
                Some(error) => bad(format!("{}, certificate: {}", session.version, error.text)),
                None => fine(format!("{} {}{resumed}", session.version, session.cipher)),
            }
        }
        Some(Outcome::Secured(Err(why))) => bad(format!("TLS: {why}")),
        _ => fine("TLS".to_owned()),
    }
}

/// `GET /Autodiscover/… → 200`.
pub(super) fn http(request: &HttpRequest, outcome: Option<&Outcome>) -> Caption {
    let path = ends_of_path(request.path.split('?').next().unwrap_or(""));
    let token = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let token = token.map(|(_, value)| format!(" {}", http_token(value))).unwrap_or_default();
    let question = format!("{} {path}{token}", request.method);
    match outcome {
        Some(Outcome::Answered(Ok(response))) => fine(format!("{question} → {}", http_status(response))),
        Some(Outcome::Answered(Err(why))) => bad(format!("{question}: {why}")),
        _ => fine(question),
    }
}

/// The first and the last segment of a long path: the service, and what is asked of it.
fn ends_of_path(path: &str) -> String {
    const LONGEST: usize = 28;
    let inner = path.strip_prefix('/').unwrap_or(path);
    match inner.split_once('/') {
        Some((first, rest)) if path.len() > LONGEST => match rest.rsplit_once('/') {
            Some((_, last)) => format!("/{first}/…/{last}"),
            None => format!("/{first}/…"),
        },
        _ => path.to_owned(),
    }
}

fn http_status(response: &HttpResponse) -> String {
    let challenges: Vec<String> = response.all("www-authenticate").map(http_token).collect();
    match (response.status, response.header("location")) {
        (401, _) if !challenges.is_empty() => format!("401 {}", challenges.join(", ")),
        (300..=399, Some(location)) => format!("{} {location}", response.status),
        (status, _) => status.to_string(),
    }
}

/// `NTLM AUTHENTICATE` of `NTLM TlRMTVNTUAAD…`; only the scheme where there is no token that we know.
fn http_token(value: &str) -> String {
    use base64::Engine;
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let token = base64::engine::general_purpose::STANDARD.decode(token.trim()).unwrap_or_default();
    match ntlm_leg(&token).or_else(|| gss_leg(&token)) {
        Some(leg) => format!("{scheme} {leg}"),
        None => scheme.to_owned(),
    }
}

/// RFC 2743 §3.1 and RFC 4178 §4.2: the first token of Kerberos is `[APPLICATION 0]`, an answer in SPNEGO is `[1]`.
fn gss_leg(token: &[u8]) -> Option<&'static str> {
    match token.first()? {
        0x60 => Some("AP-REQ"),
        0xa1 => Some("AP-REP"),
        _ => None,
    }
}

/// One message to or from a KDC, without the length before it: `TGS-REQ`, `KRB-ERROR 25 (pre-authentication required)`.
/// RFC 4120 §5.10: the application tag says which.
pub(super) fn kerberos(message: &[u8]) -> Caption {
    match message.first() {
        Some(0x6a) => fine("AS-REQ".to_owned()),
        Some(0x6b) => fine("AS-REP".to_owned()),
        Some(0x6c) => fine("TGS-REQ".to_owned()),
        Some(0x6d) => fine("TGS-REP".to_owned()),
        Some(0x7e) => match error_code(message) {
            // How every exchange with a password begins.
            Some(25) => fine("KRB-ERROR 25 (pre-authentication required)".to_owned()),
            Some(code) => bad(format!("KRB-ERROR {code} ({})", error_words(code))),
            None => bad("KRB-ERROR".to_owned()),
        },
        _ => bad(format!("{} bytes that are no Kerberos message", message.len())),
    }
}

/// Field `[6]` of a KRB-ERROR, a small integer: RFC 4120 §5.9.1. The fields before it are numbers, times and at most one
/// byte long in their tags, so it is found by walking over them.
fn error_code(message: &[u8]) -> Option<u32> {
    let (_, inner) = element(message)?;
    let (_, mut fields) = element(inner)?;
    while !fields.is_empty() {
        let (tag, content) = element(fields)?;
        if tag == 0xa6 {
            let (_, number) = element(content)?;
            return number.iter().try_fold(0u32, |code, byte| code.checked_mul(256)?.checked_add(u32::from(*byte)));
        }
        let used = fields.len() - after(fields)?.len();
        fields = fields.get(used..)?;
    }
    None
}

/// The tag and the content of the first DER element.
fn element(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, head, length) = head(bytes)?;
    Some((tag, bytes.get(head..head.checked_add(length)?)?))
}

/// What follows the first DER element.
fn after(bytes: &[u8]) -> Option<&[u8]> {
    let (_, head, length) = head(bytes)?;
    bytes.get(head.checked_add(length)?..)
}

/// Tag, length of the head and length of the content of a DER element.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    if first < 0x80 {
        return Some((tag, 2, usize::from(first)));
    }
    let digits = bytes.get(2..2 + usize::from(first & 0x7f)).filter(|digits| digits.len() <= 4)?;
    let length = digits.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
    Some((tag, 2 + digits.len(), length))
}

/// RFC 4120 §7.5.9.
fn error_words(code: u32) -> &'static str {
    match code {
        6 => "the client is not known",
        7 => "the service is not known",
        12 => "policy",
        14 => "no common encryption type",
        18 => "the account is disabled or locked",
        23 => "the password has expired",
        24 => "wrong password",
        32 => "the ticket has expired",
        37 => "the clocks differ too much",
        68 => "wrong realm",
        _ => "see RFC 4120",
    }
}

/// CR LF CR LF between messages.
pub(super) fn keep_alive() -> Caption {
    fine("keep-alive".to_owned())
}

/// Bytes that cannot be cut into messages.
pub(super) fn not_sip(bytes: usize, why: &FramingError) -> Caption {
    bad(format!("{bytes} bytes: {why}"))
}

/// One whole SIP message.
pub(super) fn sip(bytes: &[u8]) -> Caption {
    match Message::parse(bytes) {
        Ok(message) => match message.start() {
            StartLine::Request { method, .. } => fine(request(method, &message)),
            StartLine::Response { code, reason } => {
                // A 401 is how every sign-in begins; it is no failure of its own.
                let failed = code >= 400 && code != 401 && code != 407;
                Caption { text: printable(&response(code, reason, &message)), failed }
            }
        },
        Err(why) => bad(format!("{} bytes that are no SIP message: {why}", bytes.len())),
    }
}

/// `REGISTER NTLM AUTHENTICATE signed`, `SUBSCRIBE presence (12 contacts)`.
fn request(method: &str, message: &Message<'_>) -> String {
    let mut words = vec![method.to_owned()];
    match method {
        "REGISTER" if message.header(Name::Expires).is_some_and(|v| v.trim() == "0") => {
            words.push("Expires: 0".to_owned());
        }
        "SUBSCRIBE" | "NOTIFY" | "BENOTIFY" => words.extend(event(message)),
        "SERVICE" => words.extend(service(message)),
        _ => {}
    }
    let credentials = message.header(Name::Authorization).or_else(|| message.header(Name::ProxyAuthorization));
    if let Some(value) = credentials {
        words.extend(legs(value, method == "REGISTER"));
    }
    words.join(" ")
}

/// The words for an `Authorization`: the leg of the handshake, and whether the message is signed.
fn legs(value: &str, handshake: bool) -> Vec<String> {
    let Ok(credentials) = Credentials::parse(value) else {
        return vec![value.split_whitespace().next().unwrap_or("").to_owned()];
    };
    let mut words = Vec::new();
    if handshake || credentials.gssapi_data.is_some() {
        words.push(credentials.scheme.to_string());
    }
    match credentials.gssapi_data.as_deref() {
        // NTLM in its datagram form begins with an empty token.
        Some([]) => words.push("(empty token)".to_owned()),
        Some(token) => words.extend(leg(&credentials.scheme, token, "AP-REQ")),
        None => {}
    }
    if credentials.signature.is_some() {
        words.push("signed".to_owned());
    }
    words
}

/// `401 offers TLS-DSK, Kerberos, NTLM`, `301 signed → pool2.contoso.test:5061`, `200 REGISTER, 7200 s, signed`.
fn response(code: u16, reason: &str, message: &Message<'_>) -> String {
    let proof = message.header(Name::AuthenticationInfo).or_else(|| message.header(Name::ProxyAuthenticationInfo));
    let signed = proof.is_some_and(|value| AuthenticationInfo::parse(value).is_ok());
    let mut text = match code {
        401 | 407 => format!("{code} {}", challenge(message)),
        300..=399 => format!("{code}{} → {}", if signed { " signed" } else { "" }, contacts(message).join(", ")),
        200 => "200".to_owned(),
        _ => format!("{code} {reason}"),
    };
    let method = message.header(Name::CSeq).and_then(|value| value.split_whitespace().nth(1));
    if let (100..=299, Some(method)) = (code, method) {
        text.push_str(&format!(" {method}"));
        if method == "REGISTER"
            && let Some(expires) = message.header(Name::Expires)
        {
            text.push_str(&format!(", {} s", expires.trim()));
        }
    }
    if let Some(diagnostics) = message.named("ms-diagnostics").or_else(|| message.named("ms-diagnostics-public"))
        && code != 401
    {
        text.push_str(&format!(", ms-diagnostics {}", diagnosis(diagnostics)));
    }
    if signed && !(300..=399).contains(&code) {
        text.push_str(", signed");
    }
    text
}

/// `NTLM CHALLENGE` inside a handshake, else what is offered.
fn challenge(message: &Message<'_>) -> String {
    let mut offered = Vec::new();
    for value in message.all(Name::WwwAuthenticate).chain(message.all(Name::ProxyAuthenticate)) {
        match Challenge::parse(value) {
            Ok(Challenge { scheme, gssapi_data: Some(token), .. }) => {
                let leg = leg(&scheme, &token, "AP-REP").map(|leg| format!(" {leg}")).unwrap_or_default();
                return format!("{scheme}{leg}");
            }
            Ok(challenge) => offered.push(challenge.scheme.to_string()),
            Err(_) => offered.extend(value.split_whitespace().next().map(str::to_owned)),
        }
    }
    match offered.is_empty() {
        true => "offers nothing".to_owned(),
        false => format!("offers {}", offered.join(", ")),
    }
}

/// Host and port of every Contact.
fn contacts(message: &Message<'_>) -> Vec<String> {
    let values = message.all(Name::Contact).flat_map(sip::header::split_list);
    let place = |value| {
        let uri = NameAddr::parse(value).ok()?.uri().ok()?;
        Some(uri.port.map_or_else(|| uri.host.to_owned(), |port| format!("{}:{port}", uri.host)))
    };
    values.filter_map(place).collect()
}

/// `4003 (User is not allowed …)` of an `ms-diagnostics` value. `[MS-OCER]` §2.2.1.1.
fn diagnosis(value: &str) -> String {
    let (id, rest) = value.split_once(';').unwrap_or((value, ""));
    let reason = sip::Params::after(&format!(";{rest}")).and_then(|p| p.get("reason").map(str::to_owned));
    match reason {
        Some(reason) => format!("{} ({reason})", id.trim()),
        None => id.trim().to_owned(),
    }
}

/// The event package in short, and what the body is about.
fn event(message: &Message<'_>) -> Option<String> {
    let package = message.header(Name::Event)?;
    let package = package.split(';').next().unwrap_or("").trim();
    let short = package.strip_prefix("vnd-microsoft-").unwrap_or(package);
    let resources = count(message.body(), b"<resource ");
    Some(match resources {
        0 => short.to_owned(),
        1 => format!("{short} (1 contact)"),
        n => format!("{short} ({n} contacts)"),
    })
}

/// What a SERVICE is about: the application its URI names, else the root element of its body.
fn service(message: &Message<'_>) -> Option<String> {
    if let StartLine::Request { uri, .. } = message.start()
        && let Some((_, app)) = uri.split_once(";opaque=app:")
    {
        return app.split(';').next().map(str::to_owned);
    }
    let body = std::str::from_utf8(message.body()).ok()?;
    let mut elements = body.split('<').skip(1).filter(|e| !e.starts_with(['?', '!', '/']));
    let name = |element: &str| {
        let qualified = element.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or("");
        qualified.rsplit(':').next().unwrap_or("").to_owned()
    };
    let first = name(elements.next()?);
    // Inside a SOAP envelope the action is what matters.
    if first.eq_ignore_ascii_case("Envelope") {
        return elements.map(name).find(|n| !n.eq_ignore_ascii_case("Header") && !n.eq_ignore_ascii_case("Body"));
    }
    Some(first)
}

fn count(body: &[u8], wanted: &[u8]) -> usize {
    body.windows(wanted.len()).filter(|window| *window == wanted).count()
}

/// What a token of a handshake is called.
fn leg(scheme: &Scheme, token: &[u8], kerberos: &str) -> Option<String> {
    match scheme {
        Scheme::Ntlm => ntlm_leg(token).map(str::to_owned),
        Scheme::Kerberos => Some(kerberos.to_owned()),
        Scheme::TlsDsk => Some(tls_flight(token).to_owned()),
        Scheme::Other(_) => None,
    }
}

/// `[MS-NLMP]` §2.2.1: signature, then the type of message in four bytes, little-endian.
fn ntlm_leg(token: &[u8]) -> Option<&'static str> {
    match token.strip_prefix(b"NTLMSSP\0")?.first_chunk::<4>().map(|kind| u32::from_le_bytes(*kind))? {
        1 => Some("NEGOTIATE"),
        2 => Some("CHALLENGE"),
        3 => Some("AUTHENTICATE"),
        _ => None,
    }
}

/// RFC 5246 §6.2.1 and §7.4: type of record, version, length; then the type of handshake message.
fn tls_flight(token: &[u8]) -> &'static str {
    match (token.first(), token.get(5)) {
        (Some(22), Some(1)) => "ClientHello",
        (Some(22), Some(2)) => "ServerHello",
        (Some(22), Some(11 | 16)) => "Certificate",
        (Some(20), _) => "Finished",
        (Some(21), _) => "Alert",
        _ => "handshake",
    }
}
