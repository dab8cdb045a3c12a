//! What the operator's role allows, and what of it was used: by all tests of this program, and by others that keep their
//! audit logs beside it (`make test-permissions`).

use std::fs;
use std::path::PathBuf;

use windlass_testcluster::Cluster;

/// Where audit logs are kept for `tests/permissions.rs`, where they are asked for.
pub fn keep(cluster: &Cluster) {
    let Some(folder) = std::env::var_os("WINDLASS_AUDIT").map(PathBuf::from) else {
        return;
    };
    fs::create_dir_all(&folder).expect("the folder for audit logs");
    let kept = folder.join("operator.log");
    fs::copy(cluster.audit_log_path(), kept).expect("the audit log is copied");
}
