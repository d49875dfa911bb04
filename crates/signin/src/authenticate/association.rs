//! A security association: keys shared by one endpoint and one server, and what they sign. `[MS-SIPAE]` §3.1.1.
//!
//! Both halves use it. What differs between them is only whose signatures are made and whose are checked.

use super::message::{AuthenticationInfo, Credentials, Scheme, Signature, Version};
use super::signing::{self, Salt, Unsignable};
use mechanism::Side;
use mechanism::ntlm::SigningKeys;
use mechanism::{kerberos, tls_dsk};
use sip::{Draft, Message};

/// How many numbers behind the highest one may still arrive. `[MS-SIPAE]` gives no figure.
const WINDOW: u32 = 256;

/// The keys of an association, by mechanism.
#[derive(Debug)]
pub enum MessageKeys {
    /// Datagram NTLM: `[MS-NLMP]` §3.4.4.
    Ntlm(SigningKeys),
    /// Kerberos: RFC 4121 §4.2.6.1, RFC 4757 §7.2.
    Kerberos(Box<kerberos::MessageKeys>),
    /// TLS-DSK: `[MS-SIPAE]` §3.2.5.1.
    TlsDsk(tls_dsk::MessageKeys),
}

impl MessageKeys {
    fn sign(&mut self, by: Side, text: &str) -> Vec<u8> {
        match self {
            MessageKeys::Ntlm(keys) => keys.sign(by, text.as_bytes()).to_vec(),
            MessageKeys::Kerberos(keys) => keys.sign(by, text.as_bytes()),
            MessageKeys::TlsDsk(keys) => keys.sign(by, text.as_bytes()),
        }
    }

    fn verify(&mut self, by: Side, text: &str, mac: &[u8]) -> bool {
        match self {
            MessageKeys::Ntlm(keys) => keys.verify(by, text.as_bytes(), mac),
            MessageKeys::Kerberos(keys) => keys.verify(by, text.as_bytes(), mac),
            MessageKeys::TlsDsk(keys) => keys.verify(by, text.as_bytes(), mac),
        }
    }
}

/// What both ends agreed on.
#[derive(Debug)]
pub struct Association {
    /// Names it on the wire. A client of Kerberos learns it from the first answer.
    pub opaque: Option<String>,
    /// Scheme that made the keys.
    pub scheme: Scheme,
    /// Protocol version.
    pub version: Version,
    /// Realm, as in the challenge.
    pub realm: String,
    /// Target name, as in the challenge.
    pub target_name: String,
    keys: MessageKeys,
    /// A token that goes out with the next signature of the server.
    token: Option<Vec<u8>>,
    /// Number of the last message signed here.
    sent: u32,
    received: ReplayWindow,
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the message is not signed")]
    Missing,
    /// It names another association.
    #[error("the signature belongs to another association")]
    OtherAssociation,
    /// The message lacks a header it would cover, or contradicts one.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
    /// It is wrong: the message was altered, or signed with another key.
    #[error("the signature is wrong")]
    Wrong,
    /// It is right, but was seen before, or is too old to tell.
    #[error("message number {0} was seen before")]
    Replayed(u32),
}

impl Association {
    /// A new association: nothing signed, nothing received.
    pub fn new(
        opaque: Option<String>,
        scheme: Scheme,
        version: Version,
        realm: String,
        target_name: String,
        keys: MessageKeys,
    ) -> Association {
        let received = ReplayWindow::default();
        Association { opaque, scheme, version, realm, target_name, keys, token: None, sent: 0, received }
    }

    /// The server's next message carries this token.
    pub fn send_token(&mut self, token: Vec<u8>) {
        self.token = Some(token);
    }

    /// A server signs what it is about to send: adds `Authentication-Info`. Every header the signature covers has to
    /// be in the draft already. `rand` is 32 bits of randomness.
    pub fn sign_as_server(&mut self, draft: &mut Draft, rand: u32) -> Result<(), Unsignable> {
        let signature = self.sign(Side::Server, draft, format!("{rand:08X}"))?;
        let info = AuthenticationInfo {
            scheme: self.scheme.clone(),
            realm: self.realm.clone(),
            target_name: self.target_name.clone(),
            opaque: self.opaque.clone(),
            gssapi_data: self.token.take(),
            version: Some(self.version),
            signature,
        };
        draft.header("Authentication-Info", info);
        Ok(())
    }

    /// A client signs a request: adds `Authorization`. `handshake` is the token of the message that completes the
    /// handshake, which carries the version too.
    pub fn sign_as_client(
        &mut self,
        draft: &mut Draft,
        rand: u32,
        handshake: Option<Vec<u8>>,
    ) -> Result<(), Unsignable> {
        let first = handshake.is_some();
        let signature = match (self.version, first) {
            (Version::V3, true) => None,
            _ => Some(self.sign(Side::Client, draft, format!("{rand:08x}"))?),
        };
        // The first message is the last of the handshake, also with TLS-DSK, where it has no token.
        let first = first || signature.as_ref().is_some_and(|signature| signature.num == 1);
        let credentials = Credentials {
            scheme: self.scheme.clone(),
            realm: self.realm.clone(),
            target_name: self.target_name.clone(),
            version: first.then_some(self.version),
            opaque: self.opaque.clone(),
            gssapi_data: handshake,
            signature,
        };
        draft.header("Authorization", credentials);
        Ok(())
    }

    fn sign(&mut self, by: Side, draft: &Draft, rand: String) -> Result<Signature, Unsignable> {
        let num = self.sent + 1;
        let salt = self.salt(&rand, num);
        let text = draft
            .read_back(|message| signing::text(&salt, message))
            .map_err(|_| Unsignable::Header("a header"))
            .and_then(|text| text)?;
        let mac = self.keys.sign(by, &text);
        if mac.is_empty() {
            return Err(Unsignable::KeyElsewhere);
        }
        self.sent = num;
        Ok(Signature { rand, num, mac })
    }

    /// A server checks a client's signature, and that the message is new.
    pub fn check_client(&mut self, signature: &Signature, message: &Message<'_>) -> Result<(), SignatureError> {
        self.check(Side::Client, signature, message)
    }

    /// Whether the server has signed nothing yet, this message neither.
    pub fn has_nothing_signed(&self, message: &Message<'_>) -> bool {
        let signatures = [sip::Name::AuthenticationInfo, sip::Name::ProxyAuthenticationInfo];
        self.received.is_empty() && signatures.iter().all(|name| message.header(*name).is_none())
    }

    /// A client checks a server's signature, and that the message is new.
    pub fn check_server(&mut self, message: &Message<'_>) -> Result<(), SignatureError> {
        let value = message
            .header(sip::Name::AuthenticationInfo)
            .or_else(|| message.header(sip::Name::ProxyAuthenticationInfo))
            .ok_or(SignatureError::Missing)?;
        let info = AuthenticationInfo::parse(value).map_err(|_| SignatureError::Missing)?;
        let same = info.scheme == self.scheme
            && info.realm == self.realm
            && info.target_name == self.target_name
            && (info.opaque.is_none() || self.opaque.is_none() || info.opaque == self.opaque);
        if !same {
            return Err(SignatureError::OtherAssociation);
        }
        self.check(Side::Server, &info.signature, message)?;
        self.opaque = self.opaque.take().or(info.opaque);
        Ok(())
    }

    fn check(&mut self, by: Side, signature: &Signature, message: &Message<'_>) -> Result<(), SignatureError> {
        let text = signing::text(&self.salt(&signature.rand, signature.num), message)?;
        if !self.keys.verify(by, &text, &signature.mac) {
            return Err(SignatureError::Wrong);
        }
        // Only a right signature may move the window, else anyone could shut the true sender out.
        if !self.received.accept(signature.num) {
            return Err(SignatureError::Replayed(signature.num));
        }
        Ok(())
    }

    fn salt<'a>(&'a self, rand: &'a str, num: u32) -> Salt<'a> {
        Salt { scheme: &self.scheme, rand, num, realm: &self.realm, target_name: &self.target_name }
    }
}

/// Which message numbers were seen. Numbers may start anywhere (open clients go on counting when they authenticate
/// anew) and arrive out of order by up to 256.
#[derive(Debug, Clone, Default)]
struct ReplayWindow {
    highest: u32,
    /// Bit n of the whole: `highest - n` was seen.
    seen: [u64; (WINDOW / 64) as usize],
}

impl ReplayWindow {
    /// Notes a number; `false` when it was seen before or is too far behind to tell.
    fn accept(&mut self, num: u32) -> bool {
        if num > self.highest {
            self.slide(num - self.highest);
            self.highest = num;
        }
        let behind = self.highest - num;
        if behind >= WINDOW {
            return false;
        }
        let (word, bit) = ((behind / 64) as usize, 1u64 << (behind % 64));
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    /// Whether no number was seen yet.
    fn is_empty(&self) -> bool {
        self.seen.iter().all(|word| *word == 0)
    }

    fn slide(&mut self, by: u32) {
        if by >= WINDOW {
            self.seen = Default::default();
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        for word in (0..self.seen.len()).rev() {
            let low = word.checked_sub(words).map_or(0, |w| self.seen[w]);
            let carried = word.checked_sub(words + 1).map_or(0, |w| self.seen[w]);
            self.seen[word] = if bits == 0 { low } else { (low << bits) | (carried >> (64 - bits)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn window_takes_each_number_once() {
        let mut window = ReplayWindow::default();
        assert!(window.accept(7), "may start anywhere");
        assert!(!window.accept(7));
        assert!(window.accept(5), "out of order");
        assert!(window.accept(400));
        assert!(!window.accept(144), "too far behind to tell");
        assert!(window.accept(145));
        assert!(!window.accept(145));
    }

    /// Both ends of one association, from a whole NTLM handshake.
    fn both_ends(version: Version) -> (Association, Association) {
        use mechanism::ntlm::{Acceptor, Credentials, Entropy, Mode, NtHash, TargetNames, answer};
        let name = || String::from("X");
        let names =
            TargetNames { netbios_domain: name(), netbios_computer: name(), dns_domain: name(), dns_computer: name() };
        let mut acceptor = Acceptor::new(Mode::Datagram, [1; 8], names);
        let challenge = acceptor.challenge_message(None).expect("a challenge");
        let nt_hash = NtHash::of_password("right");
        let who = Credentials { user: name(), domain: name(), workstation: name(), nt_hash: nt_hash.clone() };
        let entropy = Entropy { client_challenge: [2; 8], session_key: [3; 16] };
        let answered = answer(Mode::Datagram, None, &challenge, &who, &entropy, 0).expect("an answer");
        let read = acceptor.read_answer(&answered.message).expect("reads");
        let key = nt_hash.session_base_key("X", "X", &[1; 8], read.nt_response()).expect("right");
        let keys = acceptor.finish(&read, &key).expect("keys");
        let end = |keys| {
            let (opaque, realm, target) = (String::from("0A0B0C0D"), String::from("r"), String::from("fe"));
            Association::new(Some(opaque), Scheme::Ntlm, version, realm, target, MessageKeys::Ntlm(keys))
        };
        (end(answered.keys), end(keys))
    }

    fn request(cseq: u32) -> Draft {
        let mut draft = Draft::request("REGISTER", "sip:contoso.test");
        draft
            .header("From", "<sip:a@contoso.test>;tag=1;epid=2")
            .header("To", "<sip:a@contoso.test>")
            .header("Call-ID", "x")
            .header("CSeq", format_args!("{cseq} REGISTER"));
        draft
    }

    /// What the server's end makes of a client's message.
    fn checked(server: &mut Association, bytes: &[u8]) -> Result<(), SignatureError> {
        let message = Message::parse(bytes).expect("our own writing");
        let value = message.header(sip::Name::Authorization).expect("there");
        let signature = Credentials::parse(value).expect("reads").signature.ok_or(SignatureError::Missing)?;
        server.check_client(&signature, &message)
    }

    #[test]
    fn version_3_does_not_sign_the_last_leg_and_version_4_does() {
        for (version, last_leg) in [(Version::V3, Err(SignatureError::Missing)), (Version::V4, Ok(()))] {
            let (mut client, mut server) = both_ends(version);
            let mut draft = request(3);
            client.sign_as_client(&mut draft, 7, Some(vec![1, 2])).expect("signs");
            let bytes = draft.finish();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(&format!("version={}", version.number())), "{text}");
            assert_eq!(checked(&mut server, &bytes), last_leg);

            let mut draft = request(4);
            client.sign_as_client(&mut draft, 8, None).expect("signs");
            let bytes = draft.finish();
            let altered = String::from_utf8_lossy(&bytes).replace("CSeq: 4", "CSeq: 5").into_bytes();
            assert_eq!(checked(&mut server, &altered), Err(SignatureError::Wrong));
            assert_eq!(checked(&mut server, &bytes), Ok(()));
            assert!(matches!(checked(&mut server, &bytes), Err(SignatureError::Replayed(_))));

            let mut answer = Draft::response(200, "OK");
            answer.header("From", "<sip:a@contoso.test>;tag=1").header("To", "<sip:a@contoso.test>;tag=2");
            answer.header("Call-ID", "x").header("CSeq", "4 REGISTER").header("Expires", 600);
            server.sign_as_server(&mut answer, 9).expect("signs");
            let bytes = answer.finish();
            let altered = String::from_utf8_lossy(&bytes).replace("Expires: 600", "Expires: 6").into_bytes();
            let read = |bytes: &[u8], client: &mut Association| {
                client.check_server(&Message::parse(bytes).expect("our own writing"))
            };
            assert_eq!(read(&altered, &mut client), Err(SignatureError::Wrong));
            assert_eq!(read(&bytes, &mut client), Ok(()));
        }
    }

    /// A context whose ticket has ended.
    struct Ended;

    impl kerberos::PerMessageCalls for Ended {
        fn get_mic(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn verify_mic(&self, _: &[u8], _: &[u8]) -> bool {
            false
        }
    }

    #[test]
    fn what_cannot_be_signed_is_not_sent() {
        let keys = MessageKeys::Kerberos(Box::new(kerberos::MessageKeys::of_context(std::sync::Arc::new(Ended))));
        let (realm, target) = (String::from("r"), String::from("sip/fe"));
        let mut association = Association::new(None, Scheme::Kerberos, Version::V4, realm, target, keys);
        let mut draft = request(3);
        assert!(association.sign_as_client(&mut draft, 7, Some(vec![1, 2])).is_err());
        assert!(!String::from_utf8_lossy(&draft.finish()).contains("Authorization"));
    }

    proptest! {
        #[test]
        fn window_agrees_with_a_set(numbers in prop::collection::vec(1u32..2000, 1..300)) {
            let (mut window, mut seen, mut highest) = (ReplayWindow::default(), BTreeSet::new(), 0);
            for num in numbers {
                highest = highest.max(num);
                let expected = highest - num < WINDOW && seen.insert(num);
                prop_assert_eq!(window.accept(num), expected);
            }
        }
    }
}
