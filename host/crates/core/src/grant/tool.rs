//! Native tools: which, with which arguments, with which variables.

use std::fmt;
use std::time::Duration;

/// One tool that an engine may run in its checkout, outside WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRule {
    /// A name in the host's registry of tools, never a path.
    pub name: String,
    /// The argument lists that are allowed.
    pub args: Vec<ArgPattern>,
    /// The environment variables that are allowed.
    pub env: Vec<EnvRule>,
    /// After this the tool is killed.
    pub deadline: Duration,
    /// Why the engine wants it; shown to who approves.
    pub reason: String,
}

impl ToolRule {
    /// `terraform apply` of a large stack takes a while.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(1200);
    /// As long as a call may take.
    pub const MAX_DEADLINE: Duration = super::Limits::MAX_WALL;

    /// Whether a variable may be set to a value.
    #[must_use]
    pub fn allows_env(&self, name: &str, value: &str) -> bool {
        self.env
            .iter()
            .any(|rule| rule.name == name && rule.value.as_ref().is_none_or(|fixed| fixed == value))
    }
}

/// An environment variable: `NAME=value` allows that value, `NAME` any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvRule {
    /// Letters, digits and `_`.
    pub name: String,
    /// None: any value.
    pub value: Option<String>,
}

/// An argument list with wildcards.
///
/// `"*"` stands for exactly one argument, `"prefix*"` for one argument that
/// begins with the prefix, `"**"` at the end for any number of any arguments.
/// Everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgPattern {
    elements: Vec<Element>,
    /// Ends in `**`.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Element {
    Exact(String),
    /// `"*"` is the empty prefix.
    Prefix(String),
}

impl ArgPattern {
    /// Arguments in one pattern; more than any tool's fixed part has.
    pub const MAX_ELEMENTS: usize = 64;

    /// Parses a pattern.
    ///
    /// # Errors
    /// A sentence that says which element is wrong.
    pub fn new<S: AsRef<str>>(pattern: &[S]) -> Result<Self, String> {
        if pattern.len() > Self::MAX_ELEMENTS {
            return Err(format!(
                "has {} elements; at most {} are allowed",
                pattern.len(),
                Self::MAX_ELEMENTS
            ));
        }
        let (open, fixed) = match pattern.split_last() {
            Some((last, fixed)) if last.as_ref() == "**" => (true, fixed),
            _ => (false, pattern),
        };
        let mut elements = Vec::with_capacity(fixed.len());
        for element in fixed {
            let text = element.as_ref();
            if text.contains('\0') {
                return Err("holds a NUL character".into());
            }
            if text == "**" {
                return Err("has \"**\" before its end; it may only be the last element".into());
            }
            elements.push(match text.strip_suffix('*') {
                Some(prefix) => Element::Prefix(prefix.to_owned()),
                None => Element::Exact(text.to_owned()),
            });
        }
        Ok(Self { elements, open })
    }

    /// Whether these arguments are of this pattern.
    #[must_use]
    pub fn matches<S: AsRef<str>>(&self, args: &[S]) -> bool {
        let length_fits = if self.open {
            args.len() >= self.elements.len()
        } else {
            args.len() == self.elements.len()
        };
        length_fits
            && self
                .elements
                .iter()
                .zip(args)
                .all(|(element, arg)| element.matches(arg.as_ref()))
    }

    /// The pattern as `engine.toml` writes it.
    #[must_use]
    pub fn elements(&self) -> Vec<String> {
        let fixed = self.elements.iter().map(|element| match element {
            Element::Exact(text) => text.clone(),
            Element::Prefix(prefix) => format!("{prefix}*"),
        });
        fixed.chain(self.open.then(|| "**".to_owned())).collect()
    }

    /// Whether every argument list of `narrower` is one of this pattern's too.
    #[must_use]
    pub fn covers(&self, narrower: &Self) -> bool {
        let (own, theirs) = (self.elements.len(), narrower.elements.len());
        let length_fits = if self.open {
            theirs >= own
        } else {
            theirs == own && !narrower.open
        };
        length_fits
            && self
                .elements
                .iter()
                .zip(&narrower.elements)
                .all(|(wide, narrow)| wide.covers(narrow))
    }
}

impl Element {
    fn matches(&self, arg: &str) -> bool {
        match self {
            Self::Exact(text) => text == arg,
            Self::Prefix(prefix) => arg.starts_with(prefix.as_str()),
        }
    }

    fn covers(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(prefix), Self::Exact(text) | Self::Prefix(text)) => {
                text.starts_with(prefix.as_str())
            }
        }
    }
}

/// As `engine.toml` writes it: `["plan", "-out=*"]`.
impl fmt::Display for ArgPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self
            .elements()
            .iter()
            .map(|element| format!("{element:?}"))
            .collect();
        write!(f, "[{}]", all.join(", "))
    }
}

impl fmt::Display for EnvRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
