//! `make sim`: many seeds, every invariant. A seed that fails is printed and
//! can be run again alone, with its trace.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use nestor_sim::scenario::{Options, Report, run};

/// Runs the real coordinator in a simulated world.
#[derive(Parser)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Deployments in all; each seed has four.
    #[arg(long, default_value_t = 100_000)]
    deployments: u64,
    /// Only the first seed, twice, with its trace.
    #[arg(long)]
    replay: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

/// Failing seeds that are shown; the rest is counted.
const SHOWN: usize = 5;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.replay {
        replay(arguments.seed)
    } else {
        search(&arguments)
    }
}

fn replay(seed: u64) -> ExitCode {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(std::io::stderr)
        .init();
    let options = Options {
        keep_trace: true,
        ..Options::default()
    };
    let report = run(seed, &options);
    for line in &report.lines {
        println!("{line}");
    }
    for violation in &report.violations {
        println!(
            "seed {seed}: {:?}: {}",
            violation.invariant, violation.detail
        );
    }
    let again = run(seed, &options);
    println!("trace {:016x}, again {:016x}", report.trace, again.trace);
    if report.violations.is_empty() && again.trace == report.trace {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn search(arguments: &Arguments) -> ExitCode {
    let options = Options::default();
    let seeds = arguments.deployments.div_ceil(options.deployments);
    let next = AtomicU64::new(0);
    let failed: Mutex<Vec<(u64, Report)>> = Mutex::default();
    let (deaths, calls) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let seed = arguments.seed + number;
                    let report = run(seed, &options);
                    deaths.fetch_add(u64::from(report.deaths), Ordering::Relaxed);
                    calls.fetch_add(report.calls, Ordering::Relaxed);
                    if !report.violations.is_empty() {
                        failed
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .push((seed, report));
                    }
                }
            });
        }
    });
    let failed = failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for (seed, report) in failed.iter().take(SHOWN) {
        for violation in &report.violations {
            println!(
                "seed {seed}: {:?}: {}",
                violation.invariant, violation.detail
            );
        }
        println!("  again, with its trace: cargo run -p nestor-sim -- --replay --seed {seed}");
    }
    println!(
        "{} deployments from seed {}: {} engine calls, {} deaths of the host, {:.1} s",
        seeds * options.deployments,
        arguments.seed,
        calls.into_inner(),
        deaths.into_inner(),
        began.elapsed().as_secs_f64()
    );
    println!("{} of {seeds} seeds violated an invariant", failed.len());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
