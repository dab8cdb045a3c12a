//! The program `testcluster`: see [`windlass_testcluster`].

mod commands;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match commands::Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testcluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}
