//! A user's pod template, read strictly: the schema leaves it open, so what is wrong in it is found and named here.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile,
    SecurityContext,
};
use serde_json::Value;
use windlass_api::PodTemplate;

use crate::Problem;

/// User and group of pods that name none.
pub const USER: i64 = 65532;

/// Reads a template; `field` is its path in the manifest.
///
/// # Errors
/// Where a field has the wrong type or is not known, with the field's path.
pub fn parse(field: &str, template: &PodTemplate) -> Result<PodTemplateSpec, Problem> {
    let typed: PodTemplateSpec = serde_json::from_value(template.0.clone()).map_err(|error| {
        Problem::new(
            "InvalidTemplate",
            format!("{field}: is not a pod template: {error}"),
        )
    })?;
    let read = serde_json::to_value(&typed).expect("a pod template always serializes");
    if let Some(path) = unknown(&template.0, &read) {
        return Err(Problem::new(
            "InvalidTemplate",
            format!(
                "{field}{path}: is not a field of a pod template; see `kubectl explain pod{path}`"
            ),
        ));
    }
    if typed
        .spec
        .as_ref()
        .is_none_or(|spec| spec.containers.is_empty())
    {
        return Err(Problem::new(
            "InvalidTemplate",
            format!("{field}.spec.containers: has to have at least one container"),
        ));
    }
    Ok(typed)
}

/// The path of the first field that was written and not read.
fn unknown(written: &Value, read: &Value) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            written.iter().find_map(|(key, value)| match read.get(key) {
                Some(read) => unknown(value, read).map(|path| format!(".{key}{path}")),
                None => (!value.is_null()).then(|| format!(".{key}")),
            })
        }
        (Value::Array(written), Value::Array(read)) => written
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(at, (written, read))| {
                unknown(written, read).map(|path| format!("[{at}]{path}"))
            }),
        _ => None,
    }
}

/// Fills in what the *restricted* Pod Security Standard asks for, where the user said nothing.
pub fn harden(spec: &mut PodSpec) {
    let pod = spec
        .security_context
        .get_or_insert_with(PodSecurityContext::default);
    pod.run_as_non_root.get_or_insert(true);
    pod.run_as_user.get_or_insert(USER);
    pod.run_as_group.get_or_insert(USER);
    pod.fs_group.get_or_insert(USER);
    pod.seccomp_profile.get_or_insert_with(|| SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    });
    spec.automount_service_account_token.get_or_insert(false);
    spec.containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
        .for_each(harden_container);
}

fn harden_container(container: &mut Container) {
    let context = container
        .security_context
        .get_or_insert_with(SecurityContext::default);
    context.allow_privilege_escalation.get_or_insert(false);
    context.capabilities.get_or_insert_with(|| Capabilities {
        drop: Some(vec!["ALL".to_owned()]),
        add: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_in_a_template_is_named_by_its_path() {
        let rows = [
            (
                json!({"spec": {"containers": [{"name": "a", "image": "b", "imagePullpolicy": "Never"}]}}),
                "workers.template.spec.containers[0].imagePullpolicy",
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "image": "b"}], "nodeselector": {}}}),
                "workers.template.spec.nodeselector",
            ),
            (
                json!({"spec": {"containers": "a"}}),
                "workers.template: is not a pod template",
            ),
            (
                json!({"spec": {"containers": []}}),
                "workers.template.spec.containers",
            ),
        ];
        for (template, expected) in rows {
            let problem = parse("workers.template", &PodTemplate(template)).expect_err(expected);
            assert!(
                problem.message.starts_with(expected),
                "{} should start with {expected}",
                problem.message
            );
        }
    }

    #[test]
    fn what_the_user_said_of_security_is_kept() {
        let template = json!({"spec": {"securityContext": {"runAsUser": 7}, "containers": [{"name": "a", "image": "b"}]}});
        let mut spec = parse("t", &PodTemplate(template))
            .expect("valid")
            .spec
            .expect("a spec");
        harden(&mut spec);
        let pod = spec.security_context.expect("a context");
        assert_eq!(
            (pod.run_as_user, pod.run_as_non_root),
            (Some(7), Some(true))
        );
        assert_eq!(
            spec.containers[0]
                .security_context
                .as_ref()
                .and_then(|c| c.allow_privilege_escalation),
            Some(false)
        );
    }
}
