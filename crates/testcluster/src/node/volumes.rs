//! Volumes without a provisioner: folders of the host, made beforehand.
//!
//! A claim (of up to 10Gi, of any access mode) is bound to one of them. They can be written by
//! every user, since pods run as another than root and nothing changes a host folder's owner.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::kubectl::Kubectl;
use crate::paths;

/// How many claims can be bound over a cluster's life.
const COUNT: u32 = 48;

fn folder_of(cluster: &Path, number: u32) -> PathBuf {
    cluster.join("volumes").join(format!("volume-{number:02}"))
}

/// Makes the folders.
pub fn make_folders(cluster: &Path) -> Result<()> {
    for number in 0..COUNT {
        let folder = folder_of(cluster, number);
        paths::create(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
    }
    Ok(())
}

/// Makes the default StorageClass `standard` and the PersistentVolumes.
pub fn apply(kubectl: &Kubectl, cluster: &Path) -> Result<()> {
    let mut manifests = String::from(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\n\
         metadata:\n  name: standard\n  annotations: {storageclass.kubernetes.io/is-default-class: \"true\"}\n\
         provisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: Immediate\n",
    );
    for number in 0..COUNT {
        // Writing to a String cannot fail.
        let _ = write!(
            manifests,
            "---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: volume-{number:02}}}\n\
             spec:\n  storageClassName: standard\n  capacity: {{storage: 10Gi}}\n\
             \x20 accessModes: [ReadWriteOnce, ReadWriteMany, ReadOnlyMany]\n\
             \x20 persistentVolumeReclaimPolicy: Retain\n  hostPath: {{path: {}, type: Directory}}\n",
            serde_json::Value::from(folder_of(cluster, number).display().to_string()),
        );
    }
    kubectl.create(&manifests)
}

/// The folder of the host behind a bound claim.
pub fn host_path(kubectl: &Kubectl, namespace: &str, claim: &str) -> Result<PathBuf> {
    let claimed = [
        "--namespace",
        namespace,
        "get",
        "persistentvolumeclaim",
        claim,
        "-o",
        "jsonpath={.spec.volumeName}",
    ];
    let volume = kubectl.run(&claimed)?;
    if volume.is_empty() {
        bail!("the claim {namespace}/{claim} is not bound yet");
    }
    Ok(kubectl
        .run(&[
            "get",
            "persistentvolume",
            &volume,
            "-o",
            "jsonpath={.spec.hostPath.path}",
        ])?
        .into())
}
