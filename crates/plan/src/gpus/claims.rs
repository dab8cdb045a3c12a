//! Devices by DRA: what a pod that names a ResourceClaimTemplate is given, as far as the template tells.
//!
//! Absent on purpose: ResourceClaims that somebody else made (`resourceClaimName`). They belong to whoever made them,
//! may be shared with others, and are held whether a gang runs or not.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::api::resource::v1::{DeviceRequest, ResourceClaimTemplate};

/// Whether a cluster knows devices by DRA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceClaims {
    /// ResourceClaimTemplates are served, as `resource.k8s.io/v1` (Kubernetes 1.34 and newer).
    Served,
    /// They are not.
    NotServed,
}

/// Numbers of devices, by the name of their DeviceClass.
pub type Devices = BTreeMap<String, i64>;

/// Leaves of a template what [`devices`] reads.
pub fn trim(template: &mut ResourceClaimTemplate) {
    let spec = template.spec.as_mut();
    let claim = spec.and_then(|spec| spec.spec.as_mut());
    let Some(devices) = claim.and_then(|claim| claim.devices.as_mut()) else {
        return;
    };
    devices.config = None;
    devices.constraints = None;
    for request in devices.requests.iter_mut().flatten() {
        if let Some(exactly) = &mut request.exactly {
            exactly.selectors = None;
            exactly.tolerations = None;
            exactly.capacity = None;
        }
        for one in request.first_available.iter_mut().flatten() {
            one.selectors = None;
            one.tolerations = None;
            one.capacity = None;
        }
    }
}

/// The devices that each claim of a template is given for sure. Not among them are those of a request for all that a
/// node has, and those with administrative access, which hold nothing. Of alternatives, it is the one with the fewest
/// GPUs.
pub fn devices(template: &ResourceClaimTemplate) -> Devices {
    let claim = template.spec.as_ref().and_then(|spec| spec.spec.as_ref());
    let devices = claim.and_then(|claim| claim.devices.as_ref());
    let mut all = Devices::new();
    for request in devices.iter().flat_map(|one| one.requests.iter().flatten()) {
        if let Some((class, count)) = of_request(request) {
            *all.entry(class).or_insert(0) += count;
        }
    }
    all
}

fn of_request(request: &DeviceRequest) -> Option<(String, i64)> {
    if let Some(exactly) = &request.exactly {
        let holds = exactly.admin_access != Some(true);
        let count = count(exactly.allocation_mode.as_deref(), exactly.count)?;
        return holds.then(|| (exactly.device_class_name.clone(), count));
    }
    let alternatives = request.first_available.iter().flatten();
    let counted: Option<Vec<_>> = alternatives
        .map(|one| {
            let count = count(one.allocation_mode.as_deref(), one.count)?;
            Some((one.device_class_name.clone(), count))
        })
        .collect();
    let gpus = |(class, count): &(String, i64)| if is_gpu_class(class) { *count } else { 0 };
    counted?.into_iter().min_by_key(gpus)
}

/// How many devices a request is for, where it says.
fn count(mode: Option<&str>, count: Option<i64>) -> Option<i64> {
    matches!(mode, None | Some("ExactCount")).then(|| count.unwrap_or(1))
}

/// Whether the devices of a DeviceClass are GPUs, or slices of one, told from its name: `gpu.nvidia.com`,
/// `mig.nvidia.com`, `gpu.intel.com`, `team-a-gpus`; not `compute-domain-default-channel.nvidia.com`.
pub fn is_gpu_class(class: &str) -> bool {
    class.contains("gpu") || class.split(['.', '-']).any(|word| word == "mig")
}

/// The templates that a pod makes its claims from, each with its place in the list; one that is named twice makes two.
pub fn templates(spec: &PodSpec) -> impl Iterator<Item = (usize, &str)> {
    let claims = spec.resource_claims.iter().flatten().enumerate();
    claims.filter_map(|(at, claim)| Some((at, claim.resource_claim_template_name.as_deref()?)))
}

/// The GPUs that a pod's own claims ask for, by DeviceClass. `known` are the templates of its namespace.
pub fn of_pod(spec: &PodSpec, known: &BTreeMap<String, Devices>) -> Devices {
    let mut all = Devices::new();
    let named = templates(spec).filter_map(|(_, name)| known.get(name));
    for (class, count) in named.flatten().filter(|(class, _)| is_gpu_class(class)) {
        *all.entry(class.clone()).or_insert(0) += count;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;
    use serde_json::{Value, json};

    fn template(requests: &Value) -> ResourceClaimTemplate {
        object(
            json!({"metadata": {"name": "t"}, "spec": {"spec": {"devices": {"requests": requests}}}}),
        )
    }

    fn exactly(class: &str, more: &Value) -> Value {
        let mut request = json!({"deviceClassName": class});
        let (Value::Object(all), Value::Object(more)) = (&mut request, more.clone()) else {
            panic!("objects")
        };
        all.extend(more);
        json!({"name": "r", "exactly": request})
    }

    #[test]
    fn what_a_template_gives_for_sure_is_counted_by_class() {
        let gpu = "gpu.nvidia.com";
        let either = |one: (&str, Value), other: (&str, Value)| {
            let each = |(class, count): (&str, Value)| json!({"name": "a", "deviceClassName": class, "count": count});
            json!({"name": "r", "firstAvailable": [each(one), each(other)]})
        };
        let rows = [
            (json!([exactly(gpu, &json!({}))]), vec![(gpu, 1)]),
            (
                json!([exactly(
                    gpu,
                    &json!({"allocationMode": "ExactCount", "count": 4})
                )]),
                vec![(gpu, 4)],
            ),
            (
                json!([
                    exactly(gpu, &json!({"count": 2})),
                    exactly(gpu, &json!({"count": 3})),
                    exactly("nic.example.com", &json!({}))
                ]),
                vec![(gpu, 5), ("nic.example.com", 1)],
            ),
            (
                json!([exactly(gpu, &json!({"allocationMode": "All"}))]),
                vec![],
            ),
            (json!([exactly(gpu, &json!({"adminAccess": true}))]), vec![]),
            (
                json!([either((gpu, json!(2)), ("mig.nvidia.com", json!(1)))]),
                vec![("mig.nvidia.com", 1)],
            ),
            (
                json!([either((gpu, json!(2)), ("cpu.example.com", json!(64)))]),
                vec![("cpu.example.com", 64)],
            ),
            (
                json!([{"name": "r", "firstAvailable": [{"name": "a", "deviceClassName": gpu, "allocationMode": "All"}, {"name": "b", "deviceClassName": gpu}]}]),
                vec![],
            ),
            (json!([]), vec![]),
        ];
        for (requests, expected) in rows {
            let mut whole = template(&requests);
            let expected: Devices = expected
                .into_iter()
                .map(|(class, count)| (class.to_owned(), count))
                .collect();
            assert_eq!(devices(&whole), expected, "{requests}");
            trim(&mut whole);
            assert_eq!(
                devices(&whole),
                expected,
                "{requests}, as the cache holds it"
            );
        }
    }

    #[test]
    fn what_nothing_reads_is_not_kept() {
        let selectors = json!([{"cel": {"expression": "device.driver == 'gpu.nvidia.com'"}}]);
        let mut whole = template(&json!([
            exactly("gpu.nvidia.com", &json!({"selectors": selectors, "capacity": {"requests": {"memory": "40Gi"}}, "tolerations": [{"operator": "Exists"}]})),
            {"name": "r", "firstAvailable": [{"name": "a", "deviceClassName": "gpu.nvidia.com", "selectors": selectors}]}
        ]));
        trim(&mut whole);
        let kept = serde_json::to_string(&whole).expect("JSON");
        for gone in ["selectors", "capacity", "tolerations"] {
            assert!(!kept.contains(gone), "{kept}");
        }
    }

    #[test]
    fn gpus_are_told_from_other_devices_by_the_name_of_their_class() {
        for gpu in [
            "gpu.nvidia.com",
            "mig.nvidia.com",
            "gpu.intel.com",
            "vfio.gpu.nvidia.com",
            "team-a-gpus",
            "a100-mig",
        ] {
            assert!(is_gpu_class(gpu), "{gpu}");
        }
        for other in [
            "compute-domain-default-channel.nvidia.com",
            "tpu.google.com",
            "nic.example.com",
            "migration.example.com",
            "",
        ] {
            assert!(!is_gpu_class(other), "{other}");
        }
    }

    #[test]
    fn a_pod_holds_what_its_own_claims_ask_for_and_not_what_it_shares() {
        let known: BTreeMap<String, Devices> = [
            (
                "four".to_owned(),
                [
                    ("gpu.nvidia.com".to_owned(), 4),
                    ("nic.example.com".to_owned(), 1),
                ]
                .into(),
            ),
            (
                "slice".to_owned(),
                [("mig.nvidia.com".to_owned(), 1)].into(),
            ),
        ]
        .into();
        let claim = |kind: &str, name: &str| json!({"name": name, kind: name});
        let spec: PodSpec = object(json!({"containers": [], "resourceClaims": [
            claim("resourceClaimTemplateName", "four"), claim("resourceClaimTemplateName", "four"),
            claim("resourceClaimTemplateName", "slice"), claim("resourceClaimTemplateName", "gone"),
            claim("resourceClaimName", "four")
        ]}));
        let expected = [
            ("gpu.nvidia.com".to_owned(), 8),
            ("mig.nvidia.com".to_owned(), 1),
        ];
        assert_eq!(of_pod(&spec, &known), expected.into());
        assert_eq!(
            templates(&spec).collect::<Vec<_>>(),
            [(0, "four"), (1, "four"), (2, "slice"), (3, "gone")]
        );
    }
}
