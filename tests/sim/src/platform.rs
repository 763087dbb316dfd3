//! What the platform offers in the simulation.

use std::sync::Arc;

use async_trait::async_trait;
use nestor_core::definition::{Definition, JsonType, OutputDeclaration};
use nestor_core::ids::{DefinitionName, Digest, EngineId, OutputName};
use nestor_core::ports::{
    Catalog, CatalogError, Delivered, Delivery, DeliveryError, DeliveryRequest, Withdrawal,
};
use nestor_core::relation::Relations;
use nestor_core::spec::CatalogRef;
use serde_json::json;

/// Whatever is asked for, there is a definition of it.
pub(crate) struct OneDefinition;

#[async_trait]
impl Catalog for OneDefinition {
    async fn lookup(&self, reference: &CatalogRef) -> Result<Arc<Definition>, CatalogError> {
        let declared = OutputDeclaration {
            json_type: JsonType::String,
            sensitive: false,
            description: String::new(),
        };
        // `shared` are told apart by the thing that they are; a `picker` puts
        // one out.
        let mut outputs = vec!["out"];
        let mut relations = Relations::default();
        match reference.name.as_str() {
            "shared" => relations.identity = "thing/${config.thing}".parse().ok(),
            "picker" => outputs.push("pick"),
            _ => {}
        }
        let outputs = outputs
            .into_iter()
            .map(|name| (OutputName::new(name).expect("a name"), declared.clone()));
        Ok(Arc::new(Definition {
            name: DefinitionName::new(reference.name.as_str()).expect("a name"),
            version: "1.0.0".parse().expect("a version"),
            description: "anything".into(),
            engines: ["sim", "second"]
                .map(|name| (EngineId::new(name).expect("a name"), Arc::new(json!({}))))
                .to_vec(),
            config_schema: Arc::new(json!(true)),
            outputs: outputs.collect(),
            delivery: None,
            relations,
            folder: None,
            digest: Digest::of(b"thing"),
        }))
    }

    async fn list(&self) -> Result<Vec<Arc<Definition>>, CatalogError> {
        Ok(Vec::new())
    }
}

/// Nothing here is delivered.
pub(crate) struct NoDelivery;

#[async_trait]
impl Delivery for NoDelivery {
    async fn deliver(&self, _: DeliveryRequest) -> Result<Delivered, DeliveryError> {
        Err(DeliveryError::Failed("not simulated".into()))
    }
    async fn withdraw(&self, _: Withdrawal) -> Result<Delivered, DeliveryError> {
        Err(DeliveryError::Failed("not simulated".into()))
    }
}
