//! A record: what a sign-in asked of the world and what came of it, in order, with times.
//!
//! Its file is JSON Lines. The first line is the [`Header`], every other line one [`Entry`]. A file that ends in the
//! middle of a line (full disk, killed process) is read up to there.

use crate::redaction;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use signin::io::{Operation, Outcome, Target};
use signin::report::Event;
use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

/// Version of the file format.
pub const SCHEMA: u32 = 1;

/// The longest line that is read, in bytes; no operation of a sign-in comes near it.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// A sign-in, written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What it is a record of.
    pub header: Header,
    /// What happened, in order.
    pub entries: Vec<Entry>,
    /// The file it was read from ended in the middle of a line.
    pub truncated: bool,
}

/// The first line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The address that signed in.
    pub address: String,
    /// When it began: seconds since 1970, UTC, by the clock of the machine that recorded.
    pub started: i64,
    /// Name and version of the program that recorded.
    pub program: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When: microseconds since the start; never goes back.
    pub t: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

impl Entry {
    /// When, since the start.
    pub fn at(&self) -> Duration {
        Duration::from_micros(self.t)
    }
}

/// What can happen in the door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The sign-in asked for something.
    Asked {
        /// Counted from 0 in the order of asking.
        id: u64,
        /// What it asked for, without proxy logons and Basic credentials.
        operation: Operation,
    },
    /// The sign-in took an outcome.
    Ended {
        /// Of which question.
        id: u64,
        /// The outcome.
        outcome: Outcome,
    },
    /// The sign-in no longer wanted an outcome.
    GaveUp {
        /// Of which question.
        id: u64,
    },
    /// The sign-in drew randomness.
    Random {
        /// What it got.
        #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
        bytes: Vec<u8>,
    },
    /// The sign-in said something.
    Told(Event),
    /// The record reached the size it was allowed; what followed is not in it.
    Full {},
}

/// Why a file is not a record.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("the record cannot be read: {0}")]
    Io(#[from] io::Error),
    /// There is nothing in it.
    #[error("the record is empty")]
    Empty,
    /// The first line is something else.
    #[error("this is not a record of a sign-in: {0}")]
    NotARecord(serde_json::Error),
    /// It was written by a newer program.
    #[error("the record has version {found}; this program reads versions up to {SCHEMA}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// A line in the middle makes no sense.
    #[error("line {line} of the record cannot be read: {why}")]
    BadLine {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: serde_json::Error,
    },
    /// A line is longer than any sign-in would make it.
    #[error("line {line} of the record is longer than {LONGEST_LINE} bytes")]
    LongLine {
        /// Counted from 1.
        line: usize,
    },
}

impl Record {
    /// Reads a record from its file.
    pub fn read(mut from: impl BufRead) -> Result<Record, ReadError> {
        let mut buffer = Vec::new();
        let (mut number, mut truncated) = (1, false);
        if !next_line(&mut from, &mut buffer, number)? {
            return Err(ReadError::Empty);
        }
        let header: Header = serde_json::from_slice(&buffer).map_err(ReadError::NotARecord)?;
        if header.schema > SCHEMA {
            return Err(ReadError::Newer { found: header.schema });
        }
        let mut entries = Vec::new();
        number += 1;
        while next_line(&mut from, &mut buffer, number)? {
            match serde_json::from_slice(&buffer) {
                Ok(entry) => entries.push(entry),
                Err(_) if !buffer.ends_with(b"\n") => truncated = true,
                Err(why) => return Err(ReadError::BadLine { line: number, why }),
            }
            number += 1;
        }
        Ok(Record { header, entries, truncated })
    }

    /// What the sign-in told, and when, since the start.
    pub fn told(&self) -> Vec<(Duration, Event)> {
        let told = |entry: &Entry| match &entry.what {
            What::Told(event) => Some((entry.at(), event.clone())),
            _ => None,
        };
        self.entries.iter().filter_map(told).collect()
    }

    /// The record without the randomness that was drawn, of which session keys are made, and without the web tickets and
    /// their keys, which open what they are for. What is shown of the record stays the same; only the sign-in itself
    /// cannot be run again from it.
    pub fn without_randomness(mut self) -> Record {
        self.entries.retain(|entry| !matches!(entry.what, What::Random { .. }));
        for entry in &mut self.entries {
            match &mut entry.what {
                What::Asked { operation, .. } => redaction::operation(operation),
                What::Ended { outcome, .. } => redaction::outcome(outcome),
                _ => {}
            }
        }
        self
    }

    /// Writes the file.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        write_line(&mut to, &self.header)?;
        self.entries.iter().try_for_each(|entry| write_line(&mut to, entry))?;
        to.flush()
    }

    /// How long it lasted.
    pub fn length(&self) -> Duration {
        self.entries.last().map_or(Duration::ZERO, Entry::at)
    }
}

/// Fills `buffer` with the next line and its end; `false` when there is none.
fn next_line(from: &mut impl BufRead, buffer: &mut Vec<u8>, line: usize) -> Result<bool, ReadError> {
    buffer.clear();
    from.take(LONGEST_LINE + 1).read_until(b'\n', buffer)?;
    if buffer.len() as u64 > LONGEST_LINE {
        return Err(ReadError::LongLine { line });
    }
    Ok(!buffer.is_empty())
}

fn write_line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    to.write_all(b"\n")
}

/// The operation as a record has it: logons that are plain text on the wire are left out.
pub(crate) fn without_passwords(mut operation: Operation) -> Operation {
    match &mut operation {
        Operation::Connect { target: Target::Proxied { authorization, .. }, .. } => *authorization = None,
        Operation::Exchange { request, .. } => {
            for (name, value) in &mut request.headers {
                let credentials =
                    name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("proxy-authorization");
                if credentials && value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic ")) {
                    value.replace_range(6.., "…");
                }
            }
        }
        _ => {}
    }
    operation
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
