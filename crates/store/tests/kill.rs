//! What was acknowledged is there after `kill -9`.
//!
//! The parent starts this very program again as a child that changes contact lists and, through a server in front of the
//! store, publishes presence; it prints each acknowledgement. The parent kills the child at some moment, opens the file,
//! and compares. What change number *n* of a user is follows from *n*, so a list at version *n* + 1 must be exactly what
//! the model makes of the first *n* changes, and presence likewise.

mod support;

use signin::directory::Directory;
use signin::name::Aor;
use signin::provision::contacts::message::{ContactDocument, read_document, write_list};
use signin::provision::contacts::{ContactChange, ContactList, Edit, Group};
use signin::provision::presence::message::{Member, OwnPresence};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use support::server::{Server, endpoint};
use support::{Model, add, aor, block_on, contact, user};

const FILE: &str = "STORE_KILL_TEST_FILE";
const ROUNDS: u32 = 200;
/// Users whose contact lists change.
const WRITERS: usize = 4;
/// Users who publish; their numbers come after those of the others.
const PUBLISHERS: usize = 4;

fn main() {
    match std::env::var_os(FILE) {
        Some(path) => write_until_killed(Path::new(&path)),
        None => kill_many_times(),
    }
}

fn owner(number: usize) -> Aor {
    aor(&format!("user{number}@contoso.test"))
}

/// The child: each writer goes on where its list or its presence stands.
fn write_until_killed(path: &Path) {
    let store = Arc::new(Store::open(path).expect("the store opens after every kill"));
    let server = Server::on(store.clone());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || change_lists(store, writer));
        }
        for publisher in WRITERS..WRITERS + PUBLISHERS {
            let server = &server;
            scope.spawn(move || publish(server, publisher));
        }
    });
}

/// Says that change `number` of a user was acknowledged. One write, so that a kill cannot mix lines; the parent reads
/// only whole ones.
fn acknowledged(user: usize, number: u32) {
    let line = format!("{user} {number}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("the parent reads");
}

fn change_lists(store: &Store, writer: usize) -> ! {
    let mut made = block_on(store.contacts(&owner(writer))).expect("a list").delta_num - 1;
    loop {
        let change = ContactChange { delta_num: Some(made + 1), edit: edit(made) };
        let list = block_on(store.change_contacts(&owner(writer), change)).expect("a valid change");
        made = list.delta_num - 1;
        acknowledged(writer, made);
    }
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

/// What one user publishes: three things in turn, so that their versions say how many changes were made.
#[derive(Debug, Default, PartialEq, Eq)]
struct Published {
    /// Version of a static note, and its text. With each version another publication comes or goes in the same request.
    note: (u32, String),
    with_note: bool,
    /// Version of container 400 and its members.
    container: (u32, BTreeSet<Member>),
    /// Version of something that lasts a day.
    for_a_day: u32,
}

impl Published {
    fn changes(&self) -> u32 {
        self.note.0 + self.container.0 + self.for_a_day
    }

    /// After `n` changes.
    fn after(n: u32) -> Published {
        let mut published = Published::default();
        while published.changes() < n {
            match published.changes() % 3 {
                0 => {
                    let version = published.note.0 + 1;
                    published.note = (version, version.to_string());
                    published.with_note = !published.with_note;
                }
                1 => {
                    let (member, added) = member(published.container.0);
                    published.container.0 += 1;
                    if added {
                        published.container.1.insert(Member::User(member));
                    } else {
                        published.container.1.remove(&Member::User(member));
                    }
                }
                _ => published.for_a_day += 1,
            }
        }
        published
    }

    /// As the server tells it.
    fn told(own: &OwnPresence) -> Published {
        let categories = || own.categories.iter().flat_map(|own| &own.categories);
        let version = |name: &str| categories().find(|c| c.name == name).and_then(|c| c.version).unwrap_or(0);
        let note = categories().find(|c| c.name == "note").and_then(|c| c.value.as_ref());
        let container = own.containers.iter().find(|container| container.id == 400);
        Published {
            note: (version("note"), note.map(|note| note.trimmed().to_owned()).unwrap_or_default()),
            with_note: version("options") > 0,
            container: container.map(|c| (c.version, c.members.iter().cloned().collect())).unwrap_or_default(),
            for_a_day: version("calendarData"),
        }
    }
}

/// Whom the change that follows `version` of the container is about, and whether it adds them: two come, one goes.
fn member(version: u32) -> (Aor, bool) {
    let member = |number: u32| aor(&format!("friend{number}@contoso.test"));
    match version % 3 {
        2 => (member((version - 1) % 7), false),
        _ => (member(version % 7), true),
    }
}

fn publish(server: &Server, publisher: usize) -> ! {
    let who = endpoint(&format!("user{publisher}"), "e1");
    let mut made = Published::told(&server.own(&who));
    loop {
        let code = match made.changes() % 3 {
            0 => {
                let note = format!("<note>{}</note>", made.note.0 + 1);
                let other =
                    if made.with_note { (1, "'static'", "options", "") } else { (0, "'static'", "options", "<x/>") };
                server.publish_all(&who, &[(made.note.0, "'static'", "note", &note), other])
            }
            1 => {
                let (member, added) = member(made.container.0);
                server.set_member(&who, 400, made.container.0, added, &member)
            }
            _ => server.publish(&who, made.for_a_day, "'time' expires='86400'", "calendarData", "<freeBusy/>"),
        };
        assert_eq!(code, 200, "{made:?}");
        made = Published::after(made.changes() + 1);
        acknowledged(publisher, made.changes());
    }
}

/// The parent.
fn kill_many_times() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    let store = Store::open(&path).expect("a new store");
    (0..WRITERS + PUBLISHERS).for_each(|number| add(&store, user(owner(number).as_str()), &[]));
    drop(store);

    let mut models = vec![Model::new(); WRITERS];
    let mut made = [0; WRITERS + PUBLISHERS];
    let (began, mut told) = (Instant::now(), 0);
    for round in 0..ROUNDS {
        let last = run_and_kill(&path, moment(round));
        let store = Arc::new(Store::open(&path).expect("the store opens after a kill"));
        let server = Server::on(store.clone());
        for (number, made) in made.iter_mut().enumerate() {
            let before = *made;
            *made = match models.get_mut(number) {
                Some(model) => changes_of_list(&block_on(store.contacts(&owner(number))).expect("a list"), model),
                None => changes_of_presence(&server.own(&endpoint(&format!("user{number}"), "e1"))),
            };
            let last = last[number].max(before);
            assert!(*made >= last, "round {round}: user {number} was told {last} and has {made}");
            assert!(*made <= last + 1, "round {round}: a change of user {number} nobody made");
            told += last - before;
        }
        drop((store, server));
        check_file(&path);
    }
    let changes: u32 = made.iter().sum();
    assert!(told > ROUNDS, "only {told} changes were acknowledged: the test tests nothing");
    assert!(made.iter().all(|made| *made > ROUNDS / 4), "somebody hardly changed anything: {made:?}");
    let summary = format!(
        "kill: {ROUNDS} rounds in {:.1} s, {told} acknowledged changes all there, {} of {changes} were written and not \
         yet acknowledged\n",
        began.elapsed().as_secs_f32(),
        changes - told
    );
    std::io::stdout().write_all(summary.as_bytes()).expect("standard output");
}

/// Runs a child for this long; the last change each user was told of.
fn run_and_kill(path: &Path, after: Duration) -> [u32; WRITERS + PUBLISHERS] {
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

    let mut last = [0; WRITERS + PUBLISHERS];
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (user, number) = line.split_once(' ').expect("two numbers");
        last[user.parse::<usize>().expect("a user")] = number.parse().expect("a number");
    }
    last
}

/// Spread over start, first writes and full work; not the same twice, and the same in every run of the test.
fn moment(round: u32) -> Duration {
    Duration::from_millis(u64::from(5 + round.wrapping_mul(2_654_435_761) % 90))
}

/// The list is what the model makes of as many changes, and what a client would be told parses.
fn changes_of_list(list: &ContactList, model: &mut Model) -> u32 {
    while 1 + model.changes < list.delta_num {
        assert!(model.make(edit(model.changes)), "every change of the plan can be made");
    }
    assert_eq!(*list, model.list());
    assert_eq!(read_document(write_list(list).as_bytes()), Ok(ContactDocument::List(list.clone())));
    list.delta_num - 1
}

fn changes_of_presence(own: &OwnPresence) -> u32 {
    let told = Published::told(own);
    assert_eq!(told, Published::after(told.changes()));
    told.changes()
}

fn check_file(path: &Path) {
    let conn = rusqlite::Connection::open(path).expect("the file");
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
    assert_eq!(verdict, "ok");
    let dangling = conn.prepare("PRAGMA foreign_key_check").expect("a statement").exists([]).expect("an answer");
    assert!(!dangling, "a row without its user");
}
