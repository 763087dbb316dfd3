//! Standard output and standard error: tables, colours where they are wanted,
//! and no complaint when nobody reads any more.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use super::{Code, Failure, Format};

/// Where a command writes.
pub(crate) struct Out {
    pub(crate) format: Format,
    terminal: bool,
    colour: bool,
    error_colour: bool,
    silent: bool,
}

/// The colours that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Good,
    Bad,
    Busy,
    Dim,
    Bold,
}

impl Out {
    pub(crate) fn new(format: Format) -> Self {
        // https://no-color.org: any value that is not empty.
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = std::io::stdout().is_terminal();
        Self {
            format,
            terminal,
            colour: wanted && terminal,
            error_colour: wanted && std::io::stderr().is_terminal(),
            silent: false,
        }
    }

    /// Says nothing: what is asked for is one JSON document at the end.
    pub(crate) fn quiet() -> Self {
        Self {
            format: Format::Table,
            terminal: false,
            colour: false,
            error_colour: false,
            silent: true,
        }
    }

    /// Without colours, as if into a file.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            format: Format::Table,
            terminal: false,
            colour: false,
            error_colour: false,
            silent: false,
        }
    }

    /// Whether a person watches.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether there is somebody to ask: questions go to standard error.
    pub(crate) fn asks(&self) -> bool {
        std::io::stderr().is_terminal() && std::io::stdin().is_terminal()
    }

    /// A word in a colour, if colours are wanted.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        paint(self.colour, colour, text)
    }

    /// Writes text as it is.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        if self.silent {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Ok(()) => Ok(()),
            // `nestor get | head`: whoever read has what they wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                std::process::exit(Code::Done as i32)
            }
            Err(error) => Err(Failure::local(format!(
                "standard output cannot be written: {error}"
            ))),
        }
    }

    /// Writes a line.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.raw(&format!("{text}\n"))
    }

    /// Writes an answer: for people by `table`, else as it came.
    pub(crate) fn answer(
        &self,
        raw: &Value,
        table: impl FnOnce(&Self) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.raw(&table(self)),
            Format::Json => self.line(&pretty(raw)),
            Format::Yaml => self.raw(&yaml(raw)?),
        }
    }

    /// Writes something for whoever watches, on standard error.
    pub(crate) fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}", clean(text));
    }

    /// Writes why a command failed, on standard error, and where this server
    /// has more about it.
    pub(crate) fn failure(&self, failure: &Failure, server: &str) {
        if let (Format::Json | Format::Yaml, Some(problem)) = (self.format, &failure.problem)
            && let Ok(value) = serde_json::to_value(problem)
        {
            let _ = writeln!(std::io::stderr(), "{}", pretty(&value));
            return;
        }
        let word = paint(self.error_colour, Colour::Bad, "error:");
        let _ = writeln!(std::io::stderr(), "{word} {}", clean(&failure.text));
        let code = failure.problem.as_ref().map(|problem| &problem.code);
        if let Some(code) = code.filter(|code| !code.is_empty()) {
            let server = server.trim_end_matches('/');
            self.note(&format!("more: {server}/errors/{code}"));
        }
    }
}

fn paint(on: bool, colour: Colour, text: &str) -> String {
    if !on {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Good => "32",
        Colour::Bad => "31",
        Colour::Busy => "33",
        Colour::Dim => "2",
        Colour::Bold => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// JSON for people and programs alike.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value is JSON")
}

fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|e| Failure::local(format!("the answer cannot be written as YAML: {e}")))
}

/// Text of others without what could drive a terminal: control characters,
/// but for line breaks, and marks that turn the direction of writing.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' => true,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    };
    text.chars()
        .map(|c| if harmless(c) { c } else { '\u{fffd}' })
        .collect()
}

/// The same on one line.
pub(crate) fn one_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Rows under a head, in columns as wide as they need to be.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// Text with a colour.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self {
            text: one_line(text),
            colour: None,
        }
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}
impl Cell {
    pub(crate) fn of(text: &str, colour: Colour) -> Self {
        Self {
            text: one_line(text),
            colour: Some(colour),
        }
    }
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        let head = head
            .iter()
            .map(|title| Cell::of(title, Colour::Dim))
            .collect();
        Self { rows: vec![head] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// As text; lines are cut at `width` columns, if it is given.
    pub(crate) fn show(&self, out: &Out, width: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let wide = |text: &str| text.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|i| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(i))
                    .map(|cell| wide(&cell.text))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut used = 0;
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                let last = i + 1 == row.len();
                let room = width.map_or(usize::MAX, |width| width.saturating_sub(used));
                let shown = cut(&cell.text, room);
                let padding = if last {
                    0
                } else {
                    (widths[i] + 2 - wide(&cell.text)).min(room - wide(&shown).min(room))
                };
                used += wide(&shown) + padding;
                match cell.colour {
                    Some(colour) if !shown.is_empty() => line.push_str(&out.paint(colour, &shown)),
                    _ => line.push_str(&shown),
                }
                line.push_str(&" ".repeat(padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    match room {
        0 => String::new(),
        _ => text.chars().take(room - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_are_cut() {
        let mut table = Table::new(["NAME", "STATUS", "MESSAGE"]);
        table.row([
            "database".into(),
            Cell::of("ready", Colour::Good),
            "".into(),
        ]);
        table.row([
            "a".into(),
            "in_progress".into(),
            "creating\x1b[31m the\nthing".into(),
        ]);
        let out = Out::plain();
        assert_eq!(
            table.show(&out, None),
            "NAME      STATUS       MESSAGE\ndatabase  ready\na         in_progress  creating\u{fffd}[31m the thing\n"
        );
        for width in 0..60 {
            for line in table.show(&out, Some(width)).lines() {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
        let coloured = Out {
            colour: true,
            ..Out::plain()
        };
        assert!(table.show(&coloured, None).contains("\x1b[32mready\x1b[0m"));
    }

    #[test]
    fn texts_of_others_cannot_drive_the_terminal() {
        assert_eq!(
            clean("a\x1b]0;x\x07\u{202e}b\nc\r"),
            "a\u{fffd}]0;x\u{fffd}\u{fffd}b\nc\u{fffd}"
        );
    }
}
