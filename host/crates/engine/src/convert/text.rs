//! Text that a guest wrote, made fit for logs, terminals and browsers.

/// At most `max` characters, without control characters (line feeds and tabs
/// stay), without escape sequences' introducer, and without the characters
/// that change the direction of text: a guest must not be able to redraw a
/// terminal, forge a log line's beginning or hide what it says.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(max));
    let mut characters = text.chars();
    let mut left = max;
    loop {
        let Some(c) = characters.next() else {
            return cleaned;
        };
        if left == 0 {
            cleaned.pop();
            cleaned.push('…');
            return cleaned;
        }
        match c {
            '\n' | '\t' => cleaned.push(c),
            '\r' => continue,
            _ if c.is_control() || turns_text(c) => cleaned.push('\u{fffd}'),
            _ => cleaned.push(c),
        }
        left -= 1;
    }
}

/// The same on one line.
pub(crate) fn clean_line(text: &str, max: usize) -> String {
    clean(text, max).replace(['\n', '\t'], " ")
}

/// Explicit directional formatting, and line separators of their own.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_redraws_terminals_is_gone() {
        let table = [
            ("plain", "plain"),
            ("a\tb\nc", "a\tb\nc"),
            ("\u{1b}[2J\u{0}\r\nforged", "\u{fffd}[2J\u{fffd}\nforged"),
            ("a\u{202e}b", "a\u{fffd}b"),
            ("ü€😀", "ü€😀"),
        ];
        for (text, expected) in table {
            assert_eq!(clean(text, 100), expected);
        }
        assert_eq!(clean("abcdef", 3), "ab…");
        assert_eq!(clean("abc", 3), "abc");
        assert_eq!(clean_line("a\nb", 10), "a b");
    }

    proptest! {
        #[test]
        fn bounded_and_clean(text in ".*", max in 1usize..50) {
            let cleaned = clean(&text, max);
            prop_assert!(cleaned.chars().count() <= max);
            prop_assert!(!cleaned.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
