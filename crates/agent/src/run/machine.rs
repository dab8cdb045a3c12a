//! What a trainer runs on, for the record of its model.

use std::collections::BTreeMap;
use std::thread::available_parallelism;

/// Where the kernel's module of NVIDIA's tells its version.
const NVIDIA_DRIVER: &str = "/proc/driver/nvidia/version";

/// `architecture`, `kernel`, `cpus`, `agent`, and where there is one `nvidiaDriver`.
pub(super) fn described() -> BTreeMap<String, String> {
    let system = rustix::system::uname();
    let kernel = format!(
        "{} {}",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy()
    );
    let driver = std::fs::read_to_string(NVIDIA_DRIVER).ok();
    let all = [
        ("agent", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("architecture", Some(std::env::consts::ARCH.to_owned())),
        (
            "cpus",
            available_parallelism().ok().map(|cpus| cpus.to_string()),
        ),
        ("kernel", Some(kernel)),
        ("nvidiaDriver", driver.as_deref().and_then(driver_version)),
    ];
    let there = all.into_iter();
    there
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// The version in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  …`: the first word that begins with a digit.
fn driver_version(text: &str) -> Option<String> {
    let line = text
        .lines()
        .find(|line| line.starts_with("NVRM version:"))?;
    let is_version = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    line.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described() {
        let described = described();
        assert_eq!(described["architecture"], std::env::consts::ARCH);
        assert!(described["kernel"].starts_with("Linux "), "{described:?}");
        assert!(described.contains_key("cpus") && described.contains_key("agent"));
    }

    #[test]
    fn a_driver_tells_its_version() {
        let text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12\n";
        assert_eq!(driver_version(text).as_deref(), Some("550.54.15"));
        assert_eq!(driver_version("GCC version: 12"), None);
    }
}
