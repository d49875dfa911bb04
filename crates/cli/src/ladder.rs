//! `ladder`: the call flow of a saved record; and saving one.

use crate::arguments::Ladder;
use miette::{IntoDiagnostic, Result, WrapErr};
use ratatui::crossterm::terminal::size;
use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use trace::record::Record;

pub(crate) fn run(typed: &Ladder) -> Result<ExitCode> {
    let file = File::open(&typed.file)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read", typed.file.display()))?;
    let record = Record::read(BufReader::new(file))
        .into_diagnostic()
        .wrap_err_with(|| format!("{} is not a record of a sign-in", typed.file.display()))?;
    let text = trace::ladder::text(&record, columns(typed.width));
    crate::show::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a record, readable by its owner only: it holds tokens that would help to guess a password.
pub(crate) fn save(record: &Record, path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let write = |file: File| {
        let mut out = BufWriter::new(file);
        record.write(&mut out)?;
        out.flush()
    };
    file.and_then(write).into_diagnostic().wrap_err_with(|| format!("{} cannot be written", path.display()))
}

/// Columns to draw in.
pub(crate) fn columns(asked: Option<usize>) -> usize {
    let named = || std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let terminal = || {
        let (columns, _) = std::io::stdout().is_terminal().then(size)?.ok()?;
        Some(usize::from(columns))
    };
    asked.or_else(named).or_else(terminal).unwrap_or(100).clamp(60, 240)
}
