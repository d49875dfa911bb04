//! Integrated Windows authentication, the server's half: `Negotiate` and `NTLM` over HTTP. RFC 4559, `[MS-NTHT]`.
//!
//! A connection that proved an account stays its account's, as clients expect. The challenge before the first leg is the
//! bare word: some clients take anything behind it for a token. `Negotiate` takes Kerberos, wrapped in SPNEGO or not, and
//! NTLM that comes bare in it; NTLM wrapped in SPNEGO is refused, whoever means NTLM finds it offered by its own name.

use super::token_of;
use crate::authenticate::verifier::{KerberosVerifier, NtlmQuestion, NtlmVerifier, Refusal};
use crate::directory::DirectoryError;
use crate::name::AccountName;
use crate::service::Surroundings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::channel_bindings::ChannelBindings;
use mechanism::ntlm::{Acceptor, Answer, Mode, TargetNames};
use std::sync::Arc;

/// Wrong answers on one connection before the server ends it.
const MAX_REFUSALS: u32 = 4;

const NEGOTIATE: &str = "Negotiate";
const NTLM: &str = "NTLM";

/// What a web site accepts, and who can tell whether it is right.
#[derive(Clone)]
pub struct Accepts {
    /// NTLM, bare.
    pub ntlm: Option<Arc<dyn NtlmVerifier>>,
    /// Kerberos, for `http/` and the FQDN of the site.
    pub kerberos: Option<Arc<KerberosVerifier>>,
    /// Names the site is reached by: a ticket may be for any of them.
    pub hosts: Vec<String>,
    /// What NTLM tells of the server.
    pub names: TargetNames,
    /// What TLS connections to this site are bound to. `None` where TLS ends in front of it: then nothing is compared.
    pub channel: Option<ChannelBindings>,
}

impl Accepts {
    /// Whether somebody says that a proof was made for a connection to another server than this one.
    fn is_of_another_connection(&self, said: Option<&[u8]>) -> bool {
        matches!((said, &self.channel), (Some(said), Some(ours)) if said != ours.as_bytes())
    }

    /// Why an answer to an NTLM challenge was not meant for this site, as far as its sender says. Many clients say nothing;
    /// of one that does, no other server can show the answer here.
    fn other_purpose(&self, answer: &Answer) -> Option<String> {
        if self.is_of_another_connection(answer.channel_bindings().as_deref()) {
            return Some("the answer was made for another TLS connection".to_owned());
        }
        let said = answer.target_name()?;
        let host = match said.split_once('/') {
            Some((class, host)) if class.eq_ignore_ascii_case("http") => host.split(['/', ':']).next(),
            _ => None,
        };
        let ours = host.is_some_and(|host| self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host)));
        (!ours).then(|| format!("the answer was made for another service: {said}"))
    }

    /// The challenges before the first leg, each for a header of its own.
    pub fn challenges(&self) -> Vec<String> {
        let negotiate = self.kerberos.as_ref().map(|_| NEGOTIATE.to_owned());
        let ntlm = self.ntlm.as_ref().map(|_| NTLM.to_owned());
        negotiate.into_iter().chain(ntlm).collect()
    }
}

/// What one connection has proven so far.
pub struct Gate {
    accepts: Accepts,
    state: State,
    refusals: u32,
}

enum State {
    /// Nothing proven.
    Closed,
    /// The CHALLENGE was sent, for one answer.
    Challenged(Box<Acceptor>),
    /// This account is at the other end.
    Open(AccountName),
}

/// What the gate says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Sent by this account.
    Granted {
        /// Who.
        account: AccountName,
        /// `WWW-Authenticate` of the answer: with Kerberos, our proof for the client that asked for it.
        proof: Option<String>,
    },
    /// Answer 401 with these `WWW-Authenticate` values.
    Challenge(Vec<String>),
    /// Credentials were wrong: answer 401 with the bare challenges.
    Refused {
        /// For the server's log, never for the peer.
        why: String,
        /// Of tickets, the finding of the failure catalogue, which the peer is told: who shows one knows all about it.
        cause: Option<&'static str>,
        /// Too many wrong answers: close the connection after this one.
        last: bool,
    },
    /// Nobody could tell: answer 503.
    Unavailable(DirectoryError),
}

impl Gate {
    /// A gate for a new connection.
    pub fn new(accepts: Accepts) -> Gate {
        Gate { accepts, state: State::Closed, refusals: 0 }
    }

    /// The challenges before the first leg.
    pub fn challenges(&self) -> Vec<String> {
        self.accepts.challenges()
    }

    /// Looks at the `Authorization` of a request. A first token begins anew, also on a connection that is authenticated.
    pub async fn admit(&mut self, authorization: Option<&str>, surroundings: &dyn Surroundings) -> Admission {
        let value = authorization.unwrap_or_default();
        if let Some(token) = token_of(NEGOTIATE, value)
            && !token.starts_with(b"NTLMSSP\0")
        {
            return self.check_ticket(&token);
        }
        let negotiate = token_of(NEGOTIATE, value).map(|token| (NEGOTIATE, token));
        let Some((scheme, token)) = token_of(NTLM, value).map(|token| (NTLM, token)).or(negotiate) else {
            return match &self.state {
                State::Open(account) => Admission::Granted { account: account.clone(), proof: None },
                State::Closed | State::Challenged(_) => Admission::Challenge(self.accepts.challenges()),
            };
        };
        let Some(verifier) = self.accepts.ntlm.clone() else {
            return self.refused("NTLM, which is not accepted here".to_owned());
        };
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Challenged(acceptor) if !is_negotiate(&token) => self.check(*acceptor, &token, &*verifier).await,
            _ => self.challenge(scheme, &token, surroundings),
        }
    }

    fn check_ticket(&mut self, token: &[u8]) -> Admission {
        self.state = State::Closed;
        let Some(verifier) = self.accepts.kerberos.clone() else {
            return self.refused("Kerberos, which is not accepted here".to_owned());
        };
        let services: Vec<String> = self.accepts.hosts.iter().map(|host| format!("http/{host}")).collect();
        match verifier.verify(token, &services) {
            Ok(proof) if self.accepts.is_of_another_connection(proof.channel.as_ref().map(|said| &said[..])) => {
                self.refused("the token was made for another TLS connection".to_owned())
            }
            Ok(proof) => {
                self.refusals = 0;
                self.state = State::Open(proof.account.clone());
                let reply = proof.reply.map(|token| format!("{NEGOTIATE} {}", STANDARD.encode(token)));
                Admission::Granted { account: proof.account, proof: reply }
            }
            Err(refusal) => self.refused_for(refusal.log(), Some(refusal.id())),
        }
    }

    fn challenge(&mut self, scheme: &str, negotiate: &[u8], surroundings: &dyn Surroundings) -> Admission {
        let mut nonce = [0; 8];
        surroundings.fill_random(&mut nonce);
        let mut acceptor = Acceptor::new(Mode::Connection, nonce, self.accepts.names.clone());
        match acceptor.challenge_message(Some(negotiate)) {
            Ok(message) => {
                self.state = State::Challenged(Box::new(acceptor));
                Admission::Challenge(vec![format!("{scheme} {}", STANDARD.encode(message))])
            }
            Err(error) => self.refused(error.to_string()),
        }
    }

    async fn check(&mut self, acceptor: Acceptor, token: &[u8], verifier: &dyn NtlmVerifier) -> Admission {
        let answer = match acceptor.read_answer(token) {
            Ok(answer) => answer,
            Err(error) => return self.refused(error.to_string()),
        };
        let question = NtlmQuestion {
            account: AccountName { domain: answer.domain().to_owned(), user: answer.user().to_owned() },
            server_challenge: *acceptor.server_challenge(),
            nt_response: answer.nt_response().to_vec(),
        };
        match verifier.verify(question).await {
            Ok(proof) => match acceptor.finish(&answer, &proof.session_base_key) {
                Ok(_) => {
                    if let Some(why) = self.accepts.other_purpose(&answer) {
                        return self.refused(why);
                    }
                    self.refusals = 0;
                    self.state = State::Open(proof.account.clone());
                    Admission::Granted { account: proof.account, proof: None }
                }
                Err(error) => self.refused(error.to_string()),
            },
            Err(Refusal::Unavailable(error)) => Admission::Unavailable(error),
            Err(refusal) => self.refused(refusal.log()),
        }
    }

    fn refused(&mut self, why: String) -> Admission {
        self.refused_for(why, None)
    }

    fn refused_for(&mut self, why: String, cause: Option<&'static str>) -> Admission {
        self.refusals += 1;
        Admission::Refused { why, cause, last: self.refusals >= MAX_REFUSALS }
    }
}

/// Message type 1, `[MS-NLMP]` §2.2.1.1.
fn is_negotiate(token: &[u8]) -> bool {
    token.starts_with(b"NTLMSSP\0\x01\0\0\0")
}

#[cfg(test)]
mod tests;
