//! Addresses of data and models, and the object stores behind them.
//!
//! ```text
//!   pvc://claim/path ─────┐
//!   file:///path, path ───┼──> local files          (path under $WINDLASS_VOLUMES for a claim)
//!   s3://bucket/key ──────────> AmazonS3 from AWS_*
//!   https://host/path ────────> one file over HTTP
//! ```
//!
//! An [`Address`] keeps the text that the user wrote for messages and reports, and the store and the path
//! for whoever reads it. An address may name one file or a folder of files: [`Address::files`] tells.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{ClientConfigKey, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use percent_encoding::percent_decode_str;
use url::Url;
use windlass_api::agent::{environment, paths};

/// How far apart two changes of a file are whose times differ, at least: of a local file system, which counts in the
/// ticks of its kernel.
const LOCAL_TICK: Duration = Duration::from_millis(20);
/// Of an object store, which counts in seconds.
const STORE_TICK: Duration = Duration::from_millis(1500);

/// What is wrong with an address, or with what lies there.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The text is no address that the agent knows.
    #[error(
        "'{uri}' is not an address: {why}; accepted are pvc://claim/path, s3://bucket/key, https://host/file, file:///path and a path"
    )]
    Invalid {
        /// The address as it was written.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store cannot be set up.
    #[error("the store of {uri} cannot be set up")]
    Store {
        /// The address as it was written.
        uri: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// There is nothing at the address.
    #[error("there is nothing at {uri}")]
    NotFound {
        /// The address as it was written.
        uri: String,
    },
    /// What lies at the address cannot be read or written.
    #[error("{doing} {uri} failed")]
    Access {
        /// `reading`, `listing`, `writing`.
        doing: &'static str,
        /// The address as it was written.
        uri: String,
        /// What the store says.
        source: object_store::Error,
    },
}

/// Where something lies: a store, a path in it, and the text that it was made from.
#[derive(Clone, Debug)]
pub struct Address {
    uri: String,
    store: Arc<dyn ObjectStore>,
    root: Url,
    path: StorePath,
    local: Option<PathBuf>,
    as_of: Option<Timestamp>,
    endpoint: Option<String>,
}

impl Address {
    /// Parses an address; a claim lies under `$WINDLASS_VOLUMES` or its default.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let volumes = std::env::var_os(environment::VOLUMES)
            .map_or_else(|| PathBuf::from(paths::VOLUMES), PathBuf::from);
        Self::parse_with_volumes(text, &volumes)
    }

    /// Parses an address; a claim lies under `volumes`.
    pub fn parse_with_volumes(text: &str, volumes: &Path) -> Result<Self, AddressError> {
        let invalid = |why: &str| AddressError::Invalid {
            uri: text.to_owned(),
            why: why.to_owned(),
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.is_empty() {
                return Err(invalid("it is empty"));
            }
            return Self::local(text, Path::new(text));
        };
        match scheme {
            "pvc" => {
                let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
                if claim.is_empty() || claim.starts_with('.') {
                    return Err(invalid("it names no claim"));
                }
                let path = Path::new(path);
                if !path
                    .components()
                    .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
                {
                    return Err(invalid("a path in a claim has no '..'"));
                }
                Self::local(text, &volumes.join(claim).join(path))
            }
            "file" => {
                let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
                let path = url
                    .to_file_path()
                    .map_err(|()| invalid("a file address is file:///path"))?;
                Self::local(text, &path)
            }
            "s3" => Self::s3(text, rest),
            "https" | "http" => Self::http(text),
            "oci" => Err(invalid(
                "the agent reads an image only where it is mounted (fetch and digest: --mounted); only a model's files may lie in one",
            )),
            other => Err(invalid(&format!(
                "'{other}' is no scheme that the agent knows"
            ))),
        }
    }

    /// The address of a local path.
    pub fn local(uri: &str, path: &Path) -> Result<Self, AddressError> {
        let invalid = |why: String| AddressError::Invalid {
            uri: uri.to_owned(),
            why,
        };
        let absolute = std::path::absolute(path).map_err(|error| invalid(error.to_string()))?;
        let absolute = normal(&absolute);
        let path =
            StorePath::from_absolute_path(&absolute).map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            uri: uri.to_owned(),
            store: Arc::new(LocalFileSystem::new()),
            root: Url::parse("file:///").expect("a constant"),
            path,
            local: Some(absolute),
            as_of: None,
            endpoint: None,
        })
    }

    fn s3(uri: &str, rest: &str) -> Result<Self, AddressError> {
        let invalid = |why: String| AddressError::Invalid {
            uri: uri.to_owned(),
            why,
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(invalid("it names no bucket".to_owned()));
        }
        let path =
            StorePath::parse(key.trim_matches('/')).map_err(|error| invalid(error.to_string()))?;
        let builder = AmazonS3Builder::from_env();
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let store = builder
            .with_bucket_name(bucket)
            .with_config(
                AmazonS3ConfigKey::Client(ClientConfigKey::RandomizeAddresses),
                "false",
            )
            .build()
            .map_err(|source| AddressError::Store {
                uri: uri.to_owned(),
                source,
            })?;
        let root =
            Url::parse(&format!("s3://{bucket}")).map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            uri: uri.to_owned(),
            store: Arc::new(store),
            root,
            path,
            local: None,
            as_of: None,
            endpoint,
        })
    }

    fn http(uri: &str) -> Result<Self, AddressError> {
        let invalid = |why: String| AddressError::Invalid {
            uri: uri.to_owned(),
            why,
        };
        let url = Url::parse(uri).map_err(|error| invalid(error.to_string()))?;
        let path =
            StorePath::from_url_path(url.path()).map_err(|error| invalid(error.to_string()))?;
        // The query stays with the store: a signed address is of no use without it.
        let mut base = url;
        base.set_path("");
        base.set_fragment(None);
        let store = HttpBuilder::new()
            .with_url(base.to_string())
            .with_client_options(client_options())
            .build()
            .map_err(|source| AddressError::Store {
                uri: uri.to_owned(),
                source,
            })?;
        base.set_query(None);
        Ok(Self {
            uri: uri.to_owned(),
            store: Arc::new(store),
            root: base,
            path,
            local: None,
            as_of: None,
            endpoint: None,
        })
    }

    /// The text that the user wrote.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The store that it lies in.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The path in the store.
    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// Which store it is and where in it, without what a signed address is signed with.
    pub(crate) fn origin(&self) -> String {
        let endpoint = self.endpoint.as_deref().unwrap_or_default();
        format!("{endpoint} {} {}", self.root, self.path)
    }

    /// The path on this machine; absent for what lies elsewhere.
    pub fn local_path(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    /// Under what a DataFusion session knows the store: `context.register_object_store(address.store_url().as_ref(), …)`.
    pub fn store_url(&self) -> ObjectStoreUrl {
        let root = &self.root[..url::Position::BeforePath];
        ObjectStoreUrl::parse(root).expect("the root was cut from a parsed URL")
    }

    /// The address of something below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        let mut local = self.local.clone();
        for part in name.split('/').filter(|part| !part.is_empty()) {
            path = path.join(part);
            local = local.map(|local| local.join(part));
        }
        Self {
            uri: format!("{}/{name}", self.uri.trim_end_matches('/')),
            store: Arc::clone(&self.store),
            root: self.root.clone(),
            path,
            local,
            as_of: self.as_of,
            endpoint: self.endpoint.clone(),
        }
    }

    /// The address of something beside this one.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        let parent: StorePath = {
            let mut parts: Vec<_> = self.path.parts().collect();
            parts.pop();
            parts.into_iter().collect()
        };
        let trimmed = self.uri.trim_end_matches('/');
        let uri = trimmed
            .rsplit_once('/')
            .map_or(trimmed, |(parent, _)| parent);
        let parent = Self {
            uri: uri.to_owned(),
            path: parent,
            local: self
                .local
                .as_ref()
                .and_then(|local| local.parent())
                .map(Path::to_owned),
            ..self.clone()
        };
        parent.child(name)
    }

    /// The same address without what was changed after a time: a folder as it was, if files were only added to it.
    #[must_use]
    pub fn as_of(self, as_of: Option<Timestamp>) -> Self {
        Self { as_of, ..self }
    }

    /// Whether a file in the folder that was changed at this time belongs to it.
    pub(crate) fn holds(&self, changed: Timestamp) -> bool {
        self.as_of.is_none_or(|as_of| changed <= as_of)
    }

    /// The folder as it is now: files that are added later do not belong to it. Waits until no file can be added that
    /// looks as old as those that are there. A single file is as it is.
    ///
    /// # Errors
    /// [`AddressError::NotFound`] when there is no file.
    pub async fn as_of_now(self) -> Result<(Self, Option<Timestamp>), AddressError> {
        if self.is_single_file() {
            return Ok((self, None));
        }
        let files = self.files_and_hidden().await?;
        let newest = files.iter().map(changed).max();
        let tick = if self.local.is_some() {
            LOCAL_TICK
        } else {
            STORE_TICK
        };
        if let Some(newest) = newest {
            let age = Timestamp::now().duration_since(newest);
            let left = SignedDuration::try_from(tick).unwrap_or_default() - age;
            tokio::time::sleep(left.try_into().unwrap_or_default()).await;
        }
        Ok((self.as_of(newest), newest))
    }

    /// The files at the address, ordered by path: the file itself, or all files below the folder.
    /// Names that begin with a dot are left out, as temporary files have them.
    ///
    /// # Errors
    /// [`AddressError::NotFound`] when there is no file.
    pub async fn files(&self) -> Result<Vec<ObjectMeta>, AddressError> {
        let mut files = self.files_and_hidden().await?;
        files.retain(|file| {
            file.location
                .prefix_match(&self.path)
                .is_some_and(|mut rest| !rest.any(|part| part.as_ref().starts_with('.')))
        });
        if files.is_empty() {
            return Err(AddressError::NotFound {
                uri: self.uri.clone(),
            });
        }
        Ok(files)
    }

    /// The files at the address with those whose names begin with a dot.
    ///
    /// # Errors
    /// [`AddressError::NotFound`] when there is no file.
    pub(crate) async fn files_and_hidden(&self) -> Result<Vec<ObjectMeta>, AddressError> {
        if self.is_single_file() {
            return Ok(vec![self.head().await?]);
        }
        let mut files: Vec<ObjectMeta> = match self.store.list(Some(&self.path)).try_collect().await
        {
            Ok(files) => files,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(source) => return Err(self.access("listing", source)),
        };
        files.retain(|file| self.holds(changed(file)));
        if files.is_empty() && !self.uri.ends_with('/') && self.local.is_none() {
            return Ok(vec![self.head().await?]);
        }
        if files.is_empty() {
            return Err(AddressError::NotFound {
                uri: self.uri.clone(),
            });
        }
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(files)
    }

    /// The files at the address as their store lists them, those with a dot too. Of a single one it is what the store
    /// says when it is read: a signed address may allow that alone.
    ///
    /// # Errors
    /// [`AddressError::NotFound`] when there is no file.
    pub(crate) async fn objects(&self) -> Result<Vec<ObjectMeta>, AddressError> {
        if !self.is_single_file() {
            return self.files_and_hidden().await;
        }
        let result = self.store.get(&self.path).await;
        let result = result.map_err(|source| self.access("reading", source))?;
        Ok(vec![result.meta])
    }

    /// Reads the one file at the address.
    pub async fn read(&self) -> Result<Bytes, AddressError> {
        let result = self
            .store
            .get(&self.path)
            .await
            .map_err(|source| self.access("reading", source))?;
        result
            .bytes()
            .await
            .map_err(|source| self.access("reading", source))
    }

    /// Reads the one file at the address, unless it has more bytes than this: then nothing.
    pub(crate) async fn read_at_most(&self, most: usize) -> Result<Option<Bytes>, AddressError> {
        let result = self.store.get(&self.path).await;
        let result = result.map_err(|source| self.access("reading", source))?;
        let mut content = BytesMut::new();
        let mut pieces = result.into_stream();
        while let Some(piece) = pieces
            .try_next()
            .await
            .map_err(|source| self.access("reading", source))?
        {
            if content.len() + piece.len() > most {
                return Ok(None);
            }
            content.extend_from_slice(&piece);
        }
        Ok(Some(content.freeze()))
    }

    /// The path, with `/`, by which something below this address is known in its tree; nothing for what lies elsewhere.
    pub(crate) fn path_of(&self, inner: &Self) -> Option<String> {
        if let (Some(local), Some(inner)) = (&self.local, &inner.local) {
            let path = inner.strip_prefix(local).ok()?.to_str()?;
            return (!path.is_empty()).then(|| path.to_owned());
        }
        if self.root != inner.root || self.endpoint != inner.endpoint {
            return None;
        }
        let parts = inner.path.prefix_match(&self.path)?;
        let decoded = parts.map(|part| {
            let part = percent_decode_str(part.as_ref()).decode_utf8().ok()?;
            Some(part.into_owned())
        });
        let path = decoded.collect::<Option<Vec<_>>>()?.join("/");
        (!path.is_empty()).then_some(path)
    }

    /// Writes one file at the address, whole or not at all, over what was there.
    pub async fn write(&self, content: Bytes) -> Result<(), AddressError> {
        match self.store.put(&self.path, content.into()).await {
            Ok(_) => Ok(()),
            Err(source) => Err(self.access("writing", source)),
        }
    }

    pub(crate) fn is_single_file(&self) -> bool {
        match &self.local {
            Some(local) => local.is_file(),
            None => self.root.scheme().starts_with("http"),
        }
    }

    async fn head(&self) -> Result<ObjectMeta, AddressError> {
        self.store
            .head(&self.path)
            .await
            .map_err(|source| self.access("reading", source))
    }

    pub(crate) fn access(&self, doing: &'static str, source: object_store::Error) -> AddressError {
        match source {
            object_store::Error::NotFound { .. } if doing != "writing" => AddressError::NotFound {
                uri: self.uri.clone(),
            },
            source => AddressError::Access {
                doing,
                uri: self.uri.clone(),
                source,
            },
        }
    }
}

/// When a file was changed.
fn changed(file: &ObjectMeta) -> Timestamp {
    let (seconds, nanoseconds) = (
        file.last_modified.timestamp(),
        file.last_modified.timestamp_subsec_nanos(),
    );
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or_default();
    Timestamp::new(seconds, nanoseconds).unwrap_or_default()
}

/// Options of every HTTP client that a store makes: names are resolved in the program itself, because a
/// static binary has no name service switch to lean on.
fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_config(ClientConfigKey::RandomizeAddresses, "false")
        .with_config(ClientConfigKey::AllowHttp, "true")
}

/// The path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_an_address_is_known_by_its_path() {
        let address = |text| Address::parse(text).expect("an address");
        for (outer, inner, expected) in [
            ("/models/1", "/models/1/model.sig", Some("model.sig")),
            ("/models/1", "/models/1/a/../b c", Some("b c")),
            ("/models/1", "/models/10/model.sig", None),
            ("/models/1", "/models/1", None),
            ("https://h/m", "https://h/m/a%20b", Some("a b")),
            ("https://h/m", "https://other/m/a", None),
            ("/m", "https://h/m/a", None),
        ] {
            let found = address(outer).path_of(&address(inner));
            assert_eq!(found.as_deref(), expected, "{outer} {inner}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "hello").expect("written");
        let address = Address::local("a", &path).expect("an address");
        let read = address.read_at_most(5).await.expect("read");
        assert_eq!(read.as_deref(), Some(&b"hello"[..]));
        assert_eq!(address.read_at_most(4).await.expect("read"), None);
    }
}
