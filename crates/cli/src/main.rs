//! One program: `demo`, `lab`, `signin`, `ladder`, `admin`.
//!
//! What was typed ([`arguments`]) becomes what it means ([`wish`]) once, at the edge; after that no text stands for a
//! name, an address or a mechanism. What people see is written in [`show`] and nowhere else.

mod admin;
mod arguments;
mod attempt;
mod cache;
mod demo;
mod interrupt;
mod keyring;
mod krb5_conf;
mod lab;
mod ladder;
mod show;
mod signin;
mod stay;
mod wish;

use arguments::{Arguments, Verb};
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Without a terminal there is nobody to tell; the exit status still does.
            let _ = error.print();
            // Help that was asked for is no error.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    log_to_standard_error();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&miette::miette!("the runtime cannot start: {error}")),
    };
    let outcome = match arguments.verb {
        Verb::Signin(wanted) => runtime.block_on(signin::run(*wanted)),
        Verb::Lab(wanted) => runtime.block_on(lab::run(wanted)),
        Verb::Demo(wanted) => runtime.block_on(demo::run(wanted)),
        Verb::Ladder(wanted) => ladder::run(&wanted),
        Verb::Admin(wanted) => admin::run(*wanted),
    };
    // Somebody may still be waiting for a line on standard input, which nobody will type.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|report| fail(&report))
}

/// What servers log, as RUST_LOG asks (by default errors, and what the lab warns of): to standard error, so that output stays
/// output.
fn log_to_standard_error() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,lab=warn"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(colour).with_target(false).init();
}

/// A usage or local error: told on standard error, exit status 1.
#[allow(clippy::print_stderr)] // the one place where local errors are told
fn fail(report: &miette::Report) -> ExitCode {
    eprintln!("{report:?}");
    ExitCode::from(1)
}
