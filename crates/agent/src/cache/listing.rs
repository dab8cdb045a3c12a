//! What a store says of an input that nobody has digested yet: by it the input is known again without being read.
//!
//! It is a key and no digest of the content. An ETag is the MD5 of an object only where it was uploaded in one part and
//! without a key of one's own; what it always is, where it is strong, is another one after each change.

use object_store::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::address::Address;

/// The key of what lies at an address, from the names, sizes, ETags and times of its objects; nothing where one of them
/// has no strong ETag.
pub(super) fn key(address: &Address, objects: &[ObjectMeta]) -> Option<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{}\n", address.origin()));
    let mut objects: Vec<&ObjectMeta> = objects.iter().collect();
    objects.sort_by(|one, other| one.location.cmp(&other.location));
    for object in objects {
        let tag = object.e_tag.as_deref()?;
        if tag.trim_matches('"').is_empty() || tag.starts_with("W/") {
            return None;
        }
        let ObjectMeta {
            location,
            size,
            last_modified,
            ..
        } = object;
        hash.update(format!("{location}\0{size}\0{tag}\0{last_modified}\n"));
    }
    Some(format!("{:x}", hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;
    use std::time::{Duration, SystemTime};

    fn object(name: &str, tag: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(name),
            last_modified: SystemTime::UNIX_EPOCH.into(),
            size: 3,
            e_tag: tag.map(str::to_owned),
            version: None,
        }
    }

    #[test]
    fn a_key_is_another_where_anything_that_is_listed_is_another() {
        let address = Address::parse("https://host/tree").expect("an address");
        let other = Address::parse("https://elsewhere/tree").expect("an address");
        let (a, b) = (object("a", Some("\"1\"")), object("b", Some("\"2\"")));
        let of = |objects: &[&ObjectMeta]| {
            let objects: Vec<ObjectMeta> = objects.iter().map(|one| (*one).clone()).collect();
            key(&address, &objects).expect("a key")
        };
        let same = of(&[&a, &b]);
        assert_eq!(same, of(&[&b, &a]), "in any order");
        assert_ne!(same, of(&[&a]));
        assert_ne!(same, of(&[&a, &object("c", Some("\"2\""))]));
        assert_ne!(same, of(&[&a, &object("b", Some("\"3\""))]));
        assert_ne!(
            same,
            of(&[
                &a,
                &ObjectMeta {
                    size: 4,
                    ..b.clone()
                }
            ])
        );
        let later = (SystemTime::UNIX_EPOCH + Duration::from_secs(1)).into();
        assert_ne!(
            same,
            of(&[
                &a,
                &ObjectMeta {
                    last_modified: later,
                    ..b.clone()
                }
            ])
        );
        assert_ne!(Some(same), key(&other, &[a, b]));
    }

    #[test]
    fn without_a_strong_tag_nothing_is_known_again() {
        let address = Address::parse("https://host/tree").expect("an address");
        for tag in [None, Some(""), Some("\"\""), Some("W/\"1\"")] {
            let objects = [object("a", Some("\"1\"")), object("b", tag)];
            assert_eq!(key(&address, &objects), None, "{tag:?}");
        }
    }
}
