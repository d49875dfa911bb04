//! The figures this project promises, measured: `cargo run --release -p bench -- [--only P6]`.
//!
//! One line per figure: id, name, value, unit, goal, what else was measured in the same run (the ceiling: what the machine
//! could do at best; the peer: another server), and whether the goal holds. The same goes to `target/bench.json`. The exit
//! status is 1 when a goal is missed, and the last line says which.
//!
//! A figure is one file with a `measure` function, listed in [`FIGURES`]; its page says what is measured, what the ceiling
//! does, and how to have it again. Everything is on loopback, and in temporary folders.

mod cpu;
mod deployment;
mod figure;
mod kamailio;
mod link;
mod p4;
mod p6;
mod p7;
mod p9;
mod phone;
mod presence;
mod process;
mod serve;
mod tls_dsk;

use figure::Figure;
use std::path::Path;
use std::process::ExitCode;

/// Measures one thing; several promises may be about it. An error says why it could not be measured.
type Measure = fn() -> Result<Vec<Figure>, String>;

/// Every figure there is: id, and what measures it.
const FIGURES: &[(&str, Measure)] = &[
    ("P4", p4::measure),
    ("P6", p6::measure),
    ("P7", p7::measure),
    ("P9", p9::measure),
    ("TLS-DSK", tls_dsk::measure),
];

/// Version of the form of `bench.json`; it goes up when a reader would have to change.
const SCHEMA: u32 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, server)) = arguments.split_first()
        && first == "--serve"
    {
        return match serve::serve(server) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => complain(&why),
        };
    }
    let chosen = match chosen(arguments.into_iter()) {
        Ok(chosen) => chosen,
        Err(complaint) => return complain(&complaint),
    };
    if cfg!(debug_assertions) {
        return complain("these figures mean nothing without --release");
    }
    let mut measured: Vec<Figure> = Vec::new();
    let mut missed: Vec<String> = Vec::new();
    for (id, measure) in chosen {
        match measure() {
            Ok(figures) => {
                figures.iter().for_each(print);
                missed.extend(figures.iter().filter(|figure| !figure.holds()).map(|figure| figure.id.to_owned()));
                measured.extend(figures);
            }
            Err(why) => missed.push(format!("{id}, which could not be measured: {why}")),
        }
    }
    if let Err(error) = write(&measured) {
        return complain(&format!("target/bench.json cannot be written: {error}"));
    }
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    missed.dedup();
    complain(&format!("missed: {}", missed.join("; ")));
    ExitCode::FAILURE
}

/// The figures asked for: all of them, or the one after `--only`.
fn chosen(mut arguments: impl Iterator<Item = String>) -> Result<Vec<(&'static str, Measure)>, String> {
    let usage = "usage: bench [--only ID]";
    let wanted = match (arguments.next(), arguments.next(), arguments.next()) {
        (None, ..) => return Ok(FIGURES.to_vec()),
        (Some(only), Some(id), None) if only == "--only" => id,
        _ => return Err(usage.to_owned()),
    };
    match FIGURES.iter().find(|(id, _)| id.eq_ignore_ascii_case(&wanted)) {
        Some(figure) => Ok(vec![*figure]),
        None => {
            let known: Vec<_> = FIGURES.iter().map(|(id, _)| *id).collect();
            Err(format!("there is no figure {wanted}; there is {}", known.join(", ")))
        }
    }
}

#[allow(clippy::print_stdout)] // the lines are what this program is for
fn print(figure: &Figure) {
    println!("{figure}");
}

#[allow(clippy::print_stderr)] // the only other thing it has to say
fn complain(complaint: &str) -> ExitCode {
    eprintln!("bench: {complaint}");
    ExitCode::from(2)
}

fn write(measured: &[Figure]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&folder)?;
    let figures: Vec<_> = measured.iter().map(Figure::to_json).collect();
    let document = serde_json::json!({ "schema": SCHEMA, "figures": figures });
    std::fs::write(folder.join("bench.json"), format!("{document:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Result<usize, String> {
        chosen(arguments.iter().map(|a| (*a).to_owned())).map(|figures| figures.len())
    }

    #[test]
    fn all_or_one_or_a_complaint() {
        assert_eq!(asked(&[]), Ok(FIGURES.len()));
        assert_eq!(asked(&["--only", "p6"]), Ok(1));
        assert!(asked(&["--only", "P99"]).is_err_and(|e| e.contains("P99")));
        assert!(asked(&["--all"]).is_err());
        assert!(asked(&["--only", "P6", "P7"]).is_err());
    }
}
