//! `make sim`: many seeds, every invariant. A seed that fails is printed and
//! can be run again alone, with its trace.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use nestor_sim::scenario::{Options, run};
use nestor_sim::{Violation, exhaustive, things, turns};

/// Runs the real coordinator in a simulated world.
#[derive(Parser)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Deployments in all; each seed has four.
    #[arg(long, default_value_t = 100_000)]
    deployments: u64,
    /// Seeds of which a small scenario is run with a death at every commit and
    /// effect, one after another.
    #[arg(long, default_value_t = 40)]
    exhaustive: u64,
    /// Seeds of composers who want more than the host can do.
    #[arg(long, default_value_t = 100)]
    turns: u64,
    /// Seeds of deployments that are after the same real things.
    #[arg(long, default_value_t = 1_000)]
    things: u64,
    /// Seeds of people in a hurry.
    #[arg(long, default_value_t = 2_000)]
    hasty: u64,
    /// Only the first seed, twice, with its trace.
    #[arg(long)]
    replay: bool,
    /// The same of people in a hurry.
    #[arg(long)]
    replay_hasty: bool,
    /// The same of deployments that are after the same real things.
    #[arg(long)]
    replay_things: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

/// Failing seeds that are shown; the rest is counted.
const SHOWN: usize = 5;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.replay_things {
        replay_things(arguments.seed)
    } else if arguments.replay_hasty {
        replay(arguments.seed, Options::hasty())
    } else if arguments.replay {
        replay(arguments.seed, Options::of_seed(arguments.seed))
    } else {
        search(&arguments)
    }
}

fn log() {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(std::io::stderr)
        .init();
}

fn replay(seed: u64, options: Options) -> ExitCode {
    log();
    let options = Options {
        keep_trace: true,
        ..options
    };
    let report = run(seed, &options);
    for line in &report.lines {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("seed {seed}: {}", text(violation));
    }
    let again = run(seed, &options);
    println!("trace {:016x}, again {:016x}", report.trace, again.trace);
    if report.violations.is_empty() && again.trace == report.trace {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn replay_things(seed: u64) -> ExitCode {
    log();
    let report = things::run(seed, true);
    for line in &report.lines {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("seed {seed}: {}", text(violation));
    }
    let again = things::run(seed, true);
    println!("trace {:016x}, again {:016x}", report.trace, again.trace);
    if report.violations.is_empty() && again.trace == report.trace {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Every so many seeds one is run again: the same seed gives the same trace.
const AGAIN: u64 = 100;

/// What was found, by all threads.
#[derive(Default)]
struct Found {
    deaths: AtomicU64,
    calls: AtomicU64,
    again: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl Found {
    fn add(&self, lines: Vec<String>) {
        if !lines.is_empty() {
            let failed = self.failed.lock();
            let mut failed = failed.unwrap_or_else(std::sync::PoisonError::into_inner);
            failed.push(lines.join("\n"));
        }
    }
}

fn search(arguments: &Arguments) -> ExitCode {
    let found = Found::default();
    let began = Instant::now();
    let seeds = arguments
        .deployments
        .div_ceil(Options::default().deployments);
    each(arguments, seeds, |seed| found.add(one(seed, &found)));
    println!(
        "{} deployments from seed {}, every fourth seed with two workers: {} engine calls, {} deaths of a host; {} seeds run again",
        seeds * Options::default().deployments,
        arguments.seed,
        found.calls.load(Ordering::Relaxed),
        found.deaths.load(Ordering::Relaxed),
        found.again.load(Ordering::Relaxed),
    );
    each(arguments, arguments.hasty, |seed| {
        let report = run(seed, &Options::hasty());
        let line = |v: &Violation| format!("in a hurry, seed {seed}: {}", text(v));
        found.add(report.violations.iter().map(line).collect());
    });
    println!("{} seeds of people in a hurry", arguments.hasty);
    let deaths = AtomicU64::new(0);
    each(arguments, arguments.exhaustive, |seed| {
        let exhausted = exhaustive::every_death(seed);
        deaths.fetch_add(exhausted.deaths, Ordering::Relaxed);
        let line = |(crash, v): &(_, Violation)| format!("seed {seed}, {crash:?}: {}", text(v));
        found.add(exhausted.violations.iter().map(line).collect());
    });
    println!(
        "{} small scenarios with a death at every commit and every effect: {} deaths",
        arguments.exhaustive,
        deaths.into_inner()
    );
    each(arguments, arguments.turns, |seed| {
        let line = |v: &Violation| format!("turns, seed {seed}: {}", text(v));
        found.add(turns::run(seed).iter().map(line).collect());
    });
    println!(
        "{} seeds of composers who want more than the host can do",
        arguments.turns
    );
    let (adoptions, waits) = (AtomicU64::new(0), AtomicU64::new(0));
    each(arguments, arguments.things, |seed| {
        let report = things::run(seed, false);
        adoptions.fetch_add(report.adoptions, Ordering::Relaxed);
        waits.fetch_add(report.waits, Ordering::Relaxed);
        let line = |v: &Violation| format!("things, seed {seed}: {}", text(v));
        found.add(report.violations.iter().map(line).collect());
    });
    println!(
        "{} seeds of deployments that are after the same real things: {} changed hands, {} waits",
        arguments.things,
        adoptions.into_inner(),
        waits.into_inner()
    );
    let failed = found
        .failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for lines in failed.iter().take(SHOWN) {
        println!("{lines}");
    }
    println!(
        "{:.1} s; {} seeds violated an invariant",
        began.elapsed().as_secs_f64(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One seed: what was breached, and how to see it again.
fn one(seed: u64, found: &Found) -> Vec<String> {
    let options = Options::of_seed(seed);
    let report = run(seed, &options);
    found
        .deaths
        .fetch_add(u64::from(report.deaths), Ordering::Relaxed);
    found.calls.fetch_add(report.calls, Ordering::Relaxed);
    let line = |v: &Violation| format!("seed {seed}: {}", text(v));
    let mut lines: Vec<String> = report.violations.iter().map(line).collect();
    if seed.is_multiple_of(AGAIN) || seed % AGAIN == 1 {
        found.again.fetch_add(1, Ordering::Relaxed);
        if run(seed, &options) != report {
            lines.push(format!("seed {seed} does not give the same trace again"));
        }
    }
    if !lines.is_empty() {
        lines.push(format!(
            "  again, with its trace: cargo run -p nestor-sim -- --replay --seed {seed}"
        ));
    }
    lines
}

fn text(violation: &Violation) -> String {
    format!("{:?}: {}", violation.invariant, violation.detail)
}

/// Seeds shared out among threads.
fn each(arguments: &Arguments, seeds: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    work(arguments.seed + number);
                }
            });
        }
    });
}
