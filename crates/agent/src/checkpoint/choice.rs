//! What all workers of a gang go on from, though each looks for it by itself.
//!
//! ```text
//!   URI/<attempt>/from.json     made by the first worker that knows, never changed; the others go by it
//! ```
//!
//! Without it they may differ: what is left of the attempt before, on a node that does not answer or in a pod that was
//! deleted by force, may still finish an upload after one worker has looked and before the next one does.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use object_store::{PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::place::{DIGITS, Place};
use super::store::{Store, file, sync};
use crate::address::{Address, AddressError};
use crate::tree::{TreeError, blocking};

/// Its name, in the folder of the attempt that goes on. It is no checkpoint's: these are folders.
const CHOICE: &str = "from.json";

/// `from.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    /// The checkpoint; absent when the training starts anew.
    from: Option<String>,
}

impl Choice {
    /// To go on from a checkpoint, or to start anew.
    pub fn new(from: Option<&Place>) -> Self {
        Self {
            from: from.map(Place::to_string),
        }
    }

    /// Where the checkpoint lies.
    ///
    /// # Errors
    /// What is written there, where no agent wrote it.
    pub fn place(&self) -> Result<Option<Place>, String> {
        let parse = |text: &String| {
            let (attempt, rest) = text.split_once('/')?;
            Place::parse(attempt, rest)
        };
        let place = self.from.as_ref().map(|text| parse(text).ok_or(text));
        place.transpose().map_err(Clone::clone)
    }
}

impl Store {
    /// What the workers of an attempt go on from, once one of them knows.
    pub async fn choice(&self, attempt: u32) -> Result<Option<Choice>, TreeError> {
        let address = self.choice_address(attempt);
        let content = match address.local_path() {
            Some(path) => match fs::read(path) {
                Ok(content) => content,
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(problem) => return Err(file("reading", path, problem)),
            },
            None => match address.read().await {
                Ok(content) => content.to_vec(),
                Err(AddressError::NotFound { .. }) => return Ok(None),
                Err(problem) => return Err(problem.into()),
            },
        };
        // In a folder it is there before it is written: that passes.
        let choice = serde_json::from_slice(&content).map_err(|problem| {
            let path = Path::new(address.uri());
            file("reading", path, io::Error::other(problem))
        })?;
        Ok(Some(choice))
    }

    /// Writes down what to go on from, unless another worker has; whether this one did.
    pub async fn choose(&self, attempt: u32, choice: &Choice) -> Result<bool, TreeError> {
        let address = self.choice_address(attempt);
        let content = serde_json::to_vec(choice).expect("plain data");
        let Some(path) = address.local_path() else {
            return choose_remote(&address, content).await;
        };
        let path = path.to_owned();
        blocking(move || {
            choose_local(&path, &content).map_err(|source| file("writing", &path, source))
        })
        .await
    }

    fn choice_address(&self, attempt: u32) -> Address {
        self.root().child(&format!("{attempt:0DIGITS$}/{CHOICE}"))
    }
}

async fn choose_remote(address: &Address, content: Vec<u8>) -> Result<bool, TreeError> {
    let create = PutOptions::from(PutMode::Create);
    let (store, path) = (address.store(), address.path());
    match store.put_opts(path, content.clone().into(), create).await {
        Ok(_) => Ok(true),
        Err(
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
        ) => Ok(false),
        Err(object_store::Error::NotImplemented { .. }) => {
            warn!(
                "{} is written over whatever is there: this store cannot do otherwise, and workers that look at the same moment may differ",
                address.uri()
            );
            address.write(content.into()).await?;
            Ok(true)
        }
        Err(problem) => Err(address.access("writing", problem).into()),
    }
}

fn choose_local(path: &Path, content: &[u8]) -> io::Result<bool> {
    let folder = path.parent().expect("a file in a folder");
    fs::create_dir_all(folder)?;
    let mut out = match fs::File::create_new(path) {
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        out => out?,
    };
    out.write_all(content)?;
    out.sync_all()?;
    sync(folder)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_to_choose_decides_for_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Address::local("here", folder.path()).expect("an address");
        let store = Store::new(root);
        let place = Place::parse("000001", "000003-step");
        assert_eq!(store.choice(2).await.expect("read"), None);
        let first = Choice::new(place.as_ref());
        assert!(store.choose(2, &first).await.expect("written"));
        let late = Choice::new(None);
        assert!(!store.choose(2, &late).await.expect("not written"));
        let choice = store.choice(2).await.expect("read").expect("there");
        assert_eq!(choice.place(), Ok(place));
        assert_eq!(store.choice(3).await.expect("read"), None);
        assert_eq!(store.places(9).await.expect("read"), []);
    }

    #[test]
    fn what_no_agent_wrote_is_no_place() {
        let from = |text: &str| Choice {
            from: Some(text.to_owned()),
        };
        assert_eq!(Choice::new(None).place(), Ok(None));
        for text in ["", "000001", "../x/000001-a", "000001/000001-.a"] {
            assert_eq!(from(text).place(), Err(text.to_owned()));
        }
    }
}
