//! The cluster's own authority, and a certificate for each of its programs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::paths;

/// The authority of one cluster; it writes into that cluster's `pki` folder.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Whose certificate it is.
pub struct Subject<'a> {
    /// The file's name, without its extension.
    pub file: &'a str,
    /// The user's name, as RBAC knows it.
    pub user: &'a str,
    /// The user's group, if any.
    pub group: Option<&'a str>,
    /// The names that it serves under; none for a client.
    pub names: &'a [&'a str],
    /// The addresses that it serves on; none for a client.
    pub addresses: &'a [IpAddr],
}

impl Authority {
    /// Makes `ca.crt`, `ca.key`, and the key pair that signs service account tokens.
    pub fn new(cluster: &Path) -> Result<Self> {
        let folder = cluster.join("pki");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "windlass-testcluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().context("making the authority's key")?;
        let certificate = params
            .self_signed(&key)
            .context("signing the authority's certificate")?;
        paths::write(&folder.join("ca.crt"), certificate.pem())?;
        paths::write(&folder.join("ca.key"), key.serialize_pem())?;
        let tokens = KeyPair::generate().context("making the key of service account tokens")?;
        paths::write(&folder.join("tokens.key"), tokens.serialize_pem())?;
        paths::write(&folder.join("tokens.pub"), tokens.public_key_pem())?;
        Ok(Self {
            folder,
            issuer: Issuer::new(params, key),
        })
    }

    /// Makes `<file>.crt` and `<file>.key`.
    pub fn issue(&self, subject: &Subject<'_>) -> Result<()> {
        let names: Vec<String> = subject.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).context("a name for a certificate")?;
        params.subject_alt_names.extend(
            subject
                .addresses
                .iter()
                .map(|address| SanType::IpAddress(*address)),
        );
        params
            .distinguished_name
            .push(DnType::CommonName, subject.user);
        if let Some(group) = subject.group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate().context("making a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("signing for {}", subject.user))?;
        paths::write(
            &self.folder.join(format!("{}.crt", subject.file)),
            certificate.pem(),
        )?;
        paths::write(
            &self.folder.join(format!("{}.key", subject.file)),
            key.serialize_pem(),
        )
    }

    /// A certificate for a user, and the kubeconfig that uses it, as `<file>.kubeconfig` in the
    /// cluster's folder.
    pub fn kubeconfig(
        &self,
        file: &str,
        user: &str,
        group: Option<&str>,
        server: &str,
    ) -> Result<PathBuf> {
        self.issue(&Subject {
            file,
            user,
            group,
            names: &[],
            addresses: &[],
        })?;
        let cluster = self
            .folder
            .parent()
            .context("pki lies in the cluster's folder")?;
        let path = cluster.join(format!("{file}.kubeconfig"));
        write_kubeconfig(&path, &self.folder, file, server)?;
        Ok(path)
    }
}

/// Writes a kubeconfig that names certificate files by path. JSON is YAML.
pub fn write_kubeconfig(path: &Path, pki: &Path, file: &str, server: &str) -> Result<()> {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "windlass",
        "clusters": [{"name": "windlass", "cluster": {
            "server": server,
            "certificate-authority": pki.join("ca.crt"),
        }}],
        "users": [{"name": "windlass", "user": {
            "client-certificate": pki.join(format!("{file}.crt")),
            "client-key": pki.join(format!("{file}.key")),
        }}],
        "contexts": [{"name": "windlass", "context": {"cluster": "windlass", "user": "windlass"}}],
    });
    paths::write(path, serde_json::to_vec_pretty(&config)?)
}
