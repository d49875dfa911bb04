//! P4: one user's presence, told to 100 watchers over TLS.
//!
//! Measured: processor time of the server's process (user and kernel) for each notification. One user publishes a state
//! (machineState, in the two containers that clients use), one publication at a time; 100 signed-in users watch, each over
//! a TLS connection and a batch subscription of their own, and read the BENOTIFY, whose signature they check.
//!
//! The ceiling is a server of ours that reads one message and writes 100 fixed ones, as long as those BENOTIFYs, to 100 TLS
//! connections of the same kind: [`serve`](crate::serve) has it. The peer is Kamailio's presence server
//! ([`kamailio`]), with NOTIFYs of PIDF, each answered with 200, as it has no other.
//!
//! All three take turns, round by round; the figures are the ratios, per round, of notifications for the same processor
//! time. Again: `make bench ONLY=P4`.

use crate::deployment::aor;
use crate::figure::{Beside, Figure, Goal, Spread};
use crate::kamailio::{self, Kamailio};
use crate::link::{Dialer, Link};
use crate::phone::Phone;
use crate::presence::{publication, watching};
use crate::process::Server;
use std::time::Duration;

/// Watchers.
const WATCHERS: usize = 100;

/// Rounds, and publications in each. The first round warms up, and does not count.
const ROUNDS: usize = 9;
const PUBLICATIONS: usize = 40;

/// How long a server may take to come to rest after a round, before its time is read.
const REST: Duration = Duration::from_millis(30);

/// Measures it.
pub(crate) fn measure() -> Result<Vec<Figure>, String> {
    let dialer = Dialer::new()?;
    let mut ours = Ours::open(&dialer).map_err(|why| format!("our server: {why}"))?;
    let mut ceiling = Ceiling::open(&dialer, ours.length).map_err(|why| format!("the ceiling: {why}"))?;
    let mut peer = Peer::open(&dialer).map_err(|why| format!("the peer: {why}"))?;
    let (mut own, mut least, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let own_spent = spend(&mut ours).map_err(|why| format!("our server: {why}"))?;
        let least_spent = spend(&mut ceiling).map_err(|why| format!("the ceiling: {why}"))?;
        let their_spent = spend(&mut peer)
            .map_err(|why| format!("the peer, in round {round}: {why}; it says: {}", peer.kamailio.complaint()))?;
        if round > 0 {
            own.push(own_spent);
            least.push(least_spent);
            theirs.push(their_spent);
        }
    }
    let ratios = |other: &[f64]| Spread::of(other.iter().zip(&own).map(|(other, own)| other / own).collect());
    let reachable = Spread::of(theirs.iter().zip(&least).map(|(theirs, least)| theirs / least).collect()).median;
    let figure = |name, measured, goal, beside: Vec<Beside>| Figure {
        id: "P4",
        name,
        measured,
        unit: "x",
        goal: Goal::AtLeast(goal),
        beside: [Beside::new("a BENOTIFY", Spread::of(own.clone()).median, "µs")].into_iter().chain(beside).collect(),
        remark: None,
    };
    let median = |rounds: &[f64]| Spread::of(rounds.to_vec()).median;
    Ok(vec![
        figure(
            "BENOTIFYs to 100 watchers : the ceiling's",
            ratios(&least),
            0.7,
            vec![Beside::new("the ceiling's", median(&least), "µs")],
        ),
        figure(
            "BENOTIFYs to 100 watchers : Kamailio's NOTIFYs",
            ratios(&theirs),
            6.0,
            vec![
                Beside::new("Kamailio's", median(&theirs), "µs"),
                Beside::new("the ceiling : Kamailio's", reachable, "x"),
            ],
        ),
    ])
}

/// A server with its watchers.
trait FanOut {
    /// The server's process.
    fn server(&self) -> &Server;

    /// One publication; ends when every watcher has its notification.
    fn publish(&mut self) -> Result<(), String>;
}

/// Microseconds of processor time for each notification of one round.
fn spend(fan_out: &mut dyn FanOut) -> Result<f64, String> {
    let before = fan_out.server().cpu()?;
    for _ in 0..PUBLICATIONS {
        fan_out.publish()?;
    }
    std::thread::sleep(REST);
    let spent = fan_out.server().cpu()? - before;
    Ok(spent.as_secs_f64() * 1e6 / (PUBLICATIONS * WATCHERS) as f64)
}

/// Our Front End.
struct Ours {
    server: Server,
    publisher: (Phone, Link),
    watchers: Vec<(Phone, Link)>,
    published: u32,
    /// Of a BENOTIFY, in bytes.
    length: usize,
}

impl Ours {
    fn open(dialer: &Dialer) -> Result<Ours, String> {
        let users = WATCHERS + 1;
        let server = Server::ours(&["front-end", &users.to_string()])?;
        let sign_in = |number: usize| -> Result<(Phone, Link), String> {
            let mut link = dialer.open(server.address)?;
            let mut phone = Phone::new(number, link.local);
            phone.sign_in_by_password(&mut |request| link.ask(&request))?;
            Ok((phone, link))
        };
        let publisher = sign_in(0)?;
        let mut watchers = (1..users).map(sign_in).collect::<Result<Vec<_>, String>>()?;
        for (phone, link) in &mut watchers {
            let request = watching(phone, &[aor(0)], false)?;
            let answer = link.ask(&request)?;
            phone.check_success(&answer)?;
        }
        let mut ours = Ours { server, publisher, watchers, published: 0, length: 0 };
        ours.publish()?;
        Ok(ours)
    }
}

impl FanOut for Ours {
    fn server(&self) -> &Server {
        &self.server
    }

    fn publish(&mut self) -> Result<(), String> {
        let (phone, link) = &mut self.publisher;
        let request = publication(phone, self.published)?;
        self.published += 1;
        let answer = link.ask(&request)?;
        phone.check_success(&answer)?;
        for (phone, link) in &mut self.watchers {
            let notification = link.next()?;
            if !notification.starts_with(b"BENOTIFY ") {
                return Err(format!("no notification: {}", String::from_utf8_lossy(&notification)));
            }
            phone.check(&notification)?;
            self.length = notification.len();
        }
        Ok(())
    }
}

/// What cannot be done without.
struct Ceiling {
    server: Server,
    publisher: Link,
    watchers: Vec<Link>,
    length: usize,
}

impl Ceiling {
    fn open(dialer: &Dialer, length: usize) -> Result<Ceiling, String> {
        let server = Server::ours(&["ceiling", &WATCHERS.to_string(), &length.to_string()])?;
        let publisher = dialer.open(server.address)?;
        let watchers = (0..WATCHERS).map(|_| dialer.open(server.address)).collect::<Result<_, _>>()?;
        Ok(Ceiling { server, publisher, watchers, length })
    }
}

impl FanOut for Ceiling {
    fn server(&self) -> &Server {
        &self.server
    }

    fn publish(&mut self) -> Result<(), String> {
        let body = "x".repeat(1_000);
        let request = format!("SERVICE sip:x SIP/2.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.publisher.ask(request.as_bytes())?;
        for link in &mut self.watchers {
            let length = link.next()?.len();
            if length != self.length {
                return Err(format!("the ceiling sent {length} bytes and not {}", self.length));
            }
        }
        Ok(())
    }
}

/// Kamailio.
struct Peer {
    kamailio: Kamailio,
    publisher: kamailio::Client,
    watchers: Vec<kamailio::Client>,
    published: usize,
}

impl Peer {
    fn open(dialer: &Dialer) -> Result<Peer, String> {
        let kamailio = Kamailio::start(dialer)?;
        let open = |number: usize| kamailio::Client::open(dialer, kamailio.server.address, aor(number).to_uri());
        let publisher = open(0)?;
        let mut watchers = (1..=WATCHERS).map(open).collect::<Result<Vec<_>, String>>()?;
        watchers.iter_mut().try_for_each(|watcher| watcher.subscribe(&aor(0).to_uri()))?;
        Ok(Peer { kamailio, publisher, watchers, published: 0 })
    }
}

impl FanOut for Peer {
    fn server(&self) -> &Server {
        &self.kamailio.server
    }

    fn publish(&mut self) -> Result<(), String> {
        self.publisher.publish(self.published)?;
        self.published += 1;
        self.watchers.iter_mut().try_for_each(kamailio::Client::notified)
    }
}
