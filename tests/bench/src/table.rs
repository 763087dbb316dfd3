//! Prints.

use crate::row::Line;

const HEAD: [&str; 6] = ["what", "ours", "theirs or limit", "ratio", "target", "met"];

/// The table.
pub(crate) fn render(lines: &[Line]) -> String {
    let rows: Vec<[&str; 6]> = std::iter::once(HEAD)
        .chain(lines.iter().map(cells))
        .collect();
    let mut widths = [0; 6];
    for (row, missing) in rows
        .iter()
        .zip(std::iter::once(false).chain(lines.iter().map(|l| l.missing.is_some())))
    {
        for (i, cell) in row.iter().enumerate() {
            // What is missing is said in one long cell that runs over the others.
            if !(missing && i == 1) {
                widths[i] = widths[i].max(cell.chars().count());
            }
        }
    }
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
        if number == 0 {
            text.push_str(&"-".repeat(widths.iter().sum::<usize>() + 10));
            text.push('\n');
        }
    }
    text
}

fn cells(line: &Line) -> [&str; 6] {
    if let Some(why) = &line.missing {
        return [&line.what, why, "", "", "", ""];
    }
    let met = match line.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    [
        &line.what,
        &line.ours,
        &line.theirs,
        &line.ratio,
        &line.target,
        met,
    ]
}

/// `N of M targets met`. What was not measured is not among the M.
pub(crate) fn summary(lines: &[Line]) -> String {
    let targets = lines.iter().filter_map(|line| line.met);
    let met = targets.clone().filter(|met| *met).count();
    let missing = lines.iter().filter(|line| line.missing.is_some()).count();
    let unmeasured = if missing > 0 {
        format!(", {missing} rows not measured")
    } else {
        String::new()
    };
    format!("{met} of {} targets met{unmeasured}", targets.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Target;

    #[test]
    fn counts_only_what_was_measured_and_has_a_target() {
        let line = |ratio, target| Line::ratio("w", "1".into(), "2".into(), ratio, target);
        let lines = [
            line(41.0, Some(Target::AtLeast(40.0))),
            line(39.0, Some(Target::AtLeast(40.0))),
            line(2.5, Some(Target::AtMost(2.5))),
            line(1.0, None),
            Line::missing("peer", "not measured: no helm on PATH"),
        ];
        assert_eq!(summary(&lines), "2 of 3 targets met, 1 rows not measured");
        let text = render(&lines);
        assert_eq!(text.lines().count(), 7);
        assert!(text.contains("≥ 40×") && text.contains("NO"));
        assert!(text.contains("not measured: no helm on PATH"));
    }
}
