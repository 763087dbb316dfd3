//! Wasmtime, set up for guests that are not trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig, Strategy,
};

use nestor_core::grant::Limits;

use crate::error::EngineHostError;

/// How often a running guest is looked at: its processor time is checked and
/// the thread offered to others. Shorter costs wake-ups, longer lets a looping
/// guest hold a thread.
const TICK: Duration = Duration::from_millis(10);

/// After so long without a call the host gives its allocator's free memory
/// back: every thread that carried a large answer keeps some, 120 MB in all
/// after twenty large charts. Shorter would do it between two calls of one
/// deployment, for nothing.
const QUIET: Duration = Duration::from_secs(5);

/// Of the guest's own call stack. Rust guests with serde recurse 128 levels in
/// well under half of it.
const WASM_STACK: usize = 1 << 20;
/// The guest's stack plus what host functions need below it.
const FIBER_STACK: usize = 2 << 20;

/// A component of `wit-component` has four core instances: the module, the
/// preview1 adapter, a shim and its fix-up. Twice that is room for composed ones.
const CORE_INSTANCES_PER_CALL: u32 = 8;
/// One is what every known toolchain makes; the limiter counts them together.
const MEMORIES_PER_CALL: u32 = 4;
/// The module's and the shim's.
const TABLES_PER_CALL: u32 = 4;
/// Helm, the largest engine, has about 60,000 functions, each a candidate.
const TABLE_ELEMENTS: usize = 256 << 10;
/// Helm's function references take 2 MiB.
const INSTANCE_METADATA: usize = 16 << 20;
/// Zeroed by hand instead of given back to the kernel: what a small call
/// touches, so that the next call does not fault it in again.
const KEEP_RESIDENT: usize = 64 << 10;
/// The same for memories, which are written to all over: the changed pages are
/// copied back from the image. A small rendering of Helm's changes 2 to 3 MiB;
/// faulting them in takes a quarter of its time, copying them a twentieth.
const KEEP_MEMORY: usize = 4 << 20;
/// Slots that keep their mappings although nobody runs in them. More would
/// save little and cost resident memory.
const WARM_SLOTS: u32 = 16;

/// The one wasmtime engine of a host, its clock, and the slots in front of its pool.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    /// One permit per instance that the pool can hold: wasmtime answers an
    /// error when its pool is empty, a semaphore waits.
    pub(crate) slots: Arc<Semaphore>,
}

impl Runtime {
    pub(crate) fn new(slots: u32) -> Result<Self, EngineHostError> {
        let engine = engine(slots)?;
        let ticker = Ticker::start(engine.weak(), QUIET, crate::sys::release_memory)?;
        Ok(Self {
            engine,
            ticker,
            slots: Arc::new(Semaphore::new(slots as usize)),
        })
    }
}

/// Wasmtime's engine with this host's settings and so many slots. What one
/// compiles, another with the same settings loads.
pub(crate) fn engine(slots: u32) -> Result<Engine, EngineHostError> {
    Engine::new(&config(slots))
        .map_err(|e| EngineHostError::Runtime(format!("wasmtime refuses this machine: {e:#}")))
}

fn config(slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // Every slot can have all that a call may have, so that the semaphore is
    // the only thing to wait for. All of it is address space, not memory.
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_CALL))
        .total_memories(slots.saturating_mul(MEMORIES_PER_CALL))
        .total_tables(slots.saturating_mul(TABLES_PER_CALL))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_PER_CALL)
        .max_memories_per_component(MEMORIES_PER_CALL)
        .max_memories_per_module(MEMORIES_PER_CALL)
        .max_tables_per_component(TABLES_PER_CALL)
        .max_tables_per_module(TABLES_PER_CALL)
        .table_elements(TABLE_ELEMENTS)
        .max_core_instance_size(INSTANCE_METADATA)
        .max_component_instance_size(INSTANCE_METADATA)
        .max_memory_size(usize::try_from(Limits::MAX_MEMORY).unwrap_or(usize::MAX))
        .max_unused_warm_slots(WARM_SLOTS)
        // Only where the kernel tells changed pages from others (Linux 6.7);
        // else the first bytes of a memory would be copied, changed or not.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(if PoolingAllocationConfig::is_pagemap_scan_available() {
            KEEP_MEMORY
        } else {
            KEEP_RESIDENT
        })
        .table_keep_resident(KEEP_RESIDENT)
        .async_stack_keep_resident(KEEP_RESIDENT);

    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_component_model(true)
        // WASI 0.3's machinery: not for production yet, and four times the
        // price of a call.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        // A stack is reused by another engine's call.
        .async_stack_zeroing(true)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Advances the epoch, from a thread of its own (a task would be starved by
/// the guest that it polices), and only while a call is running. When none has
/// for a while it tidies up, once.
pub(crate) struct Ticker {
    state: Arc<TickerState>,
    thread: Thread,
}

#[derive(Default)]
struct TickerState {
    active: AtomicUsize,
    stopped: AtomicBool,
}

/// While it lives, the epoch advances.
pub(crate) struct Ticking(Arc<TickerState>);

impl Ticker {
    fn start(
        engine: EngineWeak,
        quiet: Duration,
        tidy_up: impl Fn() + Send + 'static,
    ) -> Result<Self, EngineHostError> {
        let state = Arc::new(TickerState::default());
        let own = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("nestor-epoch".into())
            .spawn(move || {
                // Since when nothing runs; none when that is tidied up after.
                let mut idle = None;
                while !own.stopped.load(Ordering::Relaxed) {
                    if own.active.load(Ordering::SeqCst) == 0 {
                        match idle.map(|since: Instant| quiet.saturating_sub(since.elapsed())) {
                            None => std::thread::park(),
                            Some(Duration::ZERO) => {
                                tidy_up();
                                idle = None;
                            }
                            Some(left) => std::thread::park_timeout(left),
                        }
                        continue;
                    }
                    std::thread::sleep(TICK);
                    idle = Some(Instant::now());
                    let Some(engine) = engine.upgrade() else {
                        return;
                    };
                    engine.increment_epoch();
                }
            })
            .map_err(|e| EngineHostError::Runtime(format!("cannot start a thread: {e}")))?;
        Ok(Self {
            state,
            thread: thread.thread().clone(),
        })
    }

    pub(crate) fn tick(&self) -> Ticking {
        if self.state.active.fetch_add(1, Ordering::SeqCst) == 0 {
            self.thread.unpark();
        }
        Ticking(Arc::clone(&self.state))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tidies_up_once_after_calls_and_not_between_them() {
        let engine = Engine::default();
        let tidied = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tidied);
        let quiet = Duration::from_millis(200);
        let ticker = Ticker::start(engine.weak(), quiet, move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .expect("starts");
        let until = |times: usize| {
            let began = Instant::now();
            while tidied.load(Ordering::SeqCst) != times {
                assert!(began.elapsed() < Duration::from_secs(20), "{times} times");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        std::thread::sleep(2 * quiet);
        until(0);
        for times in 1..=2 {
            let began = Instant::now();
            while began.elapsed() < 2 * quiet {
                let _call = ticker.tick();
                std::thread::sleep(4 * TICK);
            }
            assert_eq!(tidied.load(Ordering::SeqCst), times - 1, "calls go on");
            until(times);
            std::thread::sleep(2 * quiet);
            until(times);
        }
    }
}
