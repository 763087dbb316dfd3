//! Which host functions a version of an engine is linked to.

use nestor_core::grant::Grant;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings as wasi;
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

use crate::bindings::EnginePre;
use crate::bindings::nestor::engine as contract;
use crate::call::CallState;
use crate::check;
use crate::error::LoadError;

/// A component, checked and linked to what its grant allows: from here an
/// instance takes microseconds.
pub(crate) fn link(
    engine: &Engine,
    component: &Component,
    grant: &Grant,
) -> Result<EnginePre<CallState>, LoadError> {
    let outside = component.component_type();
    let imports: Vec<&str> = outside.imports(engine).map(|(name, _)| name).collect();
    let exports = outside.exports(engine).map(|(name, _)| name);
    check::allowed(imports.iter().copied(), exports, grant)?;
    let sockets = check::wants_sockets(imports.iter().copied());
    let mut linker = Linker::new(engine);
    contract_interfaces(&mut linker)
        .and_then(|()| wasi_interfaces(&mut linker, sockets))
        .and_then(|()| match grant.allows_http() {
            true => wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker),
            false => Ok(()),
        })
        .map_err(|e| LoadError::Host(format!("{e:#}")))?;
    linker
        .instantiate_pre(component)
        .and_then(EnginePre::new)
        .map_err(|e| LoadError::Mismatch(crate::convert::clean(&format!("{e:#}"), 1000)))
}

fn contract_interfaces(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    type Own = HasSelf<CallState>;
    contract::types::add_to_linker::<_, Own>(linker, |s| s)?;
    contract::report::add_to_linker::<_, Own>(linker, |s| s)?;
    contract::definition::add_to_linker::<_, Own>(linker, |s| s)?;
    contract::secrets::add_to_linker::<_, Own>(linker, |s| s)?;
    contract::store::add_to_linker::<_, Own>(linker, |s| s)?;
    contract::tools::add_to_linker::<_, Own>(linker, |s| s)
}

/// wasi:io, clocks, random, filesystem and cli; what `wasmtime_wasi` would
/// link as a whole, but without sockets.
fn wasi_interfaces(linker: &mut Linker<CallState>, sockets: bool) -> wasmtime::Result<()> {
    // io, the two clocks, random, stdin, stdout and stderr.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    wasi::random::insecure::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
    wasi::random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
    wasi::filesystem::preopens::add_to_linker::<_, WasiFilesystem>(
        linker,
        WasiFilesystemView::filesystem,
    )?;
    wasi::filesystem::types::add_to_linker::<_, WasiFilesystem>(
        linker,
        WasiFilesystemView::filesystem,
    )?;
    wasi::cli::exit::add_to_linker::<_, WasiCli>(linker, WasiCliView::cli)?;
    wasi::cli::environment::add_to_linker::<_, WasiCli>(linker, WasiCliView::cli)?;
    wasi::cli::terminal_input::add_to_linker::<_, WasiCli>(linker, WasiCliView::cli)?;
    wasi::cli::terminal_output::add_to_linker::<_, WasiCli>(linker, WasiCliView::cli)?;
    wasi::cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, WasiCliView::cli)?;
    wasi::cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, WasiCliView::cli)?;
    wasi::cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, WasiCliView::cli)?;
    if sockets {
        let sockets = <CallState as WasiSocketsView>::sockets;
        let options = wasi::sockets::network::LinkOptions::default();
        wasi::sockets::instance_network::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        wasi::sockets::network::add_to_linker::<_, WasiSockets>(linker, &options, sockets)?;
        wasi::sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        wasi::sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        wasi::sockets::tcp::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        wasi::sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        wasi::sockets::udp::add_to_linker::<_, WasiSockets>(linker, sockets)?;
    }
    Ok(())
}
