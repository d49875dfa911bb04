//! P7: the daily load of a whole pool on one server, played for a minute.
//!
//! The load is that of Microsoft's user model for 80,000 users with 152,000 endpoints: each second 89 publications, each
//! told to 40 watchers; 1,333 polls of one contact; 133 batch subscriptions to 40 contacts that end at once; 12 sign-ins
//! with NTLM over a new TLS connection, each with a batch subscription to 40 contacts that stays.
//!
//! Measured: processor time of the server's process (user and kernel) for each second of that load, as a share of one core,
//! and the memory of the process (proportional set size). The figure is the median over windows of five seconds.
//!
//! Scaled: 152,000 connections do not fit where this runs, so one endpoint of a hundred is there, each of a user of its
//! own; the rates are not scaled, so each endpoint does the work of a hundred. What grows with the number of endpoints and
//! not with that of messages is the memory, given for each endpoint, and the server's walk over its connections each second.
//! One client plays everything, one request after the other: when it cannot keep pace, a second of load takes longer, and
//! still counts as one.
//!
//! There is no ceiling here: the goal is absolute. Again: `make bench ONLY=P7`.

use crate::deployment::aor;
use crate::figure::{Beside, Figure, Goal, Spread};
use crate::link::{Dialer, Link};
use crate::phone::Phone;
use crate::presence::{polling, publication, watching};
use crate::process::Server;
use signin::name::Aor;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Endpoints of the pool, and those that are there.
const POOL: usize = 152_000;
const ENDPOINTS: usize = POOL / 100;

/// Contacts of each user, and so watchers of each.
const CONTACTS: usize = 40;

/// What happens each second.
const PUBLICATIONS: usize = 89;
const POLLS: usize = 1_333;
const BATCHES: usize = 133;
const SIGN_INS: usize = 12;

/// Seconds of load, and of one window of it.
const SECONDS: usize = 60;
const WINDOW: usize = 5;

/// No more windows are begun after so long.
const LONGEST: Duration = Duration::from_secs(90);

/// Measures it.
pub(crate) fn measure() -> Result<Vec<Figure>, String> {
    let dialer = Dialer::new()?;
    let mut pool = Pool::open(&dialer)?;
    let begun = Instant::now();
    let mut shares = Vec::new();
    while shares.len() < SECONDS / WINDOW && begun.elapsed() < LONGEST {
        let before = pool.server.cpu()?;
        for _ in 0..WINDOW {
            pool.second()?;
        }
        shares.push((pool.server.cpu()? - before).as_secs_f64() / WINDOW as f64 * 100.0);
    }
    let (played, wall) = (shares.len() * WINDOW, begun.elapsed().as_secs_f64());
    let memory = pool.server.memory()?;
    let each = memory.saturating_sub(pool.empty) as f64 / ENDPOINTS as f64;
    Ok(vec![Figure {
        id: "P7",
        name: "daily load of a pool, of one core",
        measured: Spread::of(shares),
        unit: "%",
        goal: Goal::AtMost(15.0),
        beside: vec![
            Beside::new("memory", memory as f64 / 1e6, "MB"),
            Beside::new("for each endpoint", each / 1e3, "KB"),
        ],
        remark: Some(format!(
            "{ENDPOINTS} of {POOL} endpoints connected, rates in full; {played} s of load played in {wall:.0} s"
        )),
    }])
}

/// The server and everybody at it.
struct Pool<'a> {
    dialer: &'a Dialer,
    server: Server,
    endpoints: Vec<Endpoint>,
    /// Memory of the server before anybody came.
    empty: u64,
    /// How often each thing happened.
    publications: usize,
    polls: usize,
    batches: usize,
    sign_ins: usize,
}

struct Endpoint {
    phone: Phone,
    link: Link,
    /// Publications since it signed in.
    published: u32,
}

impl Endpoint {
    /// Signs in, and watches the contacts of that user.
    fn sign_in(dialer: &Dialer, server: SocketAddr, number: usize) -> Result<Endpoint, String> {
        let mut link = dialer.open(server)?;
        let mut phone = Phone::new(number, link.local);
        phone.sign_in_by_password(&mut |request| link.ask(&request))?;
        let request = watching(&mut phone, &contacts(number), false)?;
        let answer = link.ask(&request)?;
        phone.check_success(&answer)?;
        Ok(Endpoint { phone, link, published: 0 })
    }

    fn ask(&mut self, write: impl FnOnce(&mut Phone) -> Result<Vec<u8>, String>) -> Result<(), String> {
        let request = write(&mut self.phone)?;
        let answer = self.link.ask(&request)?;
        self.phone.check_success(&answer)
    }
}

/// Whom a user watches: the next ones.
fn contacts(number: usize) -> Vec<Aor> {
    (1..=CONTACTS).map(|next| aor((number + next) % ENDPOINTS)).collect()
}

/// Who watches a user: those before.
fn watchers(number: usize) -> impl Iterator<Item = usize> {
    (1..=CONTACTS).map(move |before| (number + ENDPOINTS - before) % ENDPOINTS)
}

impl<'a> Pool<'a> {
    fn open(dialer: &'a Dialer) -> Result<Pool<'a>, String> {
        let server = Server::ours(&["front-end", &ENDPOINTS.to_string()])?;
        let empty = server.memory()?;
        let sign_in = |number| Endpoint::sign_in(dialer, server.address, number);
        let endpoints = (0..ENDPOINTS).map(sign_in).collect::<Result<_, _>>()?;
        Ok(Pool { dialer, server, endpoints, empty, publications: 0, polls: 0, batches: 0, sign_ins: 0 })
    }

    /// One second of load, spread over it in a hundred parts.
    fn second(&mut self) -> Result<(), String> {
        const PARTS: usize = 100;
        let begun = Instant::now();
        for part in 0..PARTS {
            let due = |rate: usize| rate * (part + 1) / PARTS - rate * part / PARTS;
            (0..due(PUBLICATIONS)).try_for_each(|_| self.publish())?;
            (0..due(POLLS)).try_for_each(|_| self.poll())?;
            (0..due(BATCHES)).try_for_each(|_| self.batch())?;
            (0..due(SIGN_INS)).try_for_each(|_| self.sign_in())?;
            let next = Duration::from_secs(1) * (part as u32 + 1) / PARTS as u32;
            std::thread::sleep(next.saturating_sub(begun.elapsed()));
        }
        Ok(())
    }

    /// Somebody's state changes, and all watchers read of it.
    fn publish(&mut self) -> Result<(), String> {
        let number = self.publications * 7 % ENDPOINTS;
        self.publications += 1;
        let publisher = &mut self.endpoints[number];
        let before = publisher.published;
        publisher.ask(|phone| publication(phone, before))?;
        publisher.published += 1;
        for watcher in watchers(number) {
            let message = self.endpoints[watcher].link.next()?;
            if !message.starts_with(b"BENOTIFY ") {
                return Err(format!("no notification: {}", String::from_utf8_lossy(&message)));
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<(), String> {
        let number = self.polls * 11 % ENDPOINTS;
        self.polls += 1;
        self.endpoints[number].ask(|phone| polling(phone, &aor((number + 200) % ENDPOINTS)))
    }

    fn batch(&mut self) -> Result<(), String> {
        let number = self.batches * 13 % ENDPOINTS;
        self.batches += 1;
        self.endpoints[number].ask(|phone| watching(phone, &contacts(number + 200), true))
    }

    /// Somebody comes back over a new connection; the one before is the server's to close.
    fn sign_in(&mut self) -> Result<(), String> {
        let number = self.sign_ins * 17 % ENDPOINTS;
        self.sign_ins += 1;
        self.endpoints[number] = Endpoint::sign_in(self.dialer, self.server.address, number)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_are_those_whose_contact_one_is() {
        for number in [0, 1, 39, 40, ENDPOINTS - 1] {
            assert_eq!(watchers(number).count(), CONTACTS);
            assert!(watchers(number).all(|watcher| contacts(watcher).contains(&aor(number))), "{number}");
        }
    }
}
