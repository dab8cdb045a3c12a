//! The objects that live while faults befall them, some of each kind.

use serde_json::{Value, json};

use crate::rollouts::{NAME, RollOut};

/// A TrainingJob of so many workers.
pub fn training(name: &str, replicas: u32) -> Value {
    let container =
        json!({"name": "trainer", "image": "localhost/busybox:test", "command": ["train"]});
    let mut workers =
        json!({"replicas": replicas, "template": {"spec": {"containers": [container]}}});
    let framework = if replicas > 1 { "PyTorch" } else { "Plain" };
    if replicas == 1 {
        workers["template"]["metadata"] = json!({"labels": {"test": "plain"}});
    }
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name},
        "spec": {"framework": framework, "workers": workers},
    })
}

/// A monitor of the deployment whose roll-out is under way.
fn monitor() -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor", "metadata": {"name": NAME},
        "spec": {"deployment": NAME, "window": {"every": "1h", "size": "1h"}, "mode": "Observe"},
    })
}

fn list(namespace: &str, mut items: Vec<Value>) -> Value {
    for item in &mut items {
        item["metadata"]["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// What is there before the fault: two versions, the first of which is to serve.
pub fn before(namespace: &str) -> Value {
    RollOut::Replicas.objects(namespace)
}

/// What comes with it: trainings of one worker and of two, and a monitor.
pub fn with_it(namespace: &str) -> Value {
    let trainings = (0..3).flat_map(|at| {
        let one = training(&format!("one-{at}"), 1);
        [one, training(&format!("two-{at}"), 2)]
    });
    list(namespace, trainings.chain([monitor()]).collect())
}
