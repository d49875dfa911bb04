//! The peer: Kamailio's presence server, in the layout that spends least per message. One worker reads all TLS connections,
//! subscriptions and publications are in memory only, notifications are sent by who handled the publication, only errors
//! are logged, and nobody is asked for a password. The configuration is our own; Debian's packages are used as they are.

use crate::deployment::{DOMAIN, told};
use crate::link::{Dialer, Link};
use crate::process::Server;
use crate::serve::certificate;
use sip::{Draft, Message, Name};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Empty tables, which its presence modules want to see even when they keep nothing there.
const TABLES: &str = "/usr/share/kamailio/dbtext/kamailio";

/// Longest time it may take to start.
const START: Duration = Duration::from_secs(10);

/// A running Kamailio and the folder it works in.
pub(crate) struct Kamailio {
    pub(crate) server: Server,
    folder: TempDir,
}

impl Kamailio {
    /// Starts it, and waits until it takes connections.
    pub(crate) fn start(dialer: &Dialer) -> Result<Kamailio, String> {
        let folder = tempfile::Builder::new().prefix("signpost-bench-").tempdir().map_err(told)?;
        let (chain, key) = certificate()?;
        let path = |name: &str| folder.path().join(name);
        fs::write(path("chain.pem"), chain).map_err(told)?;
        fs::write(path("key.pem"), key).map_err(told)?;
        let tables = path("tables");
        copy(Path::new(TABLES), &tables).map_err(|error| {
            format!("{TABLES}: {error}; Debian has the peer in packages that `scripts/packages.sh bench` installs")
        })?;
        let address = free_address()?;
        fs::write(path("kamailio.cfg"), configuration(address, folder.path())).map_err(told)?;
        let mut command = Command::new("kamailio");
        command.args(["-DD", "-m", "2048", "-M", "16", "-x", "fm", "-X", "fm", "-f"]).arg(path("kamailio.cfg"));
        command.arg("-Y").arg(folder.path()).stderr(fs::File::create(path("log")).map_err(told)?);
        let mut server = Server::foreign(&mut command, address).map_err(|error| format!("kamailio: {error}"))?;
        let begun = Instant::now();
        while dialer.open(address).is_err() {
            if !server.runs() || begun.elapsed() > START {
                return Err(format!("kamailio does not start: {}", last_line(&path("log"))));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Kamailio { server, folder })
    }

    /// The last thing it complained of.
    pub(crate) fn complaint(&self) -> String {
        last_line(&self.folder.path().join("log"))
    }
}

fn last_line(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next_back().unwrap_or_default().to_owned()
}

fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).map_err(told)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn configuration(address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"#!KAMAILIO
debug=-1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
dns=no
rev_dns=no
enable_tls=yes
tcp_max_connections=4096
tls_max_connections=4096
tcp_connection_lifetime=3600
listen=tls:{address}
alias="{DOMAIN}"
loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "db_text.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"
modparam("tls", "tls_method", "TLSv1.2")
modparam("tls", "certificate", "{folder}/chain.pem")
modparam("tls", "private_key", "{folder}/key.pem")
modparam("presence|presence_xml", "db_url", "text://{folder}/tables")
modparam("presence", "subs_db_mode", 0)
modparam("presence", "publ_cache", 2)
modparam("presence", "notifier_processes", 0)
modparam("presence", "send_fast_notify", 1)
modparam("presence", "max_expires", 3600)
modparam("presence", "server_address", "sip:{address};transport=tls")
modparam("presence_xml", "force_active", 1)
request_route {{
    if (!t_newtran()) {{ sl_reply_error(); exit; }}
    if (method == "PUBLISH") {{ handle_publish(); t_release(); exit; }}
    if (method == "SUBSCRIBE") {{ handle_subscribe(); t_release(); exit; }}
    t_reply("405", "Method Not Allowed");
}}
"#
    )
}

/// A client of it: one user, one connection.
pub(crate) struct Client {
    link: Link,
    user: String,
    cseq: u32,
    etag: Option<String>,
}

impl Client {
    /// Connects as this user.
    pub(crate) fn open(dialer: &Dialer, address: SocketAddr, user: String) -> Result<Client, String> {
        Ok(Client { link: dialer.open(address)?, user, cseq: 0, etag: None })
    }

    /// Subscribes to the presence of somebody; the first notification is answered.
    pub(crate) fn subscribe(&mut self, whom: &str) -> Result<(), String> {
        let mut draft = self.request("SUBSCRIBE", whom);
        draft.header("Event", "presence").header("Accept", "application/pidf+xml").header("Expires", 3600);
        self.link.send(&draft.finish())?;
        // The answer and the first notification come in either order.
        let (mut accepted, mut notified) = (false, false);
        while !accepted || !notified {
            let message = self.link.next()?;
            match message.starts_with(b"SIP/2.0 ") {
                true => accepted = is_success(&message).map(|()| true)?,
                false => notified = self.acknowledge(&message).map(|()| true)?,
            }
        }
        Ok(())
    }

    /// Publishes a state, which is said to be `number`.
    pub(crate) fn publish(&mut self, number: usize) -> Result<(), String> {
        let whom = self.user.clone();
        let mut draft = self.request("PUBLISH", &whom);
        draft.header("Event", "presence").header("Expires", 3600);
        if let Some(etag) = &self.etag {
            draft.header("SIP-If-Match", etag);
        }
        let basic = if number.is_multiple_of(2) { "open" } else { "closed" };
        let document = format!(
            "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{whom}\"><tuple id=\"t1\">\
             <status><basic>{basic}</basic></status><contact>{whom}</contact><note>{number}</note></tuple></presence>"
        );
        draft.body("application/pidf+xml", document);
        let answer = self.link.ask(&draft.finish())?;
        is_success(&answer)?;
        let answer = Message::parse(&answer).map_err(told)?;
        self.etag = Some(answer.named("SIP-ETag").ok_or("a publication without an entity tag")?.to_owned());
        Ok(())
    }

    /// Takes a notification, and answers it.
    pub(crate) fn notified(&mut self) -> Result<(), String> {
        let message = self.link.next()?;
        self.acknowledge(&message)
    }

    fn acknowledge(&mut self, notification: &[u8]) -> Result<(), String> {
        let message = Message::parse(notification).map_err(told)?;
        if message.method() != Some("NOTIFY") || message.header(Name::Event) != Some("presence") {
            return Err(format!("no notification: {}", String::from_utf8_lossy(notification)));
        }
        let answer = Draft::answer(&message, 200, "OK", "t").finish();
        self.link.send(&answer)
    }

    fn request(&mut self, method: &str, whom: &str) -> Draft {
        self.cseq += 1;
        let (local, cseq) = (self.link.local, self.cseq);
        let mut draft = Draft::request(method, whom);
        draft
            .header("Via", format_args!("SIP/2.0/TLS {local};branch=z9hG4bK{}{method}{cseq}", local.port()))
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{}>;tag={}", self.user, local.port()))
            .header("To", format_args!("<{whom}>"))
            .header("Call-ID", format_args!("{}-{method}", local.port()))
            .header("CSeq", format_args!("{cseq} {method}"))
            .header("Contact", format_args!("<sip:{local};transport=tls>"));
        draft
    }
}

fn is_success(response: &[u8]) -> Result<(), String> {
    let message = Message::parse(response).map_err(told)?;
    match message.status() {
        Some(200..=299) => Ok(()),
        _ => Err(format!("kamailio refused: {}", String::from_utf8_lossy(response))),
    }
}
