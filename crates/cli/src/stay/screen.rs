//! A screen full of what there is to know: contacts with their presence on the left, what happened on the right, and a line
//! to type in.

use super::words::{self, Line, Tone, contacts_by_group, seen};
use super::{Shared, View, held, lines, obey};
use miette::{IntoDiagnostic, Result, WrapErr};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Position};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};
use signin::name::Aor;
use signin::provision::picture::{ContactPresence, Picture};
use signin::stay::{End, Happening, Wish};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines of what happened that are kept.
const KEPT: usize = 500;

/// Lines typed before that can be had again.
const REMEMBERED: usize = 100;

/// How often somebody looks whether it is over, while nobody types.
const LOOK: Duration = Duration::from_millis(200);

/// The view.
pub(super) struct Screen {
    terminal: Option<DefaultTerminal>,
    me: Aor,
    state: State,
    picture: Option<Picture>,
    happened: VecDeque<(String, Line)>,
    /// Lines scrolled back, of the contacts.
    scrolled: u16,
    input: Input,
}

/// How the connection is.
enum State {
    SignedIn { home: String, mechanism: String },
    Lost,
    Over,
}

impl Screen {
    pub(super) fn new(me: &Aor) -> Screen {
        Screen {
            terminal: None,
            me: me.clone(),
            state: State::Lost,
            picture: None,
            happened: VecDeque::new(),
            scrolled: 0,
            input: Input::default(),
        }
    }

    fn note(&mut self, line: Line) {
        for text in line.text.lines() {
            self.happened.push_back((lines::now(), Line { tone: line.tone, text: text.to_owned() }));
        }
        while self.happened.len() > KEPT {
            self.happened.pop_front();
        }
    }

    fn draw(&mut self) {
        let Some(mut terminal) = self.terminal.take() else { return };
        // A terminal that cannot be drawn on now may be later.
        let _ = terminal.draw(|frame| self.on(frame));
        self.terminal = Some(terminal);
    }

    fn on(&self, frame: &mut ratatui::Frame<'_>) {
        let [head, middle, input, hints] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1), Constraint::Length(1)])
                .areas(frame.area());
        let [contacts, happened] =
            Layout::horizontal([Constraint::Percentage(42), Constraint::Percentage(58)]).areas(middle);
        frame.render_widget(self.head(), head);
        let block = Block::new().borders(Borders::TOP | Borders::RIGHT).title(" contacts ");
        frame.render_widget(Paragraph::new(self.contacts()).block(block).scroll((self.scrolled, 0)), contacts);
        let block = Block::new().borders(Borders::TOP).title(" what happened (UTC) ");
        let rows = self.happened(happened.width, happened.height.saturating_sub(1));
        frame.render_widget(Paragraph::new(rows).block(block).wrap(Wrap { trim: false }), happened);
        let (typed, cursor) = self.input.shown(input.width.saturating_sub(3));
        frame.render_widget(Row::from(vec![Span::styled("> ", DIM), Span::raw(typed)]), input);
        frame.set_cursor_position(Position::new(input.x + 2 + cursor, input.y));
        frame.render_widget(Row::styled("status · note · add · remove · say · end · list · help · quit", DIM), hints);
    }

    fn head(&self) -> Row<'_> {
        let own = self.picture.as_ref().map(Picture::own_presence);
        let mut spans = vec![Span::styled(format!("{}  ", self.me), Modifier::BOLD)];
        match &self.state {
            State::SignedIn { home, mechanism } => {
                if let Some(own) = own {
                    spans.push(dot(&own));
                    spans.push(Span::raw(format!("{}  ", seen(&own))));
                }
                spans.push(Span::styled(format!("at {home}, {mechanism}"), DIM));
            }
            State::Lost => spans.push(Span::styled("no connection", Color::Red)),
            State::Over => spans.push(Span::styled("signed out", Color::Red)),
        }
        Row::from(spans)
    }

    fn contacts(&self) -> Vec<Row<'_>> {
        let Some(picture) = &self.picture else { return Vec::new() };
        let mut rows = Vec::new();
        for (group, members) in contacts_by_group(picture) {
            rows.push(Row::styled(group, Modifier::BOLD));
            for contact in members {
                let presence = picture.presence(&contact.aor);
                let known = matches!(self.state, State::SignedIn { .. });
                let name = words::clean(&picture.name(&contact.aor));
                rows.push(Row::from(vec![
                    Span::raw(" "),
                    if known { dot(&presence) } else { Span::styled("? ", DIM) },
                    Span::raw(format!("{name:<20} ")),
                    Span::styled(seen(&presence), DIM),
                ]));
            }
        }
        if rows.is_empty() {
            rows.push(Row::styled("nobody yet: add WHO", DIM));
        }
        rows
    }

    /// As many of the last lines as there is room for.
    fn happened(&self, width: u16, height: u16) -> Vec<Row<'_>> {
        let mut room = usize::from(height);
        let mut rows = VecDeque::new();
        for (at, line) in self.happened.iter().rev() {
            let length = at.chars().count() + 2 + line.text.chars().count();
            let needed = length.div_ceil(usize::from(width.max(1))).max(1);
            if needed > room {
                break;
            }
            room -= needed;
            let style = match line.tone {
                Tone::Plain => Style::new(),
                Tone::Words => Style::new().add_modifier(Modifier::BOLD),
                Tone::Bad => Style::new().fg(Color::Yellow),
            };
            rows.push_front(Row::from(vec![Span::styled(format!("{at}  "), DIM), Span::styled(&*line.text, style)]));
        }
        rows.into()
    }

    /// One key. `Some`: a line was entered.
    fn press(&mut self, key: KeyEvent) -> Option<String> {
        let entered = match key.code {
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Some("quit".to_owned()),
            KeyCode::PageUp => {
                self.scrolled = self.scrolled.saturating_sub(5);
                None
            }
            KeyCode::PageDown => {
                let last = u16::try_from(self.contacts().len().saturating_sub(1)).unwrap_or(u16::MAX);
                self.scrolled = self.scrolled.saturating_add(5).min(last);
                None
            }
            _ => self.input.press(key),
        };
        self.draw();
        entered
    }
}

const DIM: Style = Style::new().fg(Color::DarkGray);

/// What somebody can be seen as, as a mark that also tells without colours.
fn dot(presence: &ContactPresence) -> Span<'static> {
    let (mark, colour) = match presence.availability {
        Some(3_000..6_000) => ("● ", Color::Green),
        Some(6_000..9_000) => ("■ ", Color::Red),
        Some(9_000..12_000) => ("⊘ ", Color::Red),
        Some(12_000..18_000) => ("◐ ", Color::Yellow),
        Some(18_000..) => ("○ ", Color::DarkGray),
        Some(_) | None => ("· ", Color::DarkGray),
    };
    Span::styled(mark, colour)
}

impl View for Screen {
    fn happened(&mut self, picture: &Picture, happening: &Happening) {
        match happening {
            Happening::SignedIn { home, mechanism, .. } => {
                self.state = State::SignedIn { home: home.clone(), mechanism: mechanism.clone() };
            }
            Happening::Lost { .. } => self.state = State::Lost,
            _ => {}
        }
        self.picture = Some(picture.clone());
        if let Some(line) = words::line(picture, happening) {
            self.note(line);
        }
        self.draw();
    }

    fn list(&mut self) {
        self.scrolled = 0;
        self.draw();
    }

    fn tell(&mut self, line: Line) {
        self.note(line);
        self.draw();
    }

    /// Gives the terminal back, and says there how it ended.
    fn end(&mut self, end: &End) {
        self.state = State::Over;
        if self.terminal.take().is_some() {
            ratatui::restore();
        }
        let _ = crate::show::print(&format!("{}\n", words::end(end).text));
    }
}

/// Takes the terminal, and obeys what is typed there.
pub(super) fn begin(view: &Shared<Screen>, me: &Aor, wishes: mpsc::Sender<Wish>) -> Result<()> {
    let terminal =
        ratatui::try_init().into_diagnostic().wrap_err("the terminal cannot be filled; --plain prints lines")?;
    {
        let mut screen = held(view);
        screen.terminal = Some(terminal);
        screen.draw();
    }
    let (entered, mut lines) = mpsc::unbounded_channel();
    let keys = view.clone();
    // Reading keys blocks: it has a thread of its own, which ends with the screen.
    std::thread::spawn(move || read_keys(&keys, &entered));
    let (view, me) = (view.clone(), me.clone());
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if !obey(&line, &me, &view, &wishes).await {
                return;
            }
        }
    });
    Ok(())
}

fn read_keys(view: &Shared<Screen>, entered: &mpsc::UnboundedSender<String>) {
    while !matches!(held(view).state, State::Over) {
        match event::poll(LOOK).and_then(|there| if there { event::read().map(Some) } else { Ok(None) }) {
            Ok(Some(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                if let Some(line) = held(view).press(key)
                    && entered.send(line).is_err()
                {
                    return;
                }
            }
            Ok(Some(Event::Resize(..))) => held(view).draw(),
            Ok(_) => {}
            // The terminal is gone.
            Err(_) => {
                let _ = entered.send("quit".to_owned());
                return;
            }
        }
    }
}

/// The line to type in.
#[derive(Debug, Default)]
struct Input {
    text: Vec<char>,
    /// Characters before the cursor.
    cursor: usize,
    /// Lines entered before, latest last.
    before: Vec<String>,
    /// How many lines back the shown one is.
    back: usize,
}

impl Input {
    fn press(&mut self, key: KeyEvent) -> Option<String> {
        match key.code {
            KeyCode::Enter => return Some(self.enter()),
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => self.show(""),
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                self.text.insert(self.cursor, c);
                self.cursor += 1;
            }
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.text.len()),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => self.recall(self.back + 1),
            KeyCode::Down => self.recall(self.back.saturating_sub(1)),
            _ => {}
        }
        None
    }

    fn enter(&mut self) -> String {
        let line: String = std::mem::take(&mut self.text).into_iter().collect();
        (self.cursor, self.back) = (0, 0);
        if !line.trim().is_empty() && self.before.last() != Some(&line) {
            self.before.push(line.clone());
        }
        if self.before.len() > REMEMBERED {
            self.before.remove(0);
        }
        line
    }

    fn recall(&mut self, back: usize) {
        if back > self.before.len() {
            return;
        }
        self.back = back;
        let line = self.before.len().checked_sub(back).and_then(|at| self.before.get(at)).cloned();
        self.show(&line.unwrap_or_default());
    }

    fn show(&mut self, text: &str) {
        self.text = text.chars().collect();
        self.cursor = self.text.len();
    }

    /// The part around the cursor that fits, and where in it the cursor is.
    fn shown(&self, width: u16) -> (String, u16) {
        let width = usize::from(width.max(1));
        let first = self.cursor.saturating_sub(width);
        let text = self.text.iter().skip(first).take(width).collect();
        (text, u16::try_from(self.cursor - first).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(input: &mut Input, keys: &[KeyCode]) -> Vec<String> {
        keys.iter().filter_map(|key| input.press(KeyEvent::from(*key))).collect()
    }

    #[test]
    fn a_line_is_typed_corrected_entered_and_had_again() {
        let mut input = Input::default();
        let typed: Vec<KeyCode> = "say boob hh".chars().map(KeyCode::Char).collect();
        assert!(press(&mut input, &typed).is_empty());
        press(&mut input, &[KeyCode::Backspace, KeyCode::Char('i'), KeyCode::Home]);
        press(&mut input, &[KeyCode::Right; 5]);
        press(&mut input, &[KeyCode::Delete, KeyCode::Left, KeyCode::End]);
        let text = "say bob hi".to_owned();
        assert_eq!(input.shown(80), (text.clone(), 10));
        assert_eq!(press(&mut input, &[KeyCode::Enter]), std::slice::from_ref(&text));
        assert_eq!(input.shown(80), (String::new(), 0));
        press(&mut input, &[KeyCode::Up, KeyCode::Up]);
        assert_eq!(input.shown(80).0, text, "there is no line before the first");
        press(&mut input, &[KeyCode::Down]);
        assert_eq!(input.shown(80).0, "");
    }

    #[test]
    fn of_a_long_line_the_end_is_seen() {
        let mut input = Input::default();
        input.show(&"x".repeat(100));
        assert_eq!(input.shown(20), ("x".repeat(20), 20));
    }

    /// What a screen of that size looks like.
    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let backend = ratatui::backend::TestBackend::new(width, height);
        let mut terminal = ratatui::Terminal::new(backend).expect("a terminal");
        terminal.draw(|frame| screen.on(frame)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn any_size_can_be_drawn_on() {
        let mut screen = Screen::new(&"alice@contoso.test".parse().expect("an address"));
        screen.note(Line { tone: Tone::Bad, text: "a long line ".repeat(20) });
        for (width, height) in [(1, 1), (2, 3), (20, 5), (80, 24), (300, 100)] {
            drawn(&screen, width, height);
        }
        assert!(drawn(&screen, 80, 24).contains("no connection"));
    }
}
