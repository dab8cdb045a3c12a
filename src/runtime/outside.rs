//! Clients of what the administrator configured by its address: a Prometheus, and who listens for CloudEvents.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::{Client, Config};

/// What an administrator said: `--<name>-url`, `--<name>-token-file`, `--<name>-ca-file`.
pub struct Configured<'a> {
    /// How the arguments begin.
    pub name: &'a str,
    /// The path that an address may have, for people.
    pub path: &'a str,
    /// The address.
    pub url: &'a str,
    /// A file with a bearer token.
    pub token_file: Option<&'a Path>,
    /// A file with the certificates to trust.
    pub ca_file: Option<&'a Path>,
}

impl Configured<'_> {
    /// The address, if it can be meant.
    ///
    /// # Errors
    /// Where it is no address over HTTP, or holds a password or a query.
    pub fn address(&self) -> anyhow::Result<http::Uri> {
        let Self { name, path, .. } = self;
        // The address itself is not told: it may hold what nobody is to read in a log.
        let wrong =
            || format!("--{name}-url must be http://HOST:PORT or https://HOST:PORT, with {path}");
        let address: http::Uri = self.url.parse().with_context(wrong)?;
        ensure!(
            matches!(address.scheme_str(), Some("http" | "https"))
                && address.host().is_some()
                && address.query().is_none(),
            wrong()
        );
        ensure!(
            address
                .authority()
                .is_none_or(|one| !one.as_str().contains('@')),
            "--{name}-url must not hold a password: put a token into the file that --{name}-token-file names"
        );
        Ok(address)
    }

    /// A client of an address. Files are read again as they change.
    ///
    /// # Errors
    /// Where a file cannot be read, or the address not be used.
    pub fn client(&self, address: http::Uri) -> anyhow::Result<Client> {
        let name = self.name;
        for (flag, file) in [("token", self.token_file), ("ca", self.ca_file)] {
            if let Some(file) = file {
                std::fs::read(file)
                    .with_context(|| format!("--{name}-{flag}-file: reading {}", file.display()))?;
            }
        }
        let mut config = Config::new(address);
        config.root_cert_file = self.ca_file.map(PathBuf::from);
        config.auth_info.token_file = self.token_file.map(|file| file.display().to_string());
        config.connect_timeout = Some(Duration::from_secs(5));
        config.default_retry = false;
        Client::try_from(config).with_context(|| {
            format!("--{name}-url cannot be used; for https, --{name}-ca-file names a file of the certificates to trust")
        })
    }
}
