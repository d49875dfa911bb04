//! Web services whose directory, or whoever checks passwords for them, does not answer: 503, in fixed words, and nothing
//! that outlasts the trouble.

use super::deployment::{PASSWORD, People, backing, site};
use super::services::{log_on_and_post, open_clients_request, request};
use crate::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use crate::directory::{ChangeError, DialPlan, Directory, DirectoryError, Properties, User};
use crate::discover::AccessLocation::Internal;
use crate::io::Pending;
use crate::name::{AccountName, Aor};
use crate::provision::contacts::{ContactChange, ContactList};
use crate::provision::presence::kept::{Keep, KeptPresence};
use crate::service::HttpService;
use crate::testing::World;
use crate::web::{Backing, WebServices};
use crate::web_ticket::diagnostics::Diagnostics;
use crate::web_ticket::message::TokenResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SECRET: &str = "CN=Alice,DC=contoso,DC=test: NT_STATUS_NO_LOGON_SERVERS";

/// The people, while nothing is out of order.
#[derive(Default)]
struct Ailing {
    directory_is_down: AtomicBool,
    verifier_is_down: AtomicBool,
}

impl Ailing {
    fn or_trouble<'a, T: Send + 'a>(
        &self,
        down: &AtomicBool,
        answer: Pending<'a, Result<T, DirectoryError>>,
    ) -> Pending<'a, Result<T, DirectoryError>> {
        match down.load(Ordering::SeqCst) {
            true => Box::pin(ready(Err(DirectoryError::unreachable(SECRET)))),
            false => answer,
        }
    }
}

impl Directory for Ailing {
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        self.or_trouble(&self.directory_is_down, People.user(aor))
    }

    fn user_of_account(&self, account: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        self.or_trouble(&self.directory_is_down, People.user_of_account(account))
    }

    fn contacts(&self, aor: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>> {
        People.contacts(aor)
    }

    fn change_contacts(&self, aor: &Aor, change: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>> {
        People.change_contacts(aor, change)
    }

    fn presence(&self, aor: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>> {
        People.presence(aor)
    }

    fn keep_presence(&self, aor: &Aor, changes: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>> {
        People.keep_presence(aor, changes)
    }

    fn policy(&self, aor: &Aor, group: &str) -> Pending<'_, Result<Properties, DirectoryError>> {
        People.policy(aor, group)
    }

    fn dial_plan(&self, name: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        People.dial_plan(name)
    }
}

impl NtlmVerifier for Ailing {
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>> {
        match self.verifier_is_down.load(Ordering::SeqCst) {
            true => Box::pin(ready(Err(Refusal::Unavailable(DirectoryError::unreachable(SECRET))))),
            false => People.verify(question),
        }
    }
}

#[test]
fn a_ticket_is_not_refused_but_not_to_be_had_at_the_moment() {
    for (directory, verifier) in [(true, false), (false, true), (true, true)] {
        let world = World::new();
        let ailing = Arc::new(Ailing::default());
        let backing = Backing { directory: ailing.clone(), ntlm: Some(ailing.clone()), ..backing(&world) };
        let services = WebServices::new(site(Internal, true, "pool1.contoso.test"), &backing);
        let connect = || services.clone().conversation("10.1.1.1:40000".parse().expect("an address"));
        let path = "/Autodiscover/AutodiscoverService.svc/root/user";
        let body = open_clients_request("sip:alice@contoso.test", &format!("https://pool1.contoso.test{path}"));
        let post = || log_on_and_post(&world, &mut *connect(), "alice", PASSWORD, &body);
        let ticket = TokenResponse::read(&post().body).expect("a ticket").assertion.to_string();

        ailing.directory_is_down.store(directory, Ordering::SeqCst);
        ailing.verifier_is_down.store(verifier, Ordering::SeqCst);
        for _ in 0..6 {
            let response = post();
            assert_eq!((response.status, response.reusable), (503, true));
            let told = Diagnostics::of_header(response.header("x-ms-diagnostics").expect("diagnostics"));
            assert_eq!(told.reason.as_str(), "The directory does not answer at the moment.");
            let fault = Diagnostics::of_fault(&response.body).expect("a fault");
            assert!(fault.fault.is_some_and(|code| code.ends_with(":Server")), "not the client's");
            assert!(!String::from_utf8_lossy(&response.body).contains("NT_STATUS"));
        }
        ailing.directory_is_down.store(false, Ordering::SeqCst);
        ailing.verifier_is_down.store(false, Ordering::SeqCst);
        assert_eq!(post().status, 200, "and then it is to be had again");

        // What the ticket is for wants the directory too.
        let header = format!("opaque={}", STANDARD.encode(ticket.as_bytes()));
        let show = || {
            let response = world.run(connect().answer(request("GET", path, &[("X-MS-WebTicket", &header)], "")));
            assert!(!String::from_utf8_lossy(&response.body).contains("NT_STATUS"));
            response.status
        };
        ailing.directory_is_down.store(true, Ordering::SeqCst);
        assert_eq!(show(), 503);
        ailing.directory_is_down.store(false, Ordering::SeqCst);
        assert_eq!(show(), 200);
    }
}
