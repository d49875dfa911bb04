//! A sign-in that races its questions, recorded over a scripted world, then played back.

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use signin::io::{ConnId, Connected, DnsAnswer, Io, Now, Operation, Outcome, Pending, RecordKind, Target};
use signin::report::{Event, Step, StepResult};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use trace::{Record, Recorder, Replay, Stuck, What, ladder, run};

const SECOND: Duration = Duration::from_secs(1);

/// A world with a clock of its own: of all questions under way, the one that is due first is answered first, and time
/// jumps there.
#[derive(Default)]
struct World(Mutex<Clock>);

#[derive(Default)]
struct Clock {
    now: Duration,
    drawn: u8,
    /// When each question is due, and who waits for it.
    due: Vec<(Duration, u64, Option<Waker>)>,
    asked: u64,
}

impl World {
    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.0.lock().expect("no test panics with the lock held")
    }
}

impl Clock {
    fn wake_first(&mut self) {
        self.due.sort_by_key(|(due, id, _)| (*due, *id));
        if let Some(waker) = self.due.first_mut().and_then(|(_, _, waker)| waker.take()) {
            waker.wake();
        }
    }
}

impl Io for World {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        let (delay, outcome) = match &operation {
            Operation::Resolve { name, .. } => {
                // The longer the name, the later the answer.
                let addresses = vec![[127, 0, 0, u8::try_from(name.len()).expect("a short name")].into()];
                (name.len() as u64, Outcome::Resolved(DnsAnswer::Addresses { addresses, aliases: vec![] }))
            }
            Operation::Connect { target: Target::Direct(peer), .. } => {
                let local = "127.0.0.1:40000".parse().expect("an address");
                (3, Outcome::Connected(Ok(Connected { conn: ConnId(1), local, peer: *peer })))
            }
            Operation::Wait { time } => (time.as_millis() as u64, Outcome::Done),
            _ => (1, Outcome::Done),
        };
        let mut clock = self.clock();
        let id = clock.asked;
        clock.asked += 1;
        let due = clock.now + Duration::from_millis(delay);
        clock.due.push((due, id, None));
        Box::pin(Due { world: self, id, outcome: Some(outcome), seen: false })
    }

    fn now(&self) -> Now {
        let since_start = self.clock().now;
        Now { since_start, unix_seconds: 1_780_272_000 + since_start.as_secs() as i64 }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let mut clock = self.clock();
        bytes.iter_mut().for_each(|byte| {
            clock.drawn = clock.drawn.wrapping_add(41);
            *byte = clock.drawn;
        });
    }

    fn note(&self, _: Event) {}
}

struct Due<'a> {
    world: &'a World,
    id: u64,
    outcome: Option<Outcome>,
    seen: bool,
}

impl Future for Due<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut clock = self.world.clock();
        let first = clock.due.iter().min_by_key(|(due, id, _)| (*due, *id)).map(|(due, id, _)| (*due, *id));
        // Everybody gets the chance to ask before the first one is answered.
        if let (true, Some((due, id))) = (self.seen, first)
            && id == self.id
        {
            clock.now = clock.now.max(due);
            clock.due.retain(|(_, id, _)| *id != self.id);
            clock.wake_first();
            drop(clock);
            return Poll::Ready(self.outcome.take().expect("polled once more after its end"));
        }
        let own = self.id;
        if let Some(entry) = clock.due.iter_mut().find(|(_, id, _)| *id == own) {
            entry.2 = Some(context.waker().clone());
        }
        clock.wake_first();
        drop(clock);
        self.seen = true;
        Poll::Pending
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        let mut clock = self.world.clock();
        clock.due.retain(|(_, id, _)| *id != self.id);
        clock.wake_first();
    }
}

/// Everything a sign-in may do with its door: questions in parallel, a race whose loser is given up, randomness, time,
/// words.
async fn program(io: &dyn Io, names: &[&str]) -> Vec<String> {
    io.tell(Event::Began(Step::Discovery));
    let mut found = Vec::new();
    let mut lookups: FuturesUnordered<_> =
        names.iter().map(|name| async { (*name, io.resolve(name, RecordKind::Address, SECOND).await) }).collect();
    while let Some((name, answer)) = lookups.next().await {
        found.push(format!("{:?} {name} {answer:?}", io.now().since_start));
    }
    let mut salt = [0; 4];
    io.fill_random(&mut salt);
    found.push(format!("{salt:?}"));

    let patience = pin!(io.wait(Duration::from_millis(20)));
    let slow = pin!(io.resolve("a-name-that-takes-far-too-long.contoso.test", RecordKind::Srv, SECOND));
    found.push(match select(slow, patience).await {
        Either::Left((answer, _)) => format!("{answer:?}"),
        Either::Right(_) => format!("gave up at {:?}", io.now().since_start),
    });
    io.tell(Event::Ended(Step::Discovery, StepResult::Pass));
    let peer = "127.0.0.11:5061".parse().expect("an address");
    found.push(format!("{:?} {}", io.connect(Target::Direct(peer), SECOND).await, io.now().unix_seconds));
    found
}

const NAMES: [&str; 4] =
    ["lyncdiscoverinternal.contoso.test", "sip.contoso.test", "lyncdiscover.contoso.test", "a.test"];

fn recorded() -> (Vec<String>, Record) {
    let recorder = Recorder::new(World::default(), "alice@contoso.test", "signpost test");
    let result = run(program(&recorder, &NAMES)).expect("the world answers everything");
    (result, recorder.finish())
}

#[test]
fn a_replay_gives_the_same_result_the_same_record_and_the_same_ladder() {
    let (result, record) = recorded();
    assert_eq!(result.len(), NAMES.len() + 3, "{result:#?}");
    assert!(result[0].starts_with("6ms a.test") && result[3].starts_with("33ms lyncdiscoverinternal"), "{result:#?}");
    assert_eq!(result[5], "gave up at 53ms");
    assert!(record.entries.iter().any(|entry| matches!(entry.what, What::GaveUp { .. })));

    let again = Recorder::new(Replay::new(record.clone()), "alice@contoso.test", "signpost test");
    let replayed = run(program(&again, &NAMES)).expect("the record answers everything");
    assert_eq!(again.world().difference(), None);
    assert!(again.world().finished());
    assert_eq!(replayed, result);
    assert_eq!(again.world().played(), record);
    let again = again.finish();
    assert_eq!(again, record);
    assert_eq!(ladder::text(&again, 100), ladder::text(&record, 100));
}

#[test]
fn a_record_survives_its_file_and_a_file_that_was_cut_off_is_read_up_to_there() {
    let (_, record) = recorded();
    let mut file = Vec::new();
    record.write(&mut file).expect("memory takes everything");
    assert_eq!(Record::read(&file[..]).expect("what was written can be read"), record);
    let header = br#"{"schema":1,"address":"alice@contoso.test","started":1780272000,"program":"signpost test"}"#;
    assert_eq!(&file[..header.len()], header);

    let cut = Record::read(&file[..file.len() - 30]).expect("a cut tail is no error");
    assert!(cut.truncated);
    assert_eq!(cut.entries[..], record.entries[..record.entries.len() - 1]);

    let newer = String::from_utf8(file.clone()).expect("JSON is text").replacen("\"schema\":1", "\"schema\":9", 1);
    let why = |bytes: &[u8]| Record::read(bytes).expect_err("it is no record").to_string();
    assert_eq!(why(newer.as_bytes()), "the record has version 9; this program reads versions up to 1");
    assert_eq!(why(b""), "the record is empty");
    assert!(why(b"hello\n").starts_with("this is not a record of a sign-in"));
    let mut bad = file.clone();
    let second = file.iter().position(|b| *b == b'\n').expect("lines") + 1;
    bad[second] = b'#';
    assert!(why(&bad).starts_with("line 2 of the record cannot be read"), "{}", why(&bad));
}

#[test]
fn another_question_is_told_as_a_difference_and_nothing_is_answered_any_more() {
    let (_, record) = recorded();
    let other = ["lyncdiscoverinternal.contoso.test", "sip.fabrikam.test", "lyncdiscover.contoso.test", "a.test"];
    let replay = Replay::new(record.clone());
    assert_eq!(run(program(&replay, &other)), Err(Stuck));
    let difference = replay.difference().expect("a difference");
    assert!(difference.to_string().contains("asks Resolve { name: \"sip.fabrikam.test\""), "{difference}");
    assert!(!replay.finished());

    let mut short = record.clone();
    short.entries.truncate(4);
    let replay = Replay::new(short);
    assert_eq!(run(program(&replay, &NAMES)), Err(Stuck));
    let difference = replay.difference().expect("a difference");
    assert!(difference.to_string().contains("the record ends"), "{difference}");

    // A program that gives up what the recorded one waited for.
    let replay = Replay::new(record);
    let hasty = async {
        let io: &dyn Io = &replay;
        io.tell(Event::Began(Step::Discovery));
        let (kind, limit) = (RecordKind::Address, SECOND);
        let ask = |name: &str| io.perform(Operation::Resolve { name: name.to_owned(), kind, limit });
        drop(NAMES.map(ask));
    };
    run(hasty).expect("it waits for nothing");
    let difference = replay.difference().expect("a difference");
    assert!(difference.expected.starts_with("the outcome of question"), "{difference}");
    assert_eq!(difference.found, "gives up question 0");
    assert_eq!(replay.played().entries.len(), 1 + NAMES.len());
}

#[test]
fn questions_asked_at_once_may_come_in_another_order() {
    let (result, record) = recorded();
    let mut other = NAMES;
    other.reverse();
    let replay = Replay::new(record);
    assert_eq!(run(program(&replay, &other)).as_ref(), Ok(&result));
    assert_eq!(replay.difference(), None);
}

/// Races `first` against `second`, and takes `second` later in any case. How far `second` got in the race is up to the
/// scheduler; `eager` says whether it was asked at all.
async fn race(io: &dyn Io, eager: bool) -> Vec<Duration> {
    let ask = |name: &str| {
        let (name, kind, limit) = (name.to_owned(), RecordKind::Address, SECOND);
        io.perform(Operation::Resolve { name, kind, limit })
    };
    let second = eager.then(|| ask("second.test"));
    ask("first.test").await;
    let first_at = io.now().since_start;
    drop(second);
    ask("second.test").await;
    vec![first_at, io.now().since_start]
}

#[test]
fn the_scheduler_of_the_day_makes_no_difference() {
    for (then, now) in [(false, false), (false, true), (true, false), (true, true)] {
        let recorder = Recorder::new(World::default(), "alice@contoso.test", "signpost test");
        let result = run(race(&recorder, then)).expect("the world answers everything");
        assert_eq!(result, [Duration::from_millis(10), Duration::from_millis(21)]);
        let record = recorder.finish();
        let replay = Replay::new(record.clone());
        assert_eq!(run(race(&replay, now)), Ok(result), "{then} {now}");
        assert_eq!(replay.difference(), None, "{then} {now}");
        assert!(replay.finished());
        assert_eq!(replay.played(), record);
    }
}

#[test]
fn a_bound_stops_the_record_and_not_the_sign_in() {
    let recorder = Recorder::new(World::default(), "alice@contoso.test", "signpost test").bounded(1000);
    let result = run(program(&recorder, &NAMES)).expect("the world answers everything");
    assert_eq!(result.len(), recorded().0.len());
    let record = recorder.finish();
    assert_eq!(record.entries.last().map(|entry| &entry.what), Some(&What::Full {}));
    assert!(record.entries.len() < recorded().1.entries.len());
    assert!(ladder::text(&record, 100).contains("the record ends here"));
}

#[test]
fn logons_in_plain_text_are_not_recorded() {
    let recorder = Recorder::new(World::default(), "alice@contoso.test", "signpost test");
    run(async {
        let io: &dyn Io = &recorder;
        let request = signin::io::HttpRequest {
            method: "GET".to_owned(),
            host: "web.contoso.test".to_owned(),
            path: "/".to_owned(),
            headers: vec![
                ("Authorization".to_owned(), "Basic Y2FuYXJ5".to_owned()),
                ("authorization".to_owned(), "NTLM TlRMTVNTUAAB".to_owned()),
            ],
            body: Vec::new(),
        };
        io.perform(Operation::Exchange { conn: ConnId(1), request, limit: SECOND }).await;
        let (host, proxy) = ("sip.contoso.test".to_owned(), "proxy.contoso.test:8080".to_owned());
        let target = Target::Proxied { host, port: 443, proxy, authorization: Some("Basic Y2FuYXJ5".to_owned()) };
        io.perform(Operation::Connect { target, limit: SECOND }).await;
    })
    .expect("the world answers everything");
    let record = recorder.finish();
    assert!(!format!("{record:?}").contains("Y2FuYXJ5"), "{record:?}");
    assert!(format!("{record:?}").contains("NTLM TlRMTVNTUAAB"), "{record:?}");
}

#[test]
fn a_future_that_nobody_wakes_is_stuck() {
    assert_eq!(run(std::future::pending::<()>()), Err(Stuck));
    assert_eq!(run(std::future::ready(7)), Ok(7));
}

proptest::proptest! {
    #[test]
    fn no_text_after_the_header_panics(tail in "\\PC{0,200}") {
        let file = format!("{{\"schema\":1,\"address\":\"a@b.test\",\"started\":0,\"program\":\"p\"}}\n{tail}");
        if let Ok(record) = Record::read(file.as_bytes()) {
            let _ = ladder::text(&record, 100);
        }
    }
}
