//! The command line, as typed. Every option says what it is for, its default and its unit.

use crate::admin::Admin;
use clap::{Args, Parser, Subcommand, ValueEnum};
use signin::old_cryptography::OldAlgorithm;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Skype for Business sign-in, whole: a client that walks the five steps and says which one broke, and a deployment to
/// sign in to.
#[derive(Debug, Parser)]
#[command(name = "signpost", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Starts a lab, signs several people in, shows each call flow and a table. Needs no rights, no network, no set-up.
    Demo(Demo),
    /// Runs a whole deployment on loopback until interrupted, for any client.
    Lab(Lab),
    /// Signs ADDRESS in and prints the five steps as they happen. The exit status is 0 when signed in, 11 to 15 for the
    /// step that failed, 1 for a usage or local error.
    Signin(Box<Signin>),
    /// Draws the call flow of a sign-in that was saved with `signin --save`.
    Ladder(Ladder),
    /// Shows and changes what a deployment keeps: users, policies, sites, dial plans, contacts, certificates. Its servers may
    /// be running.
    Admin(Box<Admin>),
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave the call flows out.
    #[arg(long)]
    pub(crate) brief: bool,
}

/// Options of `lab`.
#[derive(Debug, Args)]
pub(crate) struct Lab {
    /// First of ten consecutive loopback addresses [default: 127.77.0.10]
    #[arg(long, value_name = "ADDR")]
    pub(crate) address: Option<Ipv4Addr>,
    /// Listen on 53, 80, 88, 443 and 5061, so that foreign clients find the lab by DNS (needs root)
    #[arg(long)]
    pub(crate) standard_ports: bool,
    /// Write where everything is to FILE (JSON) once the lab serves, and again when administration changes people
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Keep CA, users and ports in DIR from run to run
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Switch off old cryptography, once for each [md4, rc4: NTLM is offered nowhere; tls1.0: TLS-DSK of pidgin-sipe fails;
    /// sha1: pidgin-sipe gets no certificate]
    #[arg(long, value_name = "NAME", value_parser = str::parse::<OldAlgorithm>)]
    pub(crate) without: Vec<OldAlgorithm>,
    /// Print where everything is as JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<u64>,
}

/// Options of `signin`.
#[derive(Debug, Args)]
pub(crate) struct Signin {
    /// The sign-in address, for example alice@contoso.com
    pub(crate) address: String,
    /// Logon name when it differs from the address: DOMAIN\name or a UPN
    #[arg(long, value_name = "LOGIN")]
    pub(crate) user: Option<String>,
    /// File whose first line is the password (else SIGNPOST_PASSWORD, else a prompt; never an argument)
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Use no password: sign in with the certificate that is kept, or go as far as is possible without
    #[arg(long, conflicts_with = "password_file")]
    pub(crate) no_password: bool,
    /// Mechanism
    #[arg(long, value_enum, default_value_t = Auth::Auto)]
    pub(crate) auth: Auth,
    /// Log on with the Kerberos tickets there are (of kinit; KRB5CCNAME names another cache), and ask for no password.
    /// Caches that are no files need a program built with --features gssapi
    #[arg(long, conflicts_with_all = ["password_file", "no_password"])]
    pub(crate) sso: bool,
    /// Ask this KDC instead of those of krb5.conf and the DNS (repeatable)
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) kdc: Vec<String>,
    /// Kerberos realm of the user [default: that of the tickets, the logon name, krb5.conf or the address]
    #[arg(long, value_name = "REALM")]
    pub(crate) realm: Option<String>,
    /// For what Kerberos may use RC4, whose keys are as old as its NT hashes
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = KerberosRc4::Services)]
    pub(crate) kerberos_rc4: KerberosRc4,
    /// Folder in which certificates of users are kept, one file each, readable by you alone
    /// [default: signpost/certificates in the folder for programs' state; with --dns or --ca, one for that deployment in it;
    /// with --lab, one beside the lab's CA]
    #[arg(long, value_name = "DIR")]
    pub(crate) certificates: Option<PathBuf>,
    /// Use and keep no certificate
    #[arg(long, conflicts_with = "certificates")]
    pub(crate) no_certificates: bool,
    /// Look for servers inside, outside, or both
    #[arg(long, value_enum, default_value_t = View::Auto)]
    pub(crate) view: View,
    /// Sign in at this server instead of looking for one
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) server: Option<String>,
    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub(crate) dns: Option<String>,
    /// Trust this root certificate too (PEM; repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Vec<PathBuf>,
    /// HTTP proxy for what cannot be reached directly
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Believe servers of this domain too, though it is not the address's (repeatable)
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) trust: Vec<String>,
    /// Also ask for _sipinternal._tcp: SIP without TLS, of old deployments
    #[arg(long)]
    pub(crate) legacy_tcp: bool,
    /// Use the lab that wrote this ready-file: its name server, its CA, its ports
    #[arg(long, value_name = "READY-FILE", conflicts_with = "dns")]
    pub(crate) lab: Option<PathBuf>,
    /// Longest time for one DNS query, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub(crate) dns_limit: f64,
    /// Longest time for one TCP connection (to a KDC 3 at most), seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) tcp_limit: f64,
    /// Longest time for one TLS handshake, one HTTP exchange, one SIP answer or one of a KDC (5 at most), seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) answer_limit: f64,
    /// Longest time for the whole of discovery, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub(crate) discovery_limit: f64,
    /// Append the keys of every TLS session to FILE, so that a packet capture can be read (whoever has both reads
    /// everything, tokens included)
    #[arg(long, value_name = "FILE")]
    pub(crate) key_log: Option<PathBuf>,
    /// Remember in FILE which server took the sign-in, and try it first the next time
    #[arg(long, value_name = "FILE")]
    pub(crate) cache: Option<PathBuf>,
    /// Draw the call flow
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) ladder: Option<LadderForm>,
    /// Save a record of the sign-in, which `signpost ladder` can draw. It holds no password, key or web ticket, but tokens of
    /// NTLM and Kerberos, with which a weak password can be guessed: show it to nobody who must not do that
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Print one JSON document and no text: --ladder, --show, --dial and --verbose add nothing then
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what the sign-in brought (repeatable)
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) show: Vec<Show>,
    /// Show what would be called when NUMBER is dialled
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) dial: Option<String>,
    /// Show all that step 5 brought
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Remain signed in: show contacts and their presence as they change, take `status`, `note`, `add`, `remove`, `say`,
    /// `quit` from standard input (`help` lists them), and sign in again when the connection is lost. Ctrl-C signs out.
    /// The exit status is 13 when the server ends it. With --json, one JSON document a line: the sign-in, then whatever
    /// happens
    #[arg(long)]
    pub(crate) stay: bool,
    /// With --stay in a terminal: print one line after another instead of filling the screen
    #[arg(long, requires = "stay")]
    pub(crate) plain: bool,
}

/// Options of `ladder`.
#[derive(Debug, Args)]
pub(crate) struct Ladder {
    /// A record written by `signin --save`
    pub(crate) file: PathBuf,
    /// Columns to draw in, 60 to 240 [default: the terminal's, else 100]
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) width: Option<usize>,
}

/// Mechanisms, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// The best that both sides can
    Auto,
    /// Kerberos, with the password or a ticket
    Kerberos,
    /// NTLM
    Ntlm,
    /// TLS-DSK, with the user's certificate; one is asked for when there is none
    TlsDsk,
}

/// What Kerberos may use RC4 for, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KerberosRc4 {
    /// Nothing
    Never,
    /// Tickets of services that have no other key
    Services,
    /// That, and the proof of the password: for accounts that have no AES keys. Whoever stands between this machine and
    /// the KDC can then have a proof to guess the password by
    Passwords,
}

/// Views, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    /// Whatever answers
    Auto,
    /// As if inside
    Internal,
    /// As if outside
    External,
}

/// Forms of a call flow, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LadderForm {
    /// For a terminal or a mail
    Text,
}

/// What a sign-in brought, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// Settings, policies and the dial plan
    Settings,
}

/// A name server as typed: an address, with a port or without.
pub(crate) fn name_server(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse().ok().map(|ip| SocketAddr::new(ip, 53)))
}
