//! What one call owns: the data of its store.

use std::path::PathBuf;
use std::sync::Arc;

use nestor_core::grant::Grant;
use nestor_core::ids::EngineId;
use nestor_core::ports::CallObserver;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::limiter::Limiter;
use super::stderr::Tail;
use crate::egress::Egress;
use crate::imports::{KeyValues, Reports};
use crate::tools::Toolbox;

/// Handles of files, streams, requests and tools at once; an engine uses a
/// handful. Most of them are a descriptor of the host, which has some thousands
/// for all calls together.
pub(crate) const MAX_RESOURCES: usize = 256;
/// What the guest has of those, and what it lends for a moment: numbers only.
pub(crate) const MAX_HANDLES: usize = 10_000;
/// Random bytes at once: keys and ids, not noise.
const MAX_RANDOM: u64 = 64 << 10;
/// Header fields of a request or response together.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The surroundings of a call, decided before the guest runs.
pub(crate) struct Surroundings {
    pub(crate) engine: EngineId,
    pub(crate) grant: Arc<Grant>,
    pub(crate) observer: Arc<dyn CallObserver>,
    /// Read-only at `/definition`.
    pub(crate) definition: PathBuf,
    /// At `/work`.
    pub(crate) work: PathBuf,
    /// Whether `/work` may be written.
    pub(crate) work_perms: FsPerms,
    pub(crate) key_values: KeyValues,
    pub(crate) toolbox: Toolbox,
    pub(crate) egress: Egress,
    /// Whether its files may be worked on in the thread that runs it.
    pub(crate) may_block: bool,
}

/// The store's data.
pub(crate) struct CallState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) engine: EngineId,
    pub(crate) grant: Arc<Grant>,
    pub(crate) reports: Reports,
    pub(crate) definition: PathBuf,
    pub(crate) key_values: KeyValues,
    pub(crate) toolbox: Toolbox,
    egress: Egress,
}

impl CallState {
    /// Opens the two directories; the guest gets handles, never paths.
    pub(crate) fn new(around: Surroundings, stderr: Tail) -> wasmtime::Result<Self> {
        let limits = around.grant.limits();
        let mut wasi = WasiCtxBuilder::new();
        wasi.max_random_size(MAX_RANDOM)
            .stderr(stderr)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            // Half the time of small file operations. Not for engines with
            // tools: what a tool leaves in the checkout, a FIFO for example,
            // could block the thread for good when it is opened. Nor for those
            // of others, who may write gigabytes and wait for the disk.
            .allow_blocking_current_thread(
                around.may_block && around.grant.capabilities().tools.is_empty(),
            );
        // These two, in this order, always: pre-initialised guests have read
        // the list already.
        wasi.preopened_dir(&around.definition, "/definition", FsPerms::ReadOnly)?;
        wasi.preopened_dir(&around.work, "/work", around.work_perms)?;
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_HEADER_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Ok(Self {
            wasi: wasi.build(),
            http,
            table,
            limiter: Limiter::new(limits.memory),
            reports: Reports::new(around.engine.clone(), limits, around.observer),
            engine: around.engine,
            grant: around.grant,
            definition: around.definition,
            key_values: around.key_values,
            toolbox: around.toolbox,
            egress: around.egress,
        })
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.egress,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
