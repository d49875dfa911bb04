//! A recorded sign-in is the same sign-in when it is played back: same questions, same end, same ladder.

mod support;

use signin::io::Io;
use support::{Attempt, lab};
use trace::record::Record;
use trace::replay::{Replay, run};

/// Written to a file and read back.
fn kept(record: &Record) -> Record {
    let mut file = Vec::new();
    record.write(&mut file).expect("memory can be written");
    Record::read(file.as_slice()).expect("what was written can be read")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_plays_back_to_the_same_ladder() {
    let lab = lab().await;
    let attempts = [
        Attempt::of(&lab, "alice"),
        Attempt::of(&lab, "bob").at("dir.contoso.test"),
        Attempt::of(&lab, "frank").outside(&lab),
        Attempt::of(&lab, "carol").outside(&lab),
        Attempt::of(&lab, "alice").password("wrong"),
    ];
    for attempt in attempts {
        let wish = attempt.sign_in.clone();
        let outcome = attempt.run().await;
        let record = kept(&outcome.record);
        assert_eq!(trace::ladder::text(&record, 100), trace::ladder::text(&outcome.record, 100), "read from its file");

        let replay = Replay::new(record.clone());
        let io: &dyn Io = &replay;
        let again = run(async {
            match wish.run(io).await {
                Ok(signed_in) => {
                    let home = signed_in.home.clone();
                    signed_in.session.sign_out().await;
                    Ok(home)
                }
                Err(verdict) => Err(verdict),
            }
        })
        .expect("the replay comes to an end");
        assert!(replay.difference().is_none(), "{}", replay.difference().map(|d| d.to_string()).unwrap_or_default());
        assert_eq!(again.as_ref().ok(), outcome.report.home.as_ref());
        assert_eq!(again.err(), outcome.report.verdict);
        assert_eq!(trace::ladder::text(&replay.played(), 100), trace::ladder::text(&record, 100), "played back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_plays_back_differently_and_says_where() {
    let lab = lab().await;
    let attempt = Attempt::of(&lab, "frank").at("fe03.contoso.test");
    let other = attempt.clone().password("another");
    let record = attempt.run().await.record;
    let replay = Replay::new(record);
    let io: &dyn Io = &replay;
    let _ = run(async { other.sign_in.run(io).await.map(|_| ()) });
    let difference = replay.difference().expect("the AUTHENTICATE message is another one").to_string();
    assert!(!difference.is_empty());
}
