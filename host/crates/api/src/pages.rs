//! The pages of `docs/errors/`, carried by the binary.

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page of an error code, in Markdown.
#[must_use]
pub fn page(code: &str) -> Option<&'static str> {
    PAGES
        .iter()
        .find(|(name, _)| *name == code)
        .map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::ProblemCode;

    #[test]
    fn every_problem_has_a_page() {
        for code in ProblemCode::ALL {
            let page = page(code.as_str())
                .unwrap_or_else(|| panic!("docs/errors/{}.md is missing", code.as_str()));
            assert!(
                page.starts_with(&format!("# {}\n", code.as_str())),
                "{}",
                code.as_str()
            );
            let status = format!("HTTP {}", code.status().as_u16());
            assert!(
                page.contains(&status),
                "{} does not say {status}",
                code.as_str()
            );
        }
    }
}
