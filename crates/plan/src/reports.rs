//! How long an agent's report may be in a pod: the kubelet cuts what is longer, and a cut report is none.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use windlass_api::agent::{MAX_POD_REPORT_BYTES, MAX_REPORT_BYTES, environment};

use crate::pods::variable;

/// Containers that a service mesh may add to a pod without asking.
const INJECTED: usize = 2;

/// Tells every agent in a pod, which is whole but for this, how long its report may be.
pub fn limit(spec: &mut PodSpec) {
    let init = spec.init_containers.as_ref().map_or(0, Vec::len);
    let containers = spec.containers.len() + init + INJECTED;
    let bytes = (MAX_POD_REPORT_BYTES / containers).min(MAX_REPORT_BYTES);
    let all = spec.init_containers.iter_mut().flatten();
    for container in all.chain(&mut spec.containers).filter(|one| is_agent(one)) {
        let value = variable(environment::REPORT_BYTES, bytes.to_string());
        container.env.get_or_insert_default().push(value);
    }
}

/// Whether a container runs the agent, from its image or copied into the pod.
fn is_agent(container: &Container) -> bool {
    let command = container.command.iter().flatten().next();
    command.is_some_and(|program| program.ends_with("/windlass-agent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, program: &str) -> Container {
        Container {
            name: name.to_owned(),
            command: Some(vec![program.to_owned()]),
            ..Container::default()
        }
    }

    #[test]
    fn the_reports_of_all_containers_fit_and_only_agents_are_told() {
        let agent = |name: &str| container(name, "/windlass-agent");
        let server = |name: &str| container(name, "mlserver");
        let rows = [
            (vec![], 4096),
            (vec![agent("fetch"), server("server")], 2457),
            (vec![agent("a"), server("b"), agent("c"), server("d")], 1755),
        ];
        for (init, expected) in rows {
            let mut spec = PodSpec {
                containers: vec![agent("agent")],
                init_containers: Some(init),
                ..PodSpec::default()
            };
            limit(&mut spec);
            let all = spec.init_containers.into_iter().flatten();
            for one in all.chain(spec.containers) {
                let told = one.env.into_iter().flatten().find_map(|one| one.value);
                let is_agent = one
                    .command
                    .as_ref()
                    .is_some_and(|words| words[0] != "mlserver");
                assert_eq!(told, is_agent.then(|| expected.to_string()), "{}", one.name);
            }
        }
    }
}
