//! Calls of the C library that have no safe wrapper, most of them between fork
//! and exec. The crate's only unsafe code besides loading what the cache has
//! verified.
#![expect(
    unsafe_code,
    reason = "calls of the C library that have no safe wrapper"
)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How a tool's process starts.
pub(crate) struct ChildSetup {
    /// Becomes its working directory: a descriptor, so that nobody can swap
    /// the path in between.
    pub(crate) directory: OwnedFd,
    /// Largest file that it may write, in bytes.
    pub(crate) max_file: u64,
    /// Most descriptors at once.
    pub(crate) max_descriptors: u64,
}

/// Makes the command start in a process group of its own, that dies with the
/// thread which starts it, cannot gain privileges, inherits no descriptor
/// beyond its standard streams, hears signals that the host ignores, and has
/// the limits of `setup`.
pub(crate) fn set_up(command: &mut Command, setup: ChildSetup) {
    command.process_group(0);
    let parent = std::process::id();
    let prepare = move || {
        die_with(parent)?;
        // SAFETY: only system calls with plain values, all of them
        // async-signal-safe; no memory is allocated.
        unsafe {
            check(libc::fchdir(setup.directory.as_raw_fd()))?;
            libc::umask(0o077);
            // Being ignored is inherited, as under nohup or in the background
            // of a script; a tool is asked to end by these.
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
                if libc::signal(signal, libc::SIG_DFL) == libc::SIG_ERR {
                    return Err(std::io::Error::last_os_error());
                }
            }
            check(libc::close_range(
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC.cast_signed(),
            ))?;
        }
        set_limit(libc::RLIMIT_CORE, 0)?;
        set_limit(libc::RLIMIT_FSIZE, setup.max_file)?;
        set_limit(libc::RLIMIT_NOFILE, setup.max_descriptors)
    };
    // SAFETY: the closure only makes the system calls above.
    unsafe { command.pre_exec(prepare) };
}

/// The child dies with the thread that starts it, and cannot gain privileges.
fn die_with(parent: u32) -> std::io::Result<()> {
    // SAFETY: only system calls with plain values, all of them
    // async-signal-safe; no memory is allocated.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        // The parent may have died before that took hold.
        if u32::try_from(libc::getppid()).ok() != Some(parent) {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }
}

/// Bounds of a child that only computes.
pub(crate) struct ProcessLimits {
    pub(crate) cpu_seconds: u64,
    /// Private writable memory, in bytes.
    pub(crate) data: u64,
    /// How far below the host's priority.
    pub(crate) nice: i32,
}

/// Makes the command start with these limits, and die with the thread that
/// starts it.
pub(crate) fn limit(command: &mut Command, limits: ProcessLimits) {
    let parent = std::process::id();
    let prepare = move || {
        die_with(parent)?;
        // SAFETY: a system call with a plain value.
        unsafe {
            // Its answer may be -1 and all well; a higher priority is no harm.
            libc::nice(limits.nice);
        }
        set_limit(libc::RLIMIT_CORE, 0)?;
        set_limit(libc::RLIMIT_CPU, limits.cpu_seconds)?;
        set_limit(libc::RLIMIT_DATA, limits.data)
    };
    // SAFETY: the closure only makes the system calls above.
    unsafe { command.pre_exec(prepare) };
}

/// Gives free memory of the allocator back to the kernel: compiling takes
/// hundreds of megabytes, and a host is idle for days.
pub(crate) fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator's own function, callable at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn set_limit(resource: libc::__rlimit_resource_t, most: u64) -> std::io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: the pointer is to a live value of the right type.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn check(result: libc::c_int) -> std::io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
