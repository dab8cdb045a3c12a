//! What `make sbom` wrote of the images is what is locked: each crate that is compiled in is there, with its checksum.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A crate's name and version.
type Crate = (String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is locked, and the checksum of each; the workspace's own crates have none.
fn locked() -> BTreeMap<Crate, Option<String>> {
    let text = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut all = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let mut lines = package.lines();
            let value = lines.find_map(|line| line.strip_prefix(&format!("{name} = ")))?;
            Some(value.trim_matches('"').to_owned())
        };
        let key = (field("name").unwrap(), field("version").unwrap());
        all.insert(key, field("checksum"));
    }
    assert!(all.len() > 300, "{} packages are locked", all.len());
    all
}

/// What is compiled into the programs of a package, and the procedural macros of that.
fn compiled_into(package: &str, target: &str) -> BTreeSet<Crate> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            package,
            "--edges",
            "normal",
        ])
        .args(["--target", target, "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let crates = lines.map(|line| {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        (name.to_owned(), version.trim_start_matches('v').to_owned())
    });
    crates.filter(|(name, _)| name != package).collect()
}

#[test]
fn each_image_s_bill_names_what_is_compiled_in_as_it_is_locked() {
    let Some(folder) = std::env::var_os("WINDLASS_SBOM").map(PathBuf::from) else {
        println!("skipped: WINDLASS_SBOM is not set; `make sbom` writes the bills and sets it");
        return;
    };
    let locked = locked();
    for package in ["windlass", "windlass-agent"] {
        let text = fs::read_to_string(folder.join(format!("{package}.cdx.json"))).unwrap();
        assert!(
            !text.contains(&root().display().to_string()),
            "{package}: the bill says where it was made"
        );
        let bill: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&bill["bomFormat"], &bill["specVersion"]),
            (&"CycloneDX".into(), &"1.5".into())
        );
        let metadata = &bill["metadata"];
        assert_eq!(metadata["component"]["name"], package);
        let target = metadata["properties"][0]["value"].as_str().unwrap();
        let mut named = BTreeSet::new();
        for component in bill["components"].as_array().unwrap() {
            let text = |name: &str| component[name].as_str().unwrap().to_owned();
            let key = (text("name"), text("version"));
            let Some(checksum) = locked.get(&key) else {
                panic!("{package}: {key:?} is not locked")
            };
            let hash = component["hashes"][0]["content"].as_str();
            assert_eq!(hash, checksum.as_deref(), "{package}: {key:?}");
            assert!(
                checksum.is_none() || component["licenses"][0].is_object(),
                "{package}: {key:?} has no licence"
            );
            named.insert(key);
        }
        let expected = compiled_into(package, target);
        let missing: Vec<_> = expected.difference(&named).collect();
        assert!(missing.is_empty(), "{package}: missing {missing:?}");
        // No tool of the build or of tests is taken for a part of the program.
        for other in ["proptest", "insta", "rcgen", "prost-build", "cc"] {
            let is_named = named.iter().any(|(name, _)| name == other);
            assert!(!is_named, "{package}: {other} is in no program");
        }
    }
}
