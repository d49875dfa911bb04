//! Two pidgin-sipe clients, as Debian ships them, talk to each other through the lab.

mod sipe;

use lab::Lab;
use sipe::{Client, lab};
use std::time::Duration;

/// Waits until no server knows of a dialog: a message that crosses the BYE would be refused.
async fn no_dialogs(lab: &Lab) {
    let open = || FRONT_ENDS.iter().any(|fqdn| lab.front_end(fqdn).is_some_and(|server| server.conversations().2 > 0));
    for _ in 0..100 {
        if !open() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the conversation did not end");
}

const FRONT_ENDS: [&str; 3] = ["fe01.contoso.test", "fe02.contoso.test", "fe03.contoso.test"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn a_message_each_way_between_two_pools() {
    let lab = lab(1).await;
    let (mut alice, mut frank) = tokio::join!(Client::sign_in(&lab, "alice"), Client::sign_in(&lab, "frank"));

    alice.command("im frank@contoso.test Hello, Frank & co");
    let got = frank.hears("im-received", "Hello").await;
    assert_eq!(got["from"], "sip:alice@contoso.test", "{}", frank.account());
    assert!(got["text"].as_str().unwrap_or_default().contains("Hello, Frank &amp; co"), "{got}");

    frank.command("im alice@contoso.test Hi Alice");
    let got = alice.hears("im-received", "Hi Alice").await;
    assert_eq!(got["from"], "sip:frank@contoso.test");

    frank.command("typing alice@contoso.test");
    alice.hears("typing", "sip:frank@contoso.test").await;

    // The same conversation goes on, and another one begins after it was closed.
    alice.command("im frank@contoso.test second");
    frank.hears("im-received", "second").await;
    alice.command("close frank@contoso.test");
    no_dialogs(&lab).await;
    frank.command("im alice@contoso.test third");
    alice.hears("im-received", "third").await;

    frank.quit().await;
    alice.command("im frank@contoso.test are you there?");
    let error = alice.hears("im-error", "are you there?").await;
    assert_eq!(error["with"], "sip:frank@contoso.test", "{}", alice.account());
    alice.quit().await;
}
