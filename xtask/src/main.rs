//! `cargo run -p xtask -- tidy`: the rules of the house that the compiler does not know. Each finding names the place, the
//! rule and why the rule is there.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Crates that may not reach the world, and what would let them.
const PURE: [&str; 4] = ["sip", "mechanism", "signin", "trace"];
const WORLDLY: [&str; 10] =
    ["tokio", "hyper", "rustls", "openssl", "libgssapi", "hickory-resolver", "rusqlite", "getrandom", "axum", "net"];

/// Worldly crates in pure ones, each with its reason.
const EXCUSED: [(&str, &str); 1] = [
    // RSA, X.509 and the inner TLS of TLS-DSK, over buffers in memory.
    ("mechanism", "openssl"),
];

/// Rooms of `signin`: none may use another's halves.
const ROOMS: [&str; 6] = ["discover", "connect", "authenticate", "register", "provision", "converse"];

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {}
        _ => {
            report("usage: cargo run -p xtask -- tidy");
            return ExitCode::from(2);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut findings = Vec::new();
    manifests(&root, &mut findings);
    sources(&root, &mut findings);
    for finding in &findings {
        report(finding);
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::print_stderr)] // the findings are what this program is for
fn report(line: &str) {
    eprintln!("{line}");
}

/// Pure crates stay pure; every dependency of the workspace has its reason beside it.
fn manifests(root: &Path, findings: &mut Vec<String>) {
    for name in PURE {
        let text = read(&root.join("crates").join(name).join("Cargo.toml"));
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let worldly = WORLDLY.contains(&dependency) && !EXCUSED.contains(&(name, dependency));
            if section == "[dependencies]" && worldly {
                findings.push(format!("crates/{name}/Cargo.toml: `{dependency}`: this crate is pure, so that it can be tested and replayed without the world"));
            }
        }
    }
    let mut inside = false;
    for (number, line) in read(&root.join("Cargo.toml")).lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if inside && line.contains('=') && !line.contains("path =") && !line.contains('#') {
            findings.push(format!("Cargo.toml:{}: a dependency without its one-line reason", number + 1));
        }
    }
}

/// Modules open with their page; rooms do not reach into each other.
fn sources(root: &Path, findings: &mut Vec<String>) {
    for file in rust_files(&root.join("crates")) {
        let text = read(&file);
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let is_test = shown.contains("/tests/") || shown.ends_with("tests.rs");
        if !text.starts_with("//!") {
            findings.push(format!("{shown}: a module opens with its page (`//!`): purpose, source, what is left out"));
        }
        let Some(room) = ROOMS.iter().find(|room| shown.contains(&format!("signin/src/{room}/"))) else { continue };
        for (number, line) in text.lines().enumerate() {
            let reaches = |other: &&&str| {
                *other != room
                    && ["client", "server"].iter().any(|half| line.contains(&format!("crate::{other}::{half}")))
            };
            if !is_test
                && let Some(other) = ROOMS.iter().find(reaches)
                && !ALLOWED.contains(&(shown.as_str(), *other))
            {
                findings.push(format!("{shown}:{}: reaches into a half of `{other}`: rooms share messages, only signin/src/client.rs and server.rs know their order", number + 1));
            }
        }
    }
}

/// Exceptions, each with its reason.
const ALLOWED: [(&str, &str); 0] = [];

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
