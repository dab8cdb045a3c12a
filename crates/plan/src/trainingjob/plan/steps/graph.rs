//! The order of steps, told from who names whom.

use windlass_api::TrainingStep;

use crate::Problem;

/// The steps that a step waits for: those whose output it reads, and those that it only names. Names of inputs are left out.
pub fn awaited<'a>(
    step: &'a TrainingStep,
    steps: &'a [TrainingStep],
) -> impl Iterator<Item = &'a TrainingStep> {
    let names = step.inputs.iter().chain(&step.depends_on);
    names.filter_map(|name| steps.iter().find(|one| one.name == *name))
}

/// The steps, each after those that it waits for.
///
/// # Errors
/// Where steps wait for each other in a circle, which is named.
pub fn order(steps: &[TrainingStep]) -> Result<Vec<&TrainingStep>, Problem> {
    let mut ordered: Vec<&TrainingStep> = Vec::new();
    let is_in = |ordered: &[&TrainingStep], step: &TrainingStep| {
        ordered.iter().any(|one| one.name == step.name)
    };
    while ordered.len() < steps.len() {
        let next = steps.iter().find(|step| {
            !is_in(&ordered, step) && awaited(step, steps).all(|one| is_in(&ordered, one))
        });
        match next {
            Some(next) => ordered.push(next),
            None => return Err(circle(steps, |step| !is_in(&ordered, step))),
        }
    }
    Ok(ordered)
}

/// A circle among the steps that are left, each of which waits for another that is left.
fn circle(steps: &[TrainingStep], is_left: impl Fn(&TrainingStep) -> bool) -> Problem {
    let mut path: Vec<&TrainingStep> = Vec::new();
    let mut next = steps.iter().find(|step| is_left(step));
    while let Some(step) = next {
        let begin = path.iter().position(|one| one.name == step.name);
        path.push(step);
        if let Some(begin) = begin {
            path.drain(..begin);
            break;
        }
        next = awaited(step, steps).find(|one| is_left(one));
    }
    // It was walked against the data's way.
    let names: Vec<&str> = path.iter().rev().map(|step| step.name.as_str()).collect();
    Problem::new(
        "StepCycle",
        format!(
            "spec.steps: {}: these wait for each other, and none can ever begin; make a TrainingJob without the circle",
            names.join(" → ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;
    use serde_json::json;

    fn steps(rows: &[(&str, &[&str], &[&str])]) -> Vec<TrainingStep> {
        let step = |(name, inputs, depends_on): &(&str, &[&str], &[&str])| {
            object(json!({"name": name, "inputs": inputs, "dependsOn": depends_on, "template": {}}))
        };
        rows.iter().map(step).collect()
    }

    #[test]
    fn each_step_comes_after_those_that_it_waits_for() {
        let all = steps(&[
            ("join", &["extract", "raw"], &["label"]),
            ("extract", &["raw"], &[]),
            ("label", &["extract"], &[]),
        ]);
        let names: Vec<&str> = order(&all)
            .expect("none")
            .iter()
            .map(|step| &*step.name)
            .collect();
        assert_eq!(names, ["extract", "label", "join"]);
        assert_eq!(order(&[]).expect("none").len(), 0);
    }

    #[test]
    fn a_circle_is_named_and_nothing_else() {
        let all = steps(&[
            ("first", &[], &[]),
            ("extract", &["first", "features"], &[]),
            ("features", &["extract"], &[]),
            ("last", &["features"], &[]),
        ]);
        let said = order(&all).expect_err("a circle").message;
        assert!(
            said.starts_with("spec.steps: extract → features → extract: "),
            "{said}"
        );
        let three = steps(&[
            ("z", &["c"], &[]),
            ("c", &[], &["b"]),
            ("b", &["a"], &[]),
            ("a", &["c"], &[]),
        ]);
        let said = order(&three).expect_err("a circle").message;
        assert!(
            said.starts_with("spec.steps: c → a → b → c: ")
                || said.starts_with("spec.steps: c → b"),
            "{said}"
        );
    }
}
