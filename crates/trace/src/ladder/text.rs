//! A call flow as text of fixed width, like those in RFCs.
//!
//! ```text
//!        ms  client
//!             |                    DNS
//!             |                     |               pool1.contoso.test
//! === 1 discovery ==========================================================
//!       0.1   |<------------------->| A sip.contoso.test → 127.0.0.11
//! === 2 connectivity =======================================================
//!       0.6   |<- TCP 127.0.0.11:5061 ------------------->|
//! ```
//!
//! A caption stands on its arrow where it fits, else behind it, over the lifelines there. The time is missing where a
//! row began together with the one above.

use super::{Arrow, Ladder, Row, Way};
use crate::record::Record;
use signin::legible::steers;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

/// Column of the client's lifeline.
const CLIENT: usize = 12;

/// Below this nothing readable can be drawn.
const NARROWEST: usize = 60;

/// Of a caption that is shortened before its answer, at least this much stays.
const LEAST_HEAD: usize = 16;

/// Answers that took at least this long have it on their arrow.
const WORTH_TELLING: Duration = Duration::from_millis(100);

/// The call flow of a record as text, `width` columns wide (at least 60). Every line ends with a line feed.
pub fn text(record: &Record, width: usize) -> String {
    Ladder::of(record).text(width)
}

impl Ladder {
    /// This call flow as text, `width` columns wide (at least 60). Every line ends with a line feed.
    pub fn text(&self, width: usize) -> String {
        let width = width.max(NARROWEST);
        let mut page = Page { columns: columns(self.lifelines.len(), width), width, lines: Vec::new() };
        page.title(&format!("{}, {}", self.address, date(self.started)));
        page.names(self);
        let mut shown = None;
        for row in &self.rows {
            match row {
                Row::Step { step, .. } => page.rule(&format!("{} {}", step.number(), step.name())),
                Row::Arrow(arrow) => {
                    let time = milliseconds(arrow.at);
                    let together = arrow.beside && shown.as_ref() == Some(&time);
                    page.arrow(arrow, if together { "" } else { &time });
                    shown = Some(time);
                    continue;
                }
                Row::Note { at, text } => page.note(&milliseconds(*at), text),
                Row::Verdict { at, verdict } => {
                    page.note(&milliseconds(*at), &format!("{}: {}", verdict.id, verdict.sentence));
                    page.note("", &format!("do: {}", verdict.fix));
                }
                Row::Cut => page.note("", "the record ends here, the sign-in went on"),
            }
            shown = None;
        }
        page.finish()
    }
}

/// Where the lifelines stand: evenly spread, the last one a little before the edge.
fn columns(lifelines: usize, width: usize) -> Vec<usize> {
    let span = width - CLIENT - 2;
    let gaps = lifelines.saturating_sub(1).max(1);
    (0..lifelines).map(|i| CLIENT + span * i / gaps).collect()
}

struct Page {
    columns: Vec<usize>,
    width: usize,
    lines: Vec<String>,
}

impl Page {
    fn title(&mut self, text: &str) {
        let mut line = Line::blank(self.width);
        line.put(0, text);
        self.lines.push(line.finish());
    }

    /// The names as a staircase, each over its own lifeline, so that all of them can be read whole.
    fn names(&mut self, ladder: &Ladder) {
        for (index, lifeline) in ladder.lifelines.iter().enumerate() {
            let mut line = Line::blank(self.width);
            line.bars(&self.columns[..index]);
            let name = lifeline.name.chars().count();
            let column = self.columns[index];
            let from = (column + 1).saturating_sub(name.div_ceil(2)).min(self.width.saturating_sub(name));
            // Centred where the lifeline to the left leaves room for it.
            let left = index.checked_sub(1).map_or(0, |before| self.columns[before] + 2);
            line.put(from.max(left).min(self.width.saturating_sub(name)), &lifeline.name);
            if index == 0 {
                line.put(CLIENT - 5, "ms");
            }
            self.lines.push(line.finish());
        }
    }

    fn rule(&mut self, title: &str) {
        let mut line = Line::blank(self.width);
        line.put(0, &"=".repeat(self.width));
        line.put(3, &format!(" {title} "));
        self.lines.push(line.finish());
    }

    fn note(&mut self, time: &str, text: &str) {
        let room = self.width - CLIENT - 4;
        for (index, part) in wrap(text, room).iter().enumerate() {
            let mut line = self.line(if index == 0 { time } else { "" });
            line.put(CLIENT + 2, if index == 0 { "* " } else { "  " });
            line.put(CLIENT + 4, part);
            self.lines.push(line.finish());
        }
    }

    fn arrow(&mut self, arrow: &Arrow, time: &str) {
        let mut line = self.line(time);
        let Some(&end) = self.columns.get(arrow.with) else { return };
        let (from, to) = (CLIENT + 1, end.saturating_sub(1));
        line.put(from, &"-".repeat(to + 1 - from));
        let (tail, head) = match (arrow.way, arrow.failed) {
            (Way::Out, false) => ("-", ">"),
            (Way::Both, false) => ("<", ">"),
            (Way::Out | Way::Both, true) => ("-", "x"),
            (Way::In, _) => ("<", "-"),
        };
        line.put(from, tail);
        line.put(to, head);
        let caption = match arrow.took.filter(|took| *took >= WORTH_TELLING) {
            Some(took) => format!("{} ({})", arrow.caption, seconds(took)),
            None => arrow.caption.clone(),
        };
        let on = (to + 1 - from).saturating_sub(6);
        let behind = self.width.saturating_sub(end + 2);
        if caption.chars().count() <= on || on >= behind {
            line.put(from + 2, &format!(" {} ", shortened(&caption, on)));
        } else {
            line.put(end + 2, &shortened(&caption, behind));
        }
        self.lines.push(line.finish());
    }

    /// A line with the time and all lifelines.
    fn line(&self, time: &str) -> Line {
        let mut line = Line::blank(self.width);
        line.bars(&self.columns);
        line.put((CLIENT - 3).saturating_sub(time.chars().count()), time);
        line
    }

    fn finish(self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// One line, column by column.
struct Line(Vec<char>);

impl Line {
    fn blank(width: usize) -> Line {
        Line(vec![' '; width])
    }

    fn bars(&mut self, columns: &[usize]) {
        columns.iter().for_each(|column| self.put(*column, "|"));
    }

    /// Writes over what is there; what does not fit is lost. Text of peers cannot steer the terminal.
    fn put(&mut self, at: usize, text: &str) {
        for (place, char) in self.0.iter_mut().skip(at).zip(text.chars()) {
            *place = if steers(char) { ' ' } else { char };
        }
    }

    fn finish(self) -> String {
        self.0.into_iter().collect::<String>().trim_end().to_owned()
    }
}

/// The text, or as much of it as fits into `room` with an ellipsis. Of a question with its answer, the answer stays.
fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let answer = text.rsplit_once(" → ").map_or(0, |(_, answer)| answer.chars().count() + 3);
    let tail = if answer + LEAST_HEAD <= room { answer } else { 0 };
    let head: String = text.chars().take(room.saturating_sub(tail + 1)).collect();
    let tail: String = text.chars().skip(text.chars().count() - tail).collect();
    format!("{head}…{tail}")
}

/// Lines of at most `room` characters, broken at spaces; a word longer than that has a line of its own.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if last == 0 => line.push_str(word),
            Some(line) if last + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn milliseconds(at: Duration) -> String {
    format!("{:.1}", at.as_secs_f64() * 1000.0)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn date(unix_seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let time = OffsetDateTime::from_unix_timestamp(unix_seconds).ok().and_then(|t| t.format(format).ok());
    time.unwrap_or_else(|| format!("{unix_seconds} s after 1970"))
}
