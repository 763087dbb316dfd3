//! `make bench`: how fast Nestor is, each figure beside what a user would pick
//! instead or beside a limit, both measured in the same run.
//!
//! | module | does |
//! |---|---|
//! | [`rows`] | what is measured, a module each |
//! | [`row`] | what a row is and what it answers |
//! | [`table`] | prints |
//! | [`machine`] | how fast and how noisy this machine is |
//! | [`stats`] | medians and percentiles |
//! | [`engines`] | an engine host with the built components |
//! | [`host`] | the real binary as a process |
//! | [`coordinator`] | the coordinator with an engine that does nothing |
//! | [`copies`] | many deployments in a store, from one |

mod coordinator;
mod copies;
mod engines;
mod host;
mod machine;
mod row;
mod rows;
mod stats;
mod table;

use std::process::ExitCode;

use clap::Parser;
use row::{Bench, Line};

/// Prints the table of speeds.
#[derive(Debug, Parser)]
#[command(name = "nestor-bench")]
struct Cli {
    /// Only rows whose name contains one of these
    names: Vec<String>,
    /// One run instead of several: minutes less, more noise
    #[arg(long)]
    quick: bool,
    /// List the rows
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let rows = rows::all();
    if cli.list {
        for row in &rows {
            println!("{:<10} {}", row.name(), row.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = |name: &str| {
        cli.names.is_empty() || cli.names.iter().any(|part| name.contains(part.as_str()))
    };
    let rows: Vec<_> = rows.into_iter().filter(|row| wanted(row.name())).collect();
    anyhow::ensure!(
        !rows.is_empty(),
        "no row has such a name; --list shows them"
    );
    let bench = Bench::new(cli.quick)?;
    let before = machine::Machine::measure(bench.scratch())?;
    eprintln!("machine before: {before}");
    let (mut lines, mut broken) = (Vec::new(), 0);
    for row in rows {
        eprintln!("measuring {}: {}", row.name(), row.about());
        match row.measure(&bench).await {
            Ok(measured) => lines.extend(measured),
            Err(error) => {
                broken += 1;
                lines.push(Line::missing(row.about(), &format!("{error:#}")));
            }
        }
    }
    let after = machine::Machine::measure(bench.scratch())?;
    println!("{}", table::render(&lines));
    println!("machine before: {before}");
    println!("machine after:  {after}");
    println!("{}", table::summary(&lines));
    // A missed target is a fact about this run; a row that broke is a bug.
    Ok(if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
