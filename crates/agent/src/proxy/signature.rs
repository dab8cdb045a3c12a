//! The model's signature, which the log and the comparison of answers read with their first request.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tracing::{info, warn};
use windlass_api::agent::{SIGNATURE_FILE, Signature};

/// A signature that may be there.
#[derive(Debug)]
pub struct SignatureFile {
    path: Option<PathBuf>,
    read: OnceLock<Option<Signature>>,
}

impl SignatureFile {
    /// The signature in a file, which is not read yet.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            read: OnceLock::new(),
        }
    }

    /// The signature.
    pub fn get(&self) -> Option<&Signature> {
        self.read
            .get_or_init(|| self.path.as_deref().and_then(read))
            .as_ref()
    }
}

fn read(path: &Path) -> Option<Signature> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(problem) => {
            info!(
                "no {SIGNATURE_FILE} at {}: columns are logged as f0, f1, … ({problem})",
                path.display()
            );
            return None;
        }
    };
    let signature = serde_json::from_slice(&content).inspect_err(|problem| {
        warn!(
            "{} cannot be read, columns are logged as f0, f1, …: {problem}",
            path.display()
        );
    });
    signature.ok()
}
