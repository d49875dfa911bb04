//! What happens, line by line: in words with the time of day (UTC), or as JSON.

use super::words::{self, Line, Tone, contacts_by_group, seen};
use super::{Shared, View, held, obey};
use crate::show::{self, Style};
use signin::name::Aor;
use signin::provision::picture::Picture;
use signin::stay::{End, Happening, Wish};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

/// The view.
pub(super) struct Lines {
    json: bool,
    style: Style,
    picture: Option<Picture>,
}

impl Lines {
    pub(super) fn new(json: bool, style: Style) -> Lines {
        Lines { json, style, picture: None }
    }

    fn print(&self, line: &Line) {
        let mark = match line.tone {
            Tone::Plain => " ",
            Tone::Words => "»",
            Tone::Bad => "!",
        };
        let text = format!("{} {mark} {}", now(), line.text);
        self.put(&match line.tone {
            Tone::Plain => text,
            Tone::Words => self.style.bold(&text),
            Tone::Bad => self.style.warning(&text),
        });
    }

    /// What cannot be written is not read by anybody.
    fn put(&self, text: &str) {
        let _ = show::print(&format!("{text}\n"));
    }

    fn put_json(&self, value: &serde_json::Value) {
        self.put(&show::json(&value.to_string()));
    }
}

/// Time of day, UTC.
pub(super) fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

impl View for Lines {
    fn happened(&mut self, picture: &Picture, happening: &Happening) {
        if self.json {
            if let Some(mut value) = words::json(picture, happening) {
                value["at"] = now().into();
                self.put_json(&value);
            }
        } else if let Some(line) = words::line(picture, happening) {
            self.print(&line);
        }
        let shown = self.picture.replace(picture.clone()).is_some();
        if !self.json && matches!(happening, Happening::SignedIn { .. }) && !shown {
            self.list();
        }
    }

    fn list(&mut self) {
        let Some(picture) = &self.picture else { return };
        if self.json {
            let all: Vec<_> = picture.contacts().contacts.iter().map(|c| picture.presence(&c.aor)).collect();
            for presence in all {
                let news = Happening::News(signin::provision::picture::News::Presence(presence));
                if let Some(value) = words::json(picture, &news) {
                    self.put_json(&value);
                }
            }
            return;
        }
        self.put(&format!("  you: {}", seen(&picture.own_presence())));
        for (group, members) in contacts_by_group(picture) {
            self.put(&format!("  {}", self.style.bold(&group)));
            for contact in members {
                let name = words::clean(&picture.name(&contact.aor));
                self.put(&format!("    {name:<24} {}", seen(&picture.presence(&contact.aor))));
            }
        }
        if picture.contacts().contacts.is_empty() {
            self.put("  no contacts; add WHO adds one");
        }
    }

    fn tell(&mut self, line: Line) {
        if self.json {
            self.put_json(&serde_json::json!({ "event": "told", "text": line.text }));
        } else {
            self.print(&line);
        }
    }

    fn end(&mut self, end: &End) {
        match self.json {
            true => self.put_json(&words::json_end(end)),
            false => self.print(&words::end(end)),
        }
    }
}

/// Obeys standard input. When it ends nobody types any more; a terminal's end of input (Ctrl-D) means to quit, the end of
/// a pipe or file does not.
pub(super) async fn read_commands(view: Shared<Lines>, me: Aor, wishes: mpsc::Sender<Wish>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if !obey(&line, &me, &view, &wishes).await {
            return;
        }
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        // Refused only when it is over already.
        let _ = wishes.send(Wish::Quit).await;
    } else {
        held(&view).input_ended();
    }
}

impl Lines {
    fn input_ended(&mut self) {
        if !self.json {
            let text = "standard input has ended; staying signed in until interrupted".to_owned();
            self.print(&Line { tone: Tone::Plain, text });
        }
    }
}
