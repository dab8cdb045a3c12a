//! `windlass-agent install`: puts this program where a user's container finds it.
//!
//! An init container has the agent's image; the trainer's container has the user's. The program goes from one
//! to the other through a shared volume, which is why it is one static file.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use windlass_api::agent::{FailureReason, FailureReport};

use crate::report::failure;

/// Arguments of `windlass-agent install`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder; made where it is absent.
    pub directory: PathBuf,
}

/// Copies this program to `DIRECTORY/windlass-agent` with mode 0755, over what was there.
pub fn run(arguments: &Arguments) -> Result<(), FailureReport> {
    let program = std::env::current_exe().map_err(|error| {
        failure(
            FailureReason::Internal,
            format!("this program's own path cannot be told: {error}"),
        )
    })?;
    install(&program, &arguments.directory).map_err(|error| {
        let directory = arguments.directory.display();
        failure(
            FailureReason::OutputNotWritten,
            format!("copying the agent to {directory} failed: {error}"),
        )
    })
}

fn install(program: &Path, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // Written beside and renamed: a program that runs cannot be written to, and half a program is worse than none.
    let partial = directory.join(".windlass-agent.partial");
    fs::copy(program, &partial)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    fs::rename(&partial, directory.join("windlass-agent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_installed_over_an_older_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        for content in ["old", "new"] {
            fs::write(&program, content).expect("written");
            install(&program, &folder.path().join("bin")).expect("installed");
        }
        let installed = folder.path().join("bin/windlass-agent");
        assert_eq!(fs::read_to_string(&installed).expect("read"), "new");
        assert_eq!(
            fs::metadata(&installed)
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
        assert_eq!(
            fs::read_dir(folder.path().join("bin"))
                .expect("listed")
                .count(),
            1
        );
    }
}
