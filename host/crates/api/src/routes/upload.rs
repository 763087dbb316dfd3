//! A component on its way in: alone, or in a form with its manifest.

use std::convert::Infallible;

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use nestor_core::text::shortened;
use tokio::sync::OwnedSemaphorePermit;

use crate::extract::{media_type, read};
use crate::limits::{MAX_COMPONENT_BYTES, MAX_MANIFEST_BYTES};
use crate::problem::{Problem, ProblemCode};
use crate::service::EngineUpload;
use crate::state::Api;

/// A component with its place in the budget of all bodies.
pub(crate) struct Received {
    pub(crate) upload: EngineUpload,
    pub(crate) place: OwnedSemaphorePermit,
}

/// A form's own words around its fields.
const FORM_OVERHEAD: usize = 16 << 10;

/// Reads an upload.
///
/// # Errors
/// 413, 415, 408, 503 as [`read`]; 422 for a form without a component, with an
/// unknown or repeated field, or with a manifest that is not text.
pub(crate) async fn receive(api: &Api, request: Request) -> Result<Received, Problem> {
    match media_type(request.headers()).as_deref() {
        Some("application/wasm") => {
            let body = read(api, request, MAX_COMPONENT_BYTES).await?;
            let upload = EngineUpload {
                component: body.bytes,
                manifest: None,
            };
            Ok(Received {
                upload,
                place: body.place,
            })
        }
        Some("multipart/form-data") => form(api, request).await,
        other => {
            let found = other.map_or("there is no Content-Type".to_owned(), |media| {
                format!("the Content-Type is {:?}", shortened(media, 80))
            });
            let advice = "send the component as application/wasm, or component and manifest as multipart/form-data";
            Err(Problem::new(
                ProblemCode::UnsupportedMediaType,
                format!("{found}; {advice}"),
            ))
        }
    }
}

async fn form(api: &Api, request: Request) -> Result<Received, Problem> {
    let broken = |e: multer::Error| {
        Problem::new(
            ProblemCode::MalformedBody,
            format!("the body is not a form: {e}"),
        )
    };
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(content_type.unwrap_or_default()).map_err(broken)?;
    // Whole first: limits on size and time are the same for every body.
    let body = read(
        api,
        request,
        MAX_COMPONENT_BYTES + MAX_MANIFEST_BYTES + FORM_OVERHEAD,
    )
    .await?;
    let bytes = futures::stream::once(std::future::ready(Ok::<_, Infallible>(body.bytes)));
    let mut form = multer::Multipart::new(bytes, boundary);
    let (mut component, mut manifest): (Option<Bytes>, Option<Bytes>) = (None, None);
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let place = match name.as_str() {
            "component" => &mut component,
            "manifest" => &mut manifest,
            other => {
                let shown = shortened(other, 40);
                return Err(refused(format!(
                    "the form has a field {shown:?}; it takes component and manifest"
                )));
            }
        };
        if place.is_some() {
            return Err(refused(format!("the form has {name} twice")));
        }
        *place = Some(field.bytes().await.map_err(broken)?);
    }
    let component = component.ok_or_else(|| {
        refused("the form has no field component; add -F component=@FILE.wasm".into())
    })?;
    let manifest = manifest.map(text).transpose()?;
    Ok(Received {
        upload: EngineUpload {
            component,
            manifest,
        },
        place: body.place,
    })
}

fn text(manifest: Bytes) -> Result<String, Problem> {
    if manifest.len() > MAX_MANIFEST_BYTES {
        let limit = nestor_core::units::show_size(MAX_MANIFEST_BYTES as u64);
        return Err(Problem::new(
            ProblemCode::BodyTooLarge,
            format!("the manifest is larger than {limit}"),
        ));
    }
    String::from_utf8(manifest.into()).map_err(|_| refused("the manifest is not UTF-8 text".into()))
}

fn refused(detail: String) -> Problem {
    Problem::new(ProblemCode::InvalidRequest, detail)
}
