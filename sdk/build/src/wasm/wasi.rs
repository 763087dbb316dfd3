//! The WASI preview 1 that a module sees while it is pre-initialised: just
//! enough for a runtime to start, and the same in every run, so that the same
//! module gives the same snapshot.
//!
//! Two empty directories are preopened, because Go reads the list of preopens
//! once, when it starts: the host later gives the same two in the same order,
//! and the frozen handles fit. One argument, a program name, because libraries
//! read `os.Args[0]` and arguments are frozen too. What is not here traps, and
//! the trap names it.

use sha2::{Digest, Sha256};
use wasmi::{Caller, Error, Extern, Linker, Memory};

/// The contract's preopens, as file descriptors 3 and 4.
const PREOPENS: [&str; 2] = ["/definition", "/work"];
const FIRST_PREOPEN: u32 = 3;

/// The only argument, with its terminator.
const PROGRAM: &[u8] = b"engine\0";

/// 2000-01-01: after every epoch that a library may subtract.
const WALL_START_NS: u64 = 946_684_800_000_000_000;

/// The monotonic clock begins at 1 (Go refuses 0) and moves only when it is read
/// or slept on. The host's own begins with each instance, so it seems to jump
/// back after the snapshot; Go's timers bear that, a test shows it.
const TICK_NS: u64 = 1_000;

/// What a module may write to stderr before the rest is dropped: enough for the
/// text and stack of a panic.
const MAX_STDERR: usize = 64 << 10;

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const INVAL: i32 = 28;
const NOTSUP: i32 = 58;

type Result<T> = std::result::Result<T, Error>;

/// State of the shim.
pub(super) struct Wasi {
    /// What the module wrote to stdout and stderr.
    pub(super) output: Vec<u8>,
    now: u64,
    seed: [u8; 32],
    drawn: u64,
}

impl Wasi {
    /// `module` seeds the random numbers: the same module draws the same ones,
    /// another module others.
    pub(super) fn new(module: &[u8]) -> Self {
        Self {
            output: Vec::new(),
            now: 1,
            seed: Sha256::digest(module).into(),
            drawn: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.now += TICK_NS;
        self.now
    }

    fn random(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.seed)
                .chain_update(self.drawn.to_le_bytes());
            self.drawn += 1;
            chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
        }
    }
}

type Guest<'a> = Caller<'a, Wasi>;

/// The functions, under the module name that a wasip1 program imports.
pub(super) fn link(linker: &mut Linker<Wasi>) -> Result<()> {
    const M: &str = "wasi_snapshot_preview1";
    linker.func_wrap(
        M,
        "args_sizes_get",
        |mut g: Guest<'_>, count: u32, size: u32| {
            write_u32(&mut g, count, 1)?;
            write_u32(&mut g, size, PROGRAM.len() as u32)?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(
        M,
        "args_get",
        |mut g: Guest<'_>, pointers: u32, bytes: u32| {
            write_u32(&mut g, pointers, bytes)?;
            write(&mut g, bytes, PROGRAM)?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(
        M,
        "environ_sizes_get",
        |mut g: Guest<'_>, count: u32, size: u32| {
            write_u32(&mut g, count, 0)?;
            write_u32(&mut g, size, 0)?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(M, "environ_get", |_: Guest<'_>, _: u32, _: u32| SUCCESS)?;
    linker.func_wrap(
        M,
        "clock_time_get",
        |mut g: Guest<'_>, clock: u32, _: u64, at: u32| {
            let now = g.data_mut().tick();
            let time = if clock == 0 { WALL_START_NS + now } else { now };
            write(&mut g, at, &time.to_le_bytes())?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(M, "random_get", |mut g: Guest<'_>, at: u32, len: u32| {
        let mut bytes = vec![0; len as usize];
        g.data_mut().random(&mut bytes);
        write(&mut g, at, &bytes)?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(M, "sched_yield", |_: Guest<'_>| SUCCESS)?;
    linker.func_wrap(M, "fd_write", fd_write)?;
    linker.func_wrap(M, "fd_prestat_get", |mut g: Guest<'_>, fd: u32, at: u32| {
        let Some(name) = preopen(fd) else {
            return Ok(BADF);
        };
        write_u32(&mut g, at, 0)?; // A directory.
        write_u32(&mut g, at + 4, name.len() as u32)?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(
        M,
        "fd_prestat_dir_name",
        |mut g: Guest<'_>, fd: u32, at: u32, len: u32| {
            let Some(name) = preopen(fd) else {
                return Ok(BADF);
            };
            if (len as usize) < name.len() {
                return Ok(INVAL);
            }
            write(&mut g, at, name.as_bytes())?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(M, "fd_fdstat_get", fd_fdstat_get)?;
    linker.func_wrap(M, "poll_oneoff", poll_oneoff)?;
    // Streams stay blocking, as with the adapter.
    linker.func_wrap(M, "fd_fdstat_set_flags", |_: Guest<'_>, _: u32, _: u32| {
        NOTSUP
    })?;
    linker.func_wrap(M, "proc_exit", |_: Guest<'_>, code: u32| -> Result<()> {
        Err(Error::new(format!("the program exited with status {code}")))
    })?;
    Ok(())
}

fn preopen(fd: u32) -> Option<&'static str> {
    PREOPENS
        .get(fd.checked_sub(FIRST_PREOPEN)? as usize)
        .copied()
}

fn fd_write(mut g: Guest<'_>, fd: u32, vectors: u32, count: u32, written: u32) -> Result<i32> {
    if fd != 1 && fd != 2 {
        return Ok(BADF);
    }
    let memory = memory(&mut g)?;
    let (bytes, wasi) = memory.data_and_store_mut(&mut g);
    let mut total = 0;
    for i in 0..count {
        let at = vectors as usize + i as usize * 8;
        let (start, len) = (read_u32(bytes, at)?, read_u32(bytes, at + 4)?);
        let Some(text) = bytes.get(start as usize..start as usize + len as usize) else {
            return Err(Error::new("fd_write out of bounds"));
        };
        let room = MAX_STDERR.saturating_sub(wasi.output.len()).min(text.len());
        wasi.output.extend_from_slice(&text[..room]);
        total += len;
    }
    write_u32(&mut g, written, total)?;
    Ok(SUCCESS)
}

/// Sleeping moves the clock to the earliest time that is waited for. Nothing
/// else ever happens here, so waiting for input alone is an error.
fn poll_oneoff(mut g: Guest<'_>, subs: u32, events: u32, count: u32, happened: u32) -> Result<i32> {
    const SUBSCRIPTION: usize = 48;
    const ABSOLUTE: u32 = 1;
    let memory = memory(&mut g)?;
    let (bytes, wasi) = memory.data_and_store_mut(&mut g);
    let mut first: Option<(u64, u64)> = None;
    for i in 0..count {
        let at = subs as usize + i as usize * SUBSCRIPTION;
        // The kind is one byte, 0 for a clock.
        if read_u32(bytes, at + 8)? & 0xff != 0 {
            continue;
        }
        let wall = read_u32(bytes, at + 16)? == 0;
        let timeout = read_u64(bytes, at + 24)?;
        let wake = match read_u32(bytes, at + 40)? & ABSOLUTE {
            0 => wasi.now.saturating_add(timeout),
            _ if wall => timeout.saturating_sub(WALL_START_NS),
            _ => timeout,
        };
        if first.is_none_or(|(earliest, _)| wake < earliest) {
            first = Some((wake, read_u64(bytes, at)?));
        }
    }
    let Some((wake, user_data)) = first else {
        return Err(Error::new("it waits for input, and there is none"));
    };
    wasi.now = wasi.now.max(wake);
    let mut event = [0; 32];
    event[..8].copy_from_slice(&user_data.to_le_bytes());
    write(&mut g, events, &event)?;
    write_u32(&mut g, happened, 1)?;
    Ok(SUCCESS)
}

/// Standard streams are character devices, preopens are directories.
fn fd_fdstat_get(mut g: Guest<'_>, fd: u32, at: u32) -> Result<i32> {
    let kind = match fd {
        0..=2 => 2,
        _ if preopen(fd).is_some() => 3,
        _ => return Ok(BADF),
    };
    let mut stat = [0; 24];
    stat[0] = kind;
    stat[8..].fill(0xff); // All rights.
    write(&mut g, at, &stat)?;
    Ok(SUCCESS)
}

fn memory(g: &mut Guest<'_>) -> Result<Memory> {
    match g.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => Err(Error::new("the module exports no memory")),
    }
}

fn write(g: &mut Guest<'_>, at: u32, bytes: &[u8]) -> Result<()> {
    memory(g)?.write(g, at as usize, bytes)?;
    Ok(())
}

fn write_u32(g: &mut Guest<'_>, at: u32, value: u32) -> Result<()> {
    write(g, at, &value.to_le_bytes())
}

fn read_u32(memory: &[u8], at: usize) -> Result<u32> {
    match memory.get(at..at + 4).and_then(|b| b.try_into().ok()) {
        Some(bytes) => Ok(u32::from_le_bytes(bytes)),
        None => Err(Error::new("a pointer out of bounds")),
    }
}

fn read_u64(memory: &[u8], at: usize) -> Result<u64> {
    let (low, high) = (read_u32(memory, at)?, read_u32(memory, at + 4)?);
    Ok(u64::from(low) | u64::from(high) << 32)
}
