//! User certificates over real sockets: obtained from the lab's web services, kept in its store, revoked there.

mod support;

use lab::Lab;
use mechanism::user_certificate::{Fingerprint, UserCertificate};
use net::client::Sockets;
use signin::authenticate::certificate::client::{Applicant, CertificateError, Obtained, obtain};
use signin::authenticate::certificate::published::PublishedCertificates;
use signin::http::Web;
use signin::io::Io;
use signin::web_ticket::client::TicketMeans;
use support::{Attempt, LONG, lab};
use url::Url;
use uuid::Uuid;

/// Asks the web services of the first pool.
async fn ask(lab: &Lab, attempt: &Attempt, device: u128) -> Result<Obtained, CertificateError> {
    let web_host = lab.ready().hosts.iter().find(|host| host.https.is_some() && host.pool.is_some());
    let sts = format!("https://{}/CertProv/CertProvisioningService.svc", web_host.expect("web services").fqdn);
    let sockets = Sockets::new(attempt.sockets.clone()).expect("good sockets");
    let io: &dyn Io = &sockets;
    let web = Web::new(Default::default(), LONG, None);
    let key = io.new_key(2048).await.expect("a key").pkcs8;
    let applicant = Applicant {
        aor: &attempt.sign_in.aor,
        means: TicketMeans { log_on: attempt.sign_in.log_on.as_ref(), certificate: None },
        device: Uuid::from_u128(device),
        private_key: &key,
    };
    let obtained = obtain(io, &web, &Url::parse(&sts).expect("a URL"), &applicant).await;
    web.close(io).await;
    obtained
}

#[tokio::test]
async fn a_certificate_is_obtained_kept_listed_and_revoked() {
    let lab = lab().await;
    let alice = Attempt::of(&lab, "alice");
    let aor = alice.sign_in.aor.clone();
    let first = ask(&lab, &alice, 1).await.expect("a certificate");
    assert_eq!(first.facts.common_name(), Some(aor.as_str()));
    let find = async |fingerprint: Fingerprint| lab.store().find(&fingerprint).await.expect("an answer");
    let found = find(first.facts.fingerprint()).await.expect("published");
    assert_eq!((found.aor, found.device, found.revoked_at), (aor.clone(), Uuid::from_u128(1), None));

    ask(&lab, &alice, 2).await.expect("one for another device");
    assert_eq!(lab.store().certificates(&aor).expect("an answer").len(), 2);
    let again = ask(&lab, &alice, 1).await.expect("a new one for the first device");
    assert_eq!(find(first.facts.fingerprint()).await, None, "replaced");
    assert_eq!(lab.store().revoke_certificates(&aor, Some(Uuid::from_u128(1)), 1).await, Ok(1));
    assert_eq!(find(again.facts.fingerprint()).await.expect("still known").revoked_at, Some(1));

    let issuer =
        std::fs::read(lab.ready().ca.parent().expect("a folder").join("users-ca.der")).expect("its certificate");
    let issuer = UserCertificate::read(&issuer).expect("a certificate");
    assert_eq!(issuer.common_name(), Some("Communications Server"));
}

#[tokio::test]
async fn who_has_no_password_or_is_barred_gets_no_certificate() {
    let lab = lab().await;
    let id = async |attempt: &Attempt| ask(&lab, attempt, 1).await.expect_err("refused").verdict().id;
    let alice = Attempt::of(&lab, "alice");
    assert_eq!(id(&alice.clone().password("wrong")).await, "wt-401-loop");
    let bob = Attempt::of(&lab, "bob");
    let mut as_alice = bob.clone();
    as_alice.sign_in.aor = alice.sign_in.aor.clone();
    assert_eq!(id(&as_alice).await, "wt-claim-mismatch");
    assert!(lab.store().certificates(&alice.sign_in.aor).expect("an answer").is_empty());
}
