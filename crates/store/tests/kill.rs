//! What was acknowledged is there after `kill -9`.
//!
//! The parent starts this very program again as a child that changes contact lists and prints each acknowledgement; it
//! kills the child at some moment, opens the file, and compares. What change number *n* of a user is follows from *n*, so
//! a list at version *n* + 1 must be exactly what the model makes of the first *n* changes.

mod support;

use signin::directory::Directory;
use signin::name::Aor;
use signin::provision::contacts::{ContactChange, ContactList, Edit, Group};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::Store;
use support::{Model, add, aor, block_on, contact, user};

const FILE: &str = "STORE_KILL_TEST_FILE";
const ROUNDS: u32 = 40;
const WRITERS: usize = 6;

fn main() {
    match std::env::var_os(FILE) {
        Some(path) => write_until_killed(Path::new(&path)),
        None => kill_many_times(),
    }
}

fn owner(number: usize) -> Aor {
    aor(&format!("user{number}@contoso.test"))
}

/// Change number `n` of a list: sixteen contacts come and go, two groups are made, renamed and deleted.
fn edit(n: u32) -> Edit {
    let member = |number: u32| format!("contact{number}@contoso.test");
    let round = n / 24;
    match n % 24 {
        0 => Edit::AddGroup { name: format!("Group {round}"), external_uri: String::new() },
        1 => Edit::ModifyGroup(Group { id: 2, name: format!("Renamed {round}"), external_uri: "urn:x".to_owned() }),
        step @ 2..=11 => Edit::SetContact(contact(&member(step), &[2, 1])),
        step @ 12..=21 => Edit::DeleteContact(aor(&member(step - 10))),
        22 => Edit::DeleteGroup(2),
        _ => Edit::SetContact(contact(&member(100 + round % 16), &[])),
    }
}

/// The child: each writer goes on where its list stands. A line is written only after the acknowledgement.
fn write_until_killed(path: &Path) {
    let store = Store::open(path).expect("the store opens after every kill");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let mut version = block_on(store.contacts(&owner(writer))).expect("a list").delta_num;
                loop {
                    let change = ContactChange { delta_num: Some(version), edit: edit(version - 1) };
                    let list = block_on(store.change_contacts(&owner(writer), change)).expect("a valid change");
                    version = list.delta_num;
                    // One write, so that a kill cannot mix lines; the parent reads only whole ones.
                    let line = format!("{writer} {version}\n");
                    std::io::stdout().write_all(line.as_bytes()).expect("the parent reads");
                }
            });
        }
    });
}

/// The parent.
fn kill_many_times() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    let store = Store::open(&path).expect("a new store");
    (0..WRITERS).for_each(|writer| add(&store, user(owner(writer).as_str()), &[]));
    drop(store);

    let mut models = vec![Model::new(); WRITERS];
    let (began, mut acknowledged, mut unacknowledged) = (Instant::now(), 0, 0);
    for round in 0..ROUNDS {
        let last = run_and_kill(&path, moment(round));
        let store = Store::open(&path).expect("the store opens after a kill");
        for (writer, model) in models.iter_mut().enumerate() {
            let list = block_on(store.contacts(&owner(writer))).expect("a list");
            let last = last[writer].max(1 + model.changes);
            assert!(list.delta_num >= last, "round {round}: {writer} was told {last} and has {}", list.delta_num);
            assert!(list.delta_num <= last + 1, "round {round}: a change nobody made");
            acknowledged += last - (1 + model.changes);
            unacknowledged += list.delta_num - last;
            check_whole(&list, model);
        }
        drop(store);
        check_file(&path);
    }
    let changes: u32 = models.iter().map(|model| model.changes).sum();
    assert!(acknowledged > ROUNDS, "only {acknowledged} changes were acknowledged: the test tests nothing");
    let summary = format!(
        "kill: {ROUNDS} rounds in {:.1} s, {acknowledged} acknowledged changes all there, {unacknowledged} of {changes} \
         were written and not yet acknowledged\n",
        began.elapsed().as_secs_f32()
    );
    std::io::stdout().write_all(summary.as_bytes()).expect("standard output");
}

/// Runs a child for this long; the last version each writer was told.
fn run_and_kill(path: &Path, after: Duration) -> Vec<u32> {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program).env(FILE, path).stdout(Stdio::piped()).spawn().expect("a child");
    let mut output = child.stdout.take().expect("its output");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    std::thread::sleep(after);
    child.kill().expect("SIGKILL");
    child.wait().expect("the child is gone");
    let text = reader.join().expect("no panic").expect("text");

    let mut last = vec![0; WRITERS];
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (writer, version) = line.split_once(' ').expect("two numbers");
        last[writer.parse::<usize>().expect("a writer")] = version.parse().expect("a version");
    }
    last
}

/// Spread over start, first writes and full work; not the same twice, and the same in every run of the test.
fn moment(round: u32) -> Duration {
    Duration::from_millis(u64::from(10 + round.wrapping_mul(2_654_435_761) % 240))
}

/// The list is what the model makes of as many changes.
fn check_whole(list: &ContactList, model: &mut Model) {
    while 1 + model.changes < list.delta_num {
        assert!(model.make(edit(model.changes)), "every change of the plan can be made");
    }
    assert_eq!(*list, model.list());
}

fn check_file(path: &Path) {
    let conn = rusqlite::Connection::open(path).expect("the file");
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
    assert_eq!(verdict, "ok");
    let dangling = conn.prepare("PRAGMA foreign_key_check").expect("a statement").exists([]).expect("an answer");
    assert!(!dangling, "a row without its user");
}
