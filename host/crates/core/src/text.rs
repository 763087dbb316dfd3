//! Small helpers for messages: what was meant, and how much of it to show.

/// Longer words are not compared: nobody mistypes 64 characters, and the
/// comparison is quadratic.
const MAX_COMPARED: usize = 64;
/// More candidates are not looked at: a request with a hundred mistakes among
/// ten thousand names must not cost seconds.
const MAX_CANDIDATES: usize = 1000;

/// The candidate that a mistyped word most likely stood for, if one is near
/// enough to be worth saying: at most a third of its letters differ (a swap of
/// neighbours counts once), or the word is the beginning of exactly one
/// candidate. Case is ignored. Among equally near ones the first wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word
        .chars()
        .take(MAX_COMPARED + 1)
        .flat_map(char::to_lowercase)
        .collect();
    if word.is_empty() || word.len() > MAX_COMPARED {
        return None;
    }
    let mut best: Option<(usize, &'a str)> = None;
    let mut completion = None;
    let mut completions = 0;
    for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        let letters: Vec<char> = candidate
            .chars()
            .take(MAX_COMPARED + 1)
            .flat_map(char::to_lowercase)
            .collect();
        if letters.len() > MAX_COMPARED {
            continue;
        }
        if word.len() >= 3 && letters.starts_with(&word) {
            completions += 1;
            completion = Some(candidate);
        }
        let allowed = (word.len().max(letters.len()) / 3).max(1);
        let Some(distance) = distance(&word, &letters, allowed) else {
            continue;
        };
        if distance < word.len() && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
        .or(completion.filter(|_| completions == 1))
}

/// `; did you mean X?`, or nothing: to be put behind a message.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates)
        .map(|meant| format!("; did you mean {meant:?}?"))
        .unwrap_or_default()
}

/// Up to twelve names joined by commas, and how many more there are.
pub fn listed<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 12;
    let mut names = names.into_iter();
    let mut text = names
        .by_ref()
        .take(SHOWN)
        .map(|name| name.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let more = names.count();
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// A text of at most `max` characters, with `…` in place of the rest.
#[must_use]
pub fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Optimal string alignment (insert, delete, replace, swap neighbours), if it
/// is at most `max`.
fn distance(a: &[char], b: &[char], max: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > max {
        return None;
    }
    let mut two_back = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    let mut current = vec![0; b.len() + 1];
    for i in 1..=a.len() {
        current[0] = i;
        for j in 1..=b.len() {
            let replace = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = replace.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(two_back[j - 2] + 1);
            }
        }
        std::mem::swap(&mut two_back, &mut previous);
        std::mem::swap(&mut previous, &mut current);
        if previous.iter().chain(&two_back).all(|&least| least > max) {
            return None;
        }
    }
    Some(previous[b.len()]).filter(|&distance| distance <= max)
}

/// Escapes one step of a JSON pointer (RFC 6901).
#[must_use]
pub fn pointer_step(key: &str) -> std::borrow::Cow<'_, str> {
    if key.contains(['~', '/']) {
        key.replace('~', "~0").replace('/', "~1").into()
    } else {
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let known = [
            "environment",
            "resources",
            "dependencies",
            "priority",
            "policy",
            "ttl",
            "catalogRef",
        ];
        for (word, meant) in [
            ("enviroment", Some("environment")),
            ("env", Some("environment")),
            ("resource", Some("resources")),
            ("catalogref", Some("catalogRef")),
            ("catalog_ref", Some("catalogRef")),
            ("polciy", Some("policy")),
            ("tll", Some("ttl")),
            ("tl", Some("ttl")),
            ("p", None),
            ("replicas", None),
            ("", None),
            ("\u{202e}", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }

    #[test]
    fn lists_and_shortenings_are_bounded() {
        assert_eq!(listed(["a", "b"]), "a, b");
        assert_eq!(
            listed(0..14),
            "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"
        );
        assert_eq!(shortened("äöü", 2), "äö…");
        assert_eq!(shortened("äö", 2), "äö");
    }
}
