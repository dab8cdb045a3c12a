//! Container images without a registry or a container engine: a tar that containerd imports.
//!
//! ```text
//! name.tar ── manifest.json   which files, under which name
//!          ├─ config.json     entrypoint, environment, user, the layer's digest
//!          └─ layer.tar       the one layer
//! ```
//!
//! The same input gives the same bytes: entries are sorted, and no time is written down.
//! Deliberately absent: more than one layer, and compression (nothing is sent anywhere).

mod layer;

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

pub use layer::Layer;

/// The user as whom images run unless told otherwise: not root.
pub const USER: &str = "65532";

/// An image to be written.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    layer: Layer,
    entrypoint: Vec<String>,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    user: String,
    working_folder: String,
}

impl Image {
    /// An image with nothing in it but `/etc/passwd`, `/etc/group`, a world-writable `/tmp`, and
    /// this machine's CA certificates if it has any.
    pub fn scratch(name: impl Into<String>) -> Self {
        let mut layer = Layer::default();
        layer.text("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n");
        layer.text("etc/group", "root:x:0:\nnonroot:x:65532:\n");
        // Without it a static glibc looks for modules that are not there.
        let sources = [
            "passwd: files",
            "group: files",
            "hosts: files dns",
            "services: files",
        ];
        layer.text("etc/nsswitch.conf", &(sources.join("\n") + "\n"));
        layer.folder("tmp", 0o1777);
        let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
        if certificates.is_file() {
            layer.file("etc/ssl/certs/ca-certificates.crt", certificates, 0o644);
        }
        Self::new(name.into(), layer)
    }

    /// An image of all that lies in a folder, such as a Debian root.
    pub fn root(name: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self::new(name.into(), Layer::of_folder(root.into()))
    }

    fn new(name: String, layer: Layer) -> Self {
        Self {
            name,
            layer,
            entrypoint: Vec::new(),
            command: Vec::new(),
            environment: BTreeMap::from([(
                "PATH".to_owned(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            )]),
            user: USER.to_owned(),
            working_folder: "/".to_owned(),
        }
    }

    /// The same, with an executable file at a path of the image.
    #[must_use]
    pub fn with_binary(mut self, source: &Path, destination: &str) -> Self {
        self.layer.file(destination, source, 0o755);
        self
    }

    /// The same, with a file at a path of the image.
    #[must_use]
    pub fn with_file(mut self, source: &Path, destination: &str, mode: u32) -> Self {
        self.layer.file(destination, source, mode);
        self
    }

    /// The same, with what it runs.
    #[must_use]
    pub fn with_entrypoint<T: Into<String>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.entrypoint = words.into_iter().map(Into::into).collect();
        self
    }

    /// The same, with arguments that a pod's `args` replace.
    #[must_use]
    pub fn with_command<T: Into<String>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// The same, with an environment variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The same, run as this user: a number, so that `runAsNonRoot` can be checked.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The same, started in this folder.
    #[must_use]
    pub fn with_working_folder(mut self, folder: impl Into<String>) -> Self {
        self.working_folder = folder.into();
        self
    }

    /// Writes the image's tar.
    ///
    /// # Errors
    /// When a file that goes into it cannot be read, or the tar cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        crate::paths::create(folder)?;
        let mut layer =
            tempfile::tempfile_in(folder).context("making a temporary file for the layer")?;
        let digest = self
            .layer
            .write(&mut layer)
            .with_context(|| format!("packing the layer of {}", self.name))?;
        let config = serde_json::to_vec(&json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.command,
                "Env": self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
                "User": self.user,
                "WorkingDir": self.working_folder,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        }))?;
        let manifest = serde_json::to_vec(&json!([
            {"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}
        ]))?;

        let partial = tempfile::NamedTempFile::new_in(folder)
            .context("making a temporary file for the image")?;
        let mut tar = tar::Builder::new(partial.as_file());
        append(&mut tar, "manifest.json", &manifest)?;
        append(&mut tar, "config.json", &config)?;
        let length = layer.seek(SeekFrom::End(0))?;
        layer.rewind()?;
        tar.append_data(&mut layer::header(length, 0o644), "layer.tar", &mut layer)?;
        tar.finish()?;
        drop(tar);
        // A temporary file is its maker's alone to read.
        partial
            .as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        partial
            .persist(path)
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }
}

fn append(tar: &mut tar::Builder<&File>, name: &str, content: &[u8]) -> Result<()> {
    Ok(tar.append_data(
        &mut layer::header(content.len() as u64, 0o644),
        name,
        content,
    )?)
}

/// The image that holds a pod's namespaces: a static busybox that sleeps.
///
/// # Errors
/// When this machine has no static busybox.
pub fn pause() -> Result<Image> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file());
    let busybox = busybox
        .context("there is no /bin/busybox: scripts/install-packages.sh installs busybox-static")?;
    Ok(Image::scratch("localhost/pause:1")
        .with_binary(busybox, "/bin/busybox")
        .with_entrypoint(["/bin/busybox", "sleep", "2147483647"]))
}

/// An image of busybox, for pods of tests: `sh`, `sleep`, `wget`, `nslookup` and so on.
///
/// Debian's static wget crashes when it is given a timeout (`-T`).
///
/// # Errors
/// When this machine has no static busybox.
pub fn busybox(name: impl Into<String>) -> Result<Image> {
    let mut image = pause()?;
    image.name = name.into();
    for applet in [
        "sh", "sleep", "cat", "echo", "env", "wget", "nslookup", "ls", "id", "touch", "true",
        "false",
    ] {
        image.layer.link(&format!("bin/{applet}"), "busybox");
    }
    Ok(image.with_entrypoint(["/bin/sh"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        std::fs::write(root.join("usr/bin/tool"), "#!/bin/sh\n").unwrap();
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
        let written = |name: &str| {
            let path = folder.path().join(name);
            Image::root("localhost/tool:1", &root)
                .with_entrypoint(["/bin/tool"])
                .write(&path)
                .unwrap();
            std::fs::read(path).unwrap()
        };
        assert_eq!(written("one.tar"), written("two.tar"));
    }

    #[test]
    fn a_scratch_image_names_its_layer_by_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        Image::scratch("localhost/x:1")
            .with_binary(Path::new("/proc/self/exe"), "/x")
            .write(&path)
            .unwrap();
        let mut tar = tar::Archive::new(File::open(path).unwrap());
        let names: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["manifest.json", "config.json", "layer.tar"]);
    }
}
