//! What a change of what the platform offers would touch: a definition of the
//! catalog, or an engine.

use std::collections::BTreeMap;

use nestor_core::ids::{DefinitionName, EngineId};
use nestor_core::impact::{Seed, Touch};
use nestor_core::ports::StoreError;
use nestor_core::relation::Neighbour;
use nestor_core::spec::CatalogRef;
use semver::Version;

use super::Search;
use crate::context::Context;
use crate::records::{decode, key};
use crate::view::ImpactView;

/// Resources read at once.
const PAGE: usize = 1_000;
/// Resources looked through for those of an engine: a few hundred bytes each,
/// so an answer takes at most a second or two.
const MAX_SEEN: usize = 100_000;

/// What may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// A definition: all its versions, or this one of them, which need not be
    /// in the catalog yet.
    Definition(DefinitionName, Option<Version>),
    /// An engine, whichever version comes.
    Engine(EngineId),
}

impl Offer {
    /// As the API says it.
    fn show(&self) -> String {
        match self {
            Self::Definition(name, None) => format!("definition {name}"),
            Self::Definition(name, Some(version)) => format!("definition {name}:{version}"),
            Self::Engine(name) => format!("engine {name}"),
        }
    }

    /// What it means for a resource that is ready; `asked` is the reference of
    /// the deployment's latest applied revision.
    fn touches(&self, of: &Neighbour, asked: Option<&CatalogRef>) -> Option<(Touch, String)> {
        let now = format!("{}:{}", of.definition, of.version);
        match self {
            Self::Definition(name, _) if *name != of.definition => None,
            Self::Engine(name) if *name != of.engine => None,
            Self::Definition(_, None) => Some((Touch::Certainly, format!("it is of {now}"))),
            Self::Definition(_, Some(version)) if *version == of.version => {
                Some((Touch::Certainly, format!("it is of {now}")))
            }
            Self::Definition(_, Some(version)) => Some(match asked {
                Some(asked) if asked.version.matches(version) && *version > of.version => (
                    Touch::Certainly,
                    format!(
                        "its {asked} takes {version} when it is applied again; now it is of {now}"
                    ),
                ),
                Some(asked) if asked.version.matches(version) => {
                    (Touch::Not, format!("it is of the later {now}"))
                }
                Some(asked) => (Touch::Not, format!("its {asked} does not take {version}")),
                None => (
                    Touch::Possibly,
                    format!("it is of {now}, and no revision says which version it wants"),
                ),
            }),
            // The same input may be planned otherwise.
            Self::Engine(name) => Some((
                Touch::Possibly,
                format!("engine {name} looks after it, as {now}"),
            )),
        }
    }
}

/// Looks at what is ready, of any deployment.
pub(crate) async fn of_offer(context: &Context, offer: &Offer) -> Result<ImpactView, StoreError> {
    let mut search = Search::new(context);
    let prefix = match offer {
        Offer::Definition(name, _) => key::uses(name),
        Offer::Engine(_) => key::USES.to_owned(),
    };
    let mut after: Option<String> = None;
    let mut seen = 0;
    loop {
        let page = context.store.scan(&prefix, after.as_deref(), PAGE).await?;
        seen += page.len();
        let whole = page.len() < PAGE;
        for (at, bytes) in page {
            let of: Neighbour = decode(&at, &bytes)?;
            search.consider(offer, &of).await?;
            after = Some(at);
        }
        if whole || search.truncated {
            break;
        }
        if seen >= MAX_SEEN {
            search.truncated = true;
            break;
        }
    }
    search.answer(None, offer.show()).await
}

impl Search<'_> {
    async fn consider(&mut self, offer: &Offer, of: &Neighbour) -> Result<(), StoreError> {
        // Most are of another engine: they cost no more than this.
        if offer.touches(of, None).is_none() || !self.meet(&of.deployment).await? {
            return Ok(());
        }
        let known = &self.known[&of.deployment];
        let Some((touch, reason)) = offer.touches(of, known.asked.get(&of.resource)) else {
            return Ok(());
        };
        let at = self.at(&of.deployment, &of.resource);
        if touch == Touch::Not {
            self.spared.insert(at, reason);
        } else {
            let outputs = BTreeMap::new();
            self.impact.seed(
                at,
                Seed {
                    touch,
                    reason,
                    outputs,
                },
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour() -> Neighbour {
        serde_json::from_value(serde_json::json!({
            "deployment": "shop", "resource": "database", "definition": "postgres",
            "version": "1.2.0", "engine": "terraform", "relations": {},
        }))
        .unwrap()
    }

    #[test]
    fn what_an_offer_means_for_a_resource() {
        let definition = |version: Option<&str>| {
            let version = version.map(|v| Version::parse(v).unwrap());
            Offer::Definition(DefinitionName::new("postgres").unwrap(), version)
        };
        let engine = |name: &str| Offer::Engine(EngineId::new(name).unwrap());
        let other = Offer::Definition(DefinitionName::new("mysql").unwrap(), None);
        let all = [
            (other, "postgres:^1", None),
            (definition(None), "postgres:1.2.0", Some(Touch::Certainly)),
            (
                definition(Some("1.2.0")),
                "postgres:^1",
                Some(Touch::Certainly),
            ),
            (
                definition(Some("1.3.0")),
                "postgres:^1",
                Some(Touch::Certainly),
            ),
            (
                definition(Some("1.3.0")),
                "postgres:1.2.0",
                Some(Touch::Not),
            ),
            (definition(Some("1.1.0")), "postgres:^1", Some(Touch::Not)),
            (definition(Some("2.0.0")), "postgres:^1", Some(Touch::Not)),
            (
                definition(Some("1.3.0-rc.1")),
                "postgres:^1",
                Some(Touch::Not),
            ),
            (engine("terraform"), "postgres:^1", Some(Touch::Possibly)),
            (engine("helm"), "postgres:^1", None),
        ];
        for (offer, asked, expected) in all {
            let asked: CatalogRef = asked.parse().unwrap();
            let touch = offer.touches(&neighbour(), Some(&asked)).map(|(t, _)| t);
            assert_eq!(touch, expected, "{offer:?} {asked}");
        }
        let unknown = definition(Some("1.3.0")).touches(&neighbour(), None);
        assert_eq!(unknown.unwrap().0, Touch::Possibly);
    }
}
