//! Fail every step, repeat every step: what becomes of the example deployments
//! whatever goes wrong wherever, as tables that a person can read.
//!
//! The catalog of `examples/catalog`, the planner and the coordinator are the
//! real ones; the engines and Git are scripted. Each case is one deployment in
//! a world of its own, with one thing that goes wrong at one place. Beside the
//! table, which says how it ends, rules hold for every case (see [`rules`]).
//!
//! After a change that is meant: `UPDATE_EXPECT=1 cargo test -p nestor-tests
//! --test every_step`, and read what changed.
//!
//! | module | does |
//! |---|---|
//! | [`example`] | the deployments, what their steps are, and a second revision of each |
//! | [`fault`] | what can go wrong, and the engines and Git that it goes wrong with |
//! | [`world`] | hosts that can die, and what outlives them |
//! | [`case`] | one case from start to end |
//! | [`rules`] | what holds in every case |
//! | [`table`] | the text |

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod case;
mod example;
mod fault;
mod rules;
mod table;
mod world;

use example::Example;
use expect_test::expect_file;

#[test]
fn web_app() {
    let table = table::of(&Example::load("web-app"));
    expect_file!["web-app.txt"].assert_eq(&table);
}

#[test]
fn custom_engines() {
    let table = table::of(&Example::load("custom-engines"));
    expect_file!["custom-engines.txt"].assert_eq(&table);
}

#[test]
fn no_example_is_left_out() {
    let mut found = Example::names();
    found.retain(|name| !["web-app", "custom-engines"].contains(&name.as_str()));
    assert!(found.is_empty(), "examples without a table: {found:?}");
}
