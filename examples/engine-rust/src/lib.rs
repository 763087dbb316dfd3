//! A custom engine: a text from the definition's template and the config, such
//! as a greeting, or an address made of other resources' outputs.

use nestor_sdk::value::has_unknown;
use nestor_sdk::*;

#[derive(Default)]
pub struct Greeter;

impl Engine for Greeter {
    fn describe(&self) -> Description {
        let template =
            json!({"type": "string", "description": "A text with {key} for values of the config"});
        Description::new("greeter-rust", "0.1.0", "Fills a template with the config")
            .schema(json!({"type": "object", "required": ["template"], "properties": {"template": template}}))
    }

    fn plan(&self, _host: &dyn Host, request: &Request) -> Result<ProposedChanges, Error> {
        let before = request.prior.as_ref().map(|prior| &prior.config);
        let proposed = ProposedChanges::diff(before, Some(&request.config));
        match has_unknown(&request.config) {
            true => Ok(proposed.unknown_output("text", JsonType::String)),
            false => Ok(proposed.known_output("text", text(request)?)),
        }
    }

    fn apply(&self, host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        let text = text(request)?;
        std::fs::write(host.work().join("text"), &text)?;
        host.info(&format!("wrote {} bytes", text.len()));
        Ok(Settled::new().output("text", text).ready())
    }

    fn destroy(&self, host: &dyn Host, _request: &Request) -> Result<Outcome, Error> {
        std::fs::remove_file(host.work().join("text")).ok(); // gone already is a success
        Ok(Settled::new().ready())
    }
}

fn text(request: &Request) -> Result<String, Error> {
    let template = request.definition["template"].as_str().unwrap_or_default();
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        let (key, after) = after.split_once('}').unwrap_or((after, ""));
        let value = request.config.get(key);
        let value =
            value.ok_or_else(|| Error::invalid("", format!("the template needs `{key}`")))?;
        filled += before;
        filled += value.as_str().unwrap_or(&value.to_string());
        rest = after;
    }
    Ok(filled + rest)
}

export!(Greeter);
