//! The registrar's decisions: is this user's home here, elsewhere, or nowhere? `[MS-SIPREGE]` §3.1.2.5.1, §3.2.
//!
//! | user | answer |
//! |---|---|
//! | domain that is not served | 404, 1005 |
//! | account owns another address | 403, 4004 |
//! | not in the directory, or not enabled for SIP | 404, 1003 or 4005 |
//! | outside, without remote access | 403, 4003 |
//! | homed in another pool | 301 to that pool, backup second |
//! | homed in this pool, on another Front End that is up | 301 to it, backup second |
//! | homed here, or home and backup are down and this is the backup | registered |
//! | no pool, or no live one | 504 |
//!
//! A redirect never leads back here and never in a circle: between pools it names the home pool, within a pool the one
//! Front End that every member computes alike, and a server that cannot name a live target registers or refuses.

use super::message::{Deregistration, RegisterAction};
use super::{endpoint::Gruu, location::Binding};
use crate::directory::User;
use crate::name::Aor;
use crate::provision::ALLOW_EVENTS;
use crate::reply::{Diagnostics, Reply};
use crate::topology::{HostPort, Liveness, Pool, Topology};
use std::sync::Arc;
use std::time::Duration;

/// What a server is in its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Authenticates and redirects; registers nobody.
    Director,
    /// Registers the users of its pool.
    FrontEnd {
        /// Pool FQDN.
        pool: String,
    },
    /// Where clients outside connect to; registers every user who may come from there.
    Edge,
}

/// The server that decides.
#[derive(Debug, Clone)]
pub struct Here {
    /// Its FQDN.
    pub fqdn: String,
    /// Its role.
    pub role: Role,
    /// The deployment.
    pub topology: Arc<Topology>,
    /// Who is up.
    pub liveness: Liveness,
}

/// What to do with a user who proved who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Register him here.
    Register {
        /// Whether this is his primary registrar (`is-connected-to-primary`).
        primary: bool,
    },
    /// Send him there, best first.
    Redirect(Vec<HostPort>),
    /// Refuse.
    Refuse(Reply),
}

impl Here {
    /// The refusal for an address of a domain that this deployment does not serve; `None`: it is served.
    pub fn refuse_domain(&self, aor: &Aor) -> Option<Reply> {
        let domain = aor.domain();
        let served = self.topology.sip_domains.iter().any(|own| own.eq_ignore_ascii_case(domain.as_str()));
        let why = || Diagnostics::public(1005, format!("Cannot route to destination domain {domain}"));
        (!served).then(|| Reply::new(404, "Not Found").because(why()))
    }

    /// Decides. `user` is what the directory has for `aor`; `owns` whether the authenticated account is his.
    pub fn decide(&self, user: Option<&User>, owns: bool) -> Decision {
        let refuse = |code, reason, diagnostics| Decision::Refuse(Reply::new(code, reason).because(diagnostics));
        if !owns {
            return Decision::Refuse(wrong_identity());
        }
        let Some(user) = user else {
            return refuse(404, "Not Found", Diagnostics::internal(1003, "User does not exist"));
        };
        if !user.sip_enabled {
            let why = "Destination URI either not enabled for SIP or does not exist";
            return refuse(404, "Not Found", Diagnostics::internal(4005, why));
        }
        if !user.enabled {
            return refuse(403, "Forbidden", Diagnostics::public(4141, "User disabled"));
        }
        if self.role == Role::Edge {
            if !user.remote_access {
                return refuse(403, "Forbidden", Diagnostics::public(4003, "From URI not enabled for remote access"));
            }
            return Decision::Register { primary: true };
        }
        let Some(home) = user.home_pool.as_deref().and_then(|fqdn| self.topology.pool(fqdn)) else {
            return refuse(404, "Not Found", Diagnostics::internal(4006, "User not found in pool"));
        };
        let backup = user.backup_pool.as_deref().and_then(|fqdn| self.topology.pool(fqdn));
        self.place(&user.aor, home, backup)
    }

    /// Why somebody who is registered here may not stay, as the directory has him now; `None`: he may. What depends on who
    /// is up is left to the next REGISTER.
    pub fn no_longer_serves(&self, user: Option<&User>) -> Option<Deregistration> {
        match self.decide(user, true) {
            Decision::Register { .. } => None,
            Decision::Refuse(reply) => (reply.code != 504).then_some(Deregistration::Rejected),
            Decision::Redirect(_) => {
                let home = user.and_then(|user| user.home_pool.as_deref());
                let stays = matches!(&self.role, Role::FrontEnd { pool } if Some(pool.as_str()) == home);
                (!stays).then_some(Deregistration::Deactivated)
            }
        }
    }

    fn place(&self, aor: &Aor, home: &Pool, backup: Option<&Pool>) -> Decision {
        if let Role::FrontEnd { pool } = &self.role {
            if *pool == home.fqdn {
                return match preferred(aor, home, &self.liveness, &self.fqdn) {
                    Some(other) if *other != self.fqdn => {
                        Decision::Redirect(targets(&HostPort { host: other.clone(), port: home.port }, backup))
                    }
                    _ => Decision::Register { primary: true },
                };
            }
            let home_is_down = home.front_ends.iter().all(|front_end| !self.liveness.is_up(front_end));
            if home_is_down && backup.is_some_and(|b| b.fqdn == *pool) {
                return Decision::Register { primary: false };
            }
        }
        let up = |pool: &Pool| pool.front_ends.iter().any(|front_end| self.liveness.is_up(front_end));
        let at = |pool: &Pool| HostPort { host: pool.fqdn.clone(), port: pool.port };
        match backup {
            _ if up(home) => Decision::Redirect(targets(&at(home), backup)),
            Some(backup) if up(backup) => Decision::Redirect(vec![at(backup)]),
            _ => {
                let why = format!("Temporarily cannot route: pool {} does not answer", home.fqdn);
                let why = Diagnostics::internal(1007, why).outside("Temporarily cannot route");
                Decision::Refuse(Reply::new(504, "Server time-out").because(why))
            }
        }
    }
}

/// The refusal for an account that claims an address of somebody else.
pub fn wrong_identity() -> Reply {
    let why = "Credentials provided are not authorized to act as specified from URI";
    Reply::new(403, "Forbidden").because(Diagnostics::public(4004, why))
}

fn targets(first: &HostPort, backup: Option<&Pool>) -> Vec<HostPort> {
    let second = backup.map(|pool| HostPort { host: pool.fqdn.clone(), port: pool.port });
    std::iter::once(first.clone()).chain(second.filter(|s| s != first)).collect()
}

/// The Front End of a pool that a user belongs to while it is up: every member computes the same one, by highest random
/// weight, so that the loss of one moves only its own users.
fn preferred<'a>(aor: &Aor, pool: &'a Pool, liveness: &Liveness, here: &str) -> Option<&'a String> {
    let weight = |front_end: &str| {
        let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        aor.as_str().bytes().chain([0]).chain(front_end.bytes()).fold(0xcbf2_9ce4_8422_2325, hash)
    };
    pool.front_ends.iter().filter(|f| *f == here || liveness.is_up(f)).max_by_key(|f| weight(f))
}

/// The 301 that sends a client home. The reason phrase and `q` values are those of the product.
pub fn redirect(to: &[HostPort]) -> Reply {
    let reply = Reply::new(301, "Redirect request to Home Server");
    to.iter().zip([0.7, 0.3]).fold(reply, |reply, (target, q)| {
        reply.with("Contact", format!("<sip:{}:{};transport=TLS>;q={q}", target.host, target.port))
    })
}

/// What a 200 tells beyond the bindings.
#[derive(Debug, Clone)]
pub struct Granted<'a> {
    /// Seconds.
    pub expires: u32,
    /// New, refreshed or fixed.
    pub action: RegisterAction,
    /// Registered at the primary registrar.
    pub primary: bool,
    /// Came in from outside.
    pub remote: bool,
    /// Offered keep-alives; the answer names the interval in seconds.
    pub keep_alive: Option<u32>,
    /// `RTC/6.0`, …
    pub server: &'a str,
}

/// The 200 to a REGISTER. One Contact line for each binding, one Supported line for each token and no blanks in
/// Allow-Events: open clients compare whole values.
pub fn registered(aor: &Aor, bindings: &[Arc<Binding>], now: Duration, granted: &Granted<'_>) -> Reply {
    let mut reply = Reply::ok();
    if let Some(timeout) = granted.keep_alive {
        reply = reply.with("ms-keep-alive", format!("UAS; tcp=no; hop-hop=yes; end-end=no; timeout={timeout}"));
    }
    for binding in bindings {
        let left = binding.expires_at.saturating_sub(now).as_secs();
        let mut contact =
            format!("<{}>;expires={left};+sip.instance={}", binding.contact, binding.instance.to_parameter());
        if binding.gruu {
            let gruu = Gruu { aor: aor.clone(), instance: binding.instance };
            contact.push_str(&format!(";gruu=\"{gruu}\""));
        }
        reply = reply.with("Contact", contact);
    }
    let mut state = format!("register-action=\"{}\"", granted.action.as_str());
    if !granted.primary {
        state.push_str(";is-connected-to-primary=\"no\"");
    }
    reply = reply
        .with("Expires", granted.expires.to_string())
        .with("presence-state", state)
        .with("Allow-Events", ALLOW_EVENTS)
        .with("Supported", "adhoclist")
        .with("Server", granted.server)
        .with("Supported", "msrtc-event-categories")
        .with("Supported", "gruu-10");
    if granted.remote {
        reply = reply.with("ms-user-logon-data", "RemoteUser");
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(fqdn: &str, front_ends: &[&str]) -> Pool {
        Pool {
            fqdn: fqdn.to_owned(),
            port: 5061,
            front_ends: front_ends.iter().map(|f| (*f).to_owned()).collect(),
            web: format!("web.{fqdn}"),
        }
    }

    fn here(fqdn: &str, role: Role) -> Here {
        let topology = Topology {
            sip_domains: vec!["x.test".to_owned()],
            pools: vec![pool("p1", &["a", "b", "c"]), pool("p2", &["d"])],
            ..Topology::default()
        };
        Here { fqdn: fqdn.to_owned(), role, topology: Arc::new(topology), liveness: Liveness::default() }
    }

    fn user(name: &str, home: Option<&str>, backup: Option<&str>) -> User {
        User {
            display_name: name.to_owned(),
            home_pool: home.map(str::to_owned),
            backup_pool: backup.map(str::to_owned),
            remote_access: false,
            ..User::new(format!("{name}@x.test").parse().expect("aor"))
        }
    }

    fn front_end(fqdn: &str, pool: &str) -> Here {
        here(fqdn, Role::FrontEnd { pool: pool.to_owned() })
    }

    fn status(decision: &Decision) -> (u16, u32) {
        match decision {
            Decision::Refuse(reply) => (reply.code, reply.diagnostics.as_ref().map_or(0, |d| d.id)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refusals_name_their_cause() {
        let director = here("dir", Role::Director);
        let alice = user("alice", Some("p1"), None);
        assert_eq!(status(&director.decide(Some(&alice), false)), (403, 4004));
        assert_eq!(status(&director.decide(None, true)), (404, 1003));
        assert_eq!(status(&director.decide(Some(&User { sip_enabled: false, ..alice.clone() }), true)), (404, 4005));
        assert_eq!(status(&director.decide(Some(&User { enabled: false, ..alice.clone() }), true)), (403, 4141));
        assert_eq!(status(&director.decide(Some(&user("x", None, None)), true)), (404, 4006));
        assert_eq!(status(&here("sip", Role::Edge).decide(Some(&alice), true)), (403, 4003));
        assert_eq!(
            here("sip", Role::Edge).decide(Some(&User { remote_access: true, ..alice }), true),
            Decision::Register { primary: true }
        );
    }

    #[test]
    fn who_is_signed_in_may_stay_until_he_is_barred_or_moved() {
        let server = front_end("a", "p1");
        let alice = user("alice", Some("p1"), Some("p2"));
        assert_eq!(server.no_longer_serves(Some(&alice)), None);
        for name in ["a", "b", "c"] {
            server.liveness.set(name, false);
            assert_eq!(server.no_longer_serves(Some(&alice)), None, "with {name} down");
        }
        let rejected = Some(Deregistration::Rejected);
        assert_eq!(server.no_longer_serves(None), rejected);
        assert_eq!(server.no_longer_serves(Some(&User { enabled: false, ..alice.clone() })), rejected);
        assert_eq!(server.no_longer_serves(Some(&User { sip_enabled: false, ..alice.clone() })), rejected);
        assert_eq!(server.no_longer_serves(Some(&user("alice", None, None))), rejected);
        let moved = user("alice", Some("p2"), Some("p1"));
        assert_eq!(server.no_longer_serves(Some(&moved)), Some(Deregistration::Deactivated));
        let down = front_end("a", "p1");
        down.liveness.set("d", false);
        assert_eq!(down.no_longer_serves(Some(&user("alice", Some("p2"), None))), None, "there is nowhere to go to");
        assert_eq!(here("sip", Role::Edge).no_longer_serves(Some(&alice)), rejected, "not from outside");
    }

    #[test]
    fn foreign_domains_are_not_served() {
        let director = here("dir", Role::Director);
        assert_eq!(director.refuse_domain(&user("alice", None, None).aor), None);
        let foreign = "alice@fabrikam.test".parse().expect("aor");
        let reply = director.refuse_domain(&foreign).expect("refused");
        assert_eq!((reply.code, reply.diagnostics.map(|d| d.id)), (404, Some(1005)));
    }

    #[test]
    fn director_sends_home_with_the_backup_second() {
        let director = here("dir", Role::Director);
        let Decision::Redirect(to) = director.decide(Some(&user("frank", Some("p2"), Some("p1"))), true) else {
            panic!("not redirected")
        };
        assert_eq!(to.iter().map(|t| t.host.as_str()).collect::<Vec<_>>(), ["p2", "p1"]);
        let reply = redirect(&to);
        assert_eq!(reply.headers[0].1, "<sip:p2:5061;transport=TLS>;q=0.7");
        assert_eq!(reply.headers[1].1, "<sip:p1:5061;transport=TLS>;q=0.3");
    }

    #[test]
    fn every_user_ends_somewhere_whatever_is_down_and_wherever_he_starts() {
        let names = ["a", "b", "c", "d"];
        for n in 0..40 {
            let homes = [("p1", Some("p2")), ("p2", Some("p1")), ("p1", None)];
            let (home, backup) = homes[n % 3];
            let user = user(&format!("user{n}"), Some(home), backup);
            for down in 0..16u32 {
                let liveness = Liveness::default();
                for (i, name) in names.iter().enumerate() {
                    liveness.set(name, down & (1 << i) == 0);
                }
                for start in ["dir", "a", "b", "c", "d"] {
                    walk(start, &user, &liveness, &names);
                }
            }
        }
    }

    /// Follows redirects as a client does that takes the first target it can reach.
    fn walk(start: &str, user: &User, liveness: &Liveness, names: &[&str]) {
        let mut at = start.to_owned();
        if names.contains(&start) && !liveness.is_up(start) {
            return;
        }
        for _ in 0..4 {
            let role = match at.as_str() {
                "dir" => Role::Director,
                "d" => Role::FrontEnd { pool: "p2".to_owned() },
                _ => Role::FrontEnd { pool: "p1".to_owned() },
            };
            let server = Here { liveness: liveness.clone(), ..here(&at, role) };
            match server.decide(Some(user), true) {
                Decision::Register { .. } | Decision::Refuse(_) => return,
                Decision::Redirect(to) => {
                    let reach = |target: &HostPort| {
                        let hosts = match server.topology.pool(&target.host) {
                            Some(pool) => pool.front_ends.clone(),
                            None => vec![target.host.clone()],
                        };
                        hosts.into_iter().find(|host| liveness.is_up(host))
                    };
                    match to.iter().find_map(reach) {
                        Some(next) => {
                            assert_ne!(next, at, "{} redirected to itself", user.aor);
                            at = next;
                        }
                        None => return,
                    }
                }
            }
        }
        panic!("{} goes in circles from {start}", user.aor);
    }

    #[test]
    fn a_pool_keeps_its_users_apart_and_together() {
        let mut counts = [0; 3];
        for n in 0..300 {
            let user = user(&format!("user{n}"), Some("p1"), None);
            let homes: Vec<_> = ["a", "b", "c"]
                .iter()
                .filter(|f| front_end(f, "p1").decide(Some(&user), true) == Decision::Register { primary: true })
                .collect();
            assert_eq!(homes.len(), 1, "exactly one member keeps a user");
            counts[(homes[0].as_bytes()[0] - b'a') as usize] += 1;
        }
        assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    }
}
