//! How many pods are asked for, and what changes that by the load.
//!
//! ```text
//!   CPU ─────────────────────────────────────────────────────────> HorizontalPodAutoscaler
//!   Concurrency, Latency ─┬─ KEDA is there, Prometheus is known ─> ScaledObject
//!                         ├─ an adapter serves metrics of pods ──> HorizontalPodAutoscaler
//!                         └─ neither ────────────────────────────> Autoscaled is False, and says what is missing
//! ```

use kube::ResourceExt;
use windlass_api::{Autoscaling, ModelDeploymentStatus, ScalingMetric, condition, find_condition};

use super::Reconcile;
use crate::conditions::Truth;
use crate::modeldeployment::autoscaling::{
    CUSTOM_METRICS_GROUP, HORIZONTAL, KEDA_GROUP, KEDA_VERSION, horizontal, scaled,
};
use crate::{Child, Doomed, Note, Plan, Problem, Step};

/// What the condition Autoscaled says.
pub(super) struct Autoscaled {
    pub(super) truth: Truth,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Reconcile<'_> {
    /// Pods that are asked for. What is written may lie outside of bounds that were changed since, or were not asked when it
    /// was made: the autoscaler would bring it there.
    pub(super) fn replicas(&self) -> i32 {
        let spec = &self.deployment.spec;
        let Some(Autoscaling {
            min_replicas,
            max_replicas,
            ..
        }) = spec.autoscaling
        else {
            return spec.replicas;
        };
        spec.replicas.min(max_replicas).max(min_replicas)
    }

    /// Plans that what changes the number of pods is there, and nothing else of it.
    pub(super) fn autoscale(&self, plan: &mut Plan<ModelDeploymentStatus>) {
        let wanted = self.autoscaler(&plan.status);
        let known = &self.observed.autoscalers;
        let by = wanted.as_ref().and_then(|wanted| wanted.as_ref().ok());
        // Two that pull at the same figure would never come to rest: the other goes first.
        let name = self.deployment.name_any();
        if known.horizontal.is_some() && !matches!(by, Some(Child::HorizontalPodAutoscaler(_))) {
            let doomed = Doomed::HorizontalPodAutoscaler(name.clone());
            plan.steps.push(Step::Delete(doomed));
        }
        if known.scaled.is_some() && !matches!(by, Some(Child::ScaledObject(_))) {
            plan.steps.push(Step::Delete(Doomed::ScaledObject(name)));
        }
        match wanted {
            Some(Ok(child)) => plan.steps.push(Step::Apply(child)),
            Some(Err(problem)) if !self.is_told(&problem) => {
                plan.notes
                    .push(Note::warning(&problem.reason, problem.message));
            }
            Some(Err(_)) | None => {}
        }
    }

    fn is_told(&self, problem: &Problem) -> bool {
        let before = find_condition(&self.before.conditions, condition::AUTOSCALED);
        before.is_some_and(|before| before.reason == problem.reason)
    }

    /// What the condition Autoscaled says; absent where nothing is asked for.
    pub(super) fn autoscaled(&self, status: &ModelDeploymentStatus) -> Option<Autoscaled> {
        let autoscaling = self.deployment.spec.autoscaling.as_ref()?;
        let by = match self.autoscaler(status)? {
            Ok(Child::ScaledObject(_)) => "ScaledObject",
            Ok(_) => HORIZONTAL,
            Err(Problem { reason, message }) => {
                return Some(Autoscaled {
                    truth: Truth::False,
                    reason,
                    message,
                });
            }
        };
        let Some((reason, message)) = self.observed.autoscalers.complaint() else {
            return Some(Autoscaled {
                truth: Truth::True,
                reason: by.to_owned(),
                message: format!(
                    "between {} and {} pods, by the {by} {}: {} of {}",
                    autoscaling.min_replicas,
                    autoscaling.max_replicas,
                    self.deployment.name_any(),
                    metric_name(autoscaling.metric),
                    autoscaling.target
                ),
            });
        };
        // What it says may have other numbers at each reading; nobody is told of that.
        let before = find_condition(&self.before.conditions, condition::AUTOSCALED);
        let same = before.filter(|before| before.reason == reason && before.status == "False");
        Some(Autoscaled {
            truth: Truth::False,
            message: same.map_or(message, |before| before.message.clone()),
            reason,
        })
    }

    /// What is to change the number of pods, or what is missing for it; nothing where that is not asked for.
    fn autoscaler(&self, status: &ModelDeploymentStatus) -> Option<Result<Child, Problem>> {
        let autoscaling = self.deployment.spec.autoscaling.as_ref()?;
        let by_pods = || {
            let child = horizontal(self.deployment, autoscaling);
            Ok(Child::HorizontalPodAutoscaler(Box::new(child)))
        };
        let known = &self.observed.autoscalers;
        let has_adapter = known.has_adapter || known.goes_by_adapter();
        let metric = metric_name(autoscaling.metric);
        let until = format!(
            "until then there are as many pods as spec.replicas asks for, {}",
            self.replicas()
        );
        Some(
            match (autoscaling.metric, &known.prometheus, known.has_keda) {
                (ScalingMetric::Cpu, _, _) if !requests_cpu(status) => Err(Problem::new(
                    "NoCPURequest",
                    format!(
                        "spec.autoscaling.metric: CPU is counted in percent of what the model server requests, and it requests none: give it resources.requests.cpu, in the first container of spec.template or in the runtime preset; {until}"
                    ),
                )),
                (ScalingMetric::Cpu, _, _) => by_pods(),
                (ScalingMetric::Concurrency | ScalingMetric::Latency, Some(address), true) => {
                    let child = scaled(self.deployment, autoscaling, address);
                    Ok(Child::ScaledObject(Box::new(child)))
                }
                _ if has_adapter => by_pods(),
                (_, None, true) => Err(Problem::new(
                    "PrometheusNotConfigured",
                    format!(
                        "spec.autoscaling.metric: KEDA is there, and {metric} is asked of a Prometheus, of which the operator knows none: give its address (prometheus.url of the chart, --prometheus-url); {until}"
                    ),
                )),
                (_, _, false) => Err(Problem::new(
                    "AutoscalerNotFound",
                    format!(
                        "spec.autoscaling.metric: for {metric} this cluster serves neither KEDA's ScaledObjects ({KEDA_GROUP}/{KEDA_VERSION}) nor metrics of pods ({CUSTOM_METRICS_GROUP}): install KEDA, or an adapter such as prometheus-adapter, or choose the metric CPU; {until}"
                    ),
                )),
            },
        )
    }
}

/// As it is written in a manifest.
fn metric_name(metric: ScalingMetric) -> &'static str {
    match metric {
        ScalingMetric::Cpu => "CPU",
        ScalingMetric::Concurrency => "Concurrency",
        ScalingMetric::Latency => "Latency",
    }
}

/// Whether the model server requests CPU, or has a limit, which is a request too; not known before there is a version.
fn requests_cpu(status: &ModelDeploymentStatus) -> bool {
    status.resolved.as_ref().is_none_or(|resolved| {
        ["requests", "limits"].iter().any(|kind| {
            let path = format!("/spec/containers/0/resources/{kind}/cpu");
            resolved.template.0.pointer(&path).is_some()
        })
    })
}
