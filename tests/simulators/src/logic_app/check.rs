//! What the service checks when a definition is saved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::definition::{Action, Actions, Definition, DefinitionError};
use super::expression::{self, Expression, ExpressionError};

/// Action types this simulator can run.
const KINDS: [&str; 18] = [
    "ApiConnection",
    "AppendToArrayVariable",
    "AppendToStringVariable",
    "Compose",
    "DecrementVariable",
    "Foreach",
    "Http",
    "If",
    "IncrementVariable",
    "InitializeVariable",
    "ParseJson",
    "Query",
    "Response",
    "Scope",
    "Select",
    "SetVariable",
    "Switch",
    "Wait",
];
const STATUSES: [&str; 4] = ["Succeeded", "Failed", "Skipped", "TimedOut"];
const MAX_NESTING: usize = 8;
const MAX_ACTIONS: usize = 500;

/// Checks a definition as a whole, then each action.
pub(super) fn check(definition: &Definition) -> Result<(), DefinitionError> {
    let request = definition.triggers.len() == 1
        && definition
            .trigger()
            .is_some_and(|(_, trigger)| trigger.kind == "Request");
    if !request {
        return Err(DefinitionError::Workflow(
            "exactly one trigger of type Request is needed".to_owned(),
        ));
    }
    if !definition
        .schema
        .contains("/2016-06-01/workflowdefinition.json")
    {
        return Err(DefinitionError::Workflow(
            "the schema is not that of 2016-06-01".to_owned(),
        ));
    }
    let mut index = Index {
        definition,
        places: BTreeMap::new(),
        variables: BTreeSet::new(),
    };
    index.place(&definition.actions, &[], None)?;
    if index.places.len() > MAX_ACTIONS {
        return Err(DefinitionError::Workflow(format!(
            "more than {MAX_ACTIONS} actions"
        )));
    }
    index.places.keys().try_for_each(|name| index.check(name))
}

/// Where an action stands: inside which actions, among which siblings.
struct Place<'a> {
    action: &'a Action,
    ancestors: Vec<&'a str>,
    siblings: &'a Actions,
}

struct Index<'a> {
    definition: &'a Definition,
    places: BTreeMap<&'a str, Place<'a>>,
    variables: BTreeSet<String>,
}

fn wrong(action: &str, why: impl Into<String>) -> DefinitionError {
    DefinitionError::Action {
        action: action.to_owned(),
        why: why.into(),
    }
}

impl<'a> Index<'a> {
    fn place(
        &mut self,
        siblings: &'a Actions,
        ancestors: &[&'a str],
        parent: Option<&'a str>,
    ) -> Result<(), DefinitionError> {
        let ancestors: Vec<&str> = ancestors.iter().copied().chain(parent).collect();
        for (name, action) in siblings {
            if self
                .places
                .insert(
                    name,
                    Place {
                        action,
                        ancestors: ancestors.clone(),
                        siblings,
                    },
                )
                .is_some()
            {
                return Err(wrong(name, "the name is used twice"));
            }
            if ancestors.len() >= MAX_NESTING {
                return Err(wrong(name, "is nested too deep"));
            }
            if action.kind == "InitializeVariable" {
                if !ancestors.is_empty() {
                    return Err(wrong(
                        name,
                        "variables are initialised at the top level only",
                    ));
                }
                self.initialise(name, action)?;
            }
            for children in action.children() {
                self.place(children, &ancestors, Some(name))?;
            }
        }
        Ok(())
    }

    fn initialise(&mut self, name: &str, action: &Action) -> Result<(), DefinitionError> {
        let declared = action
            .inputs
            .get("variables")
            .and_then(Value::as_array)
            .map(Vec::as_slice);
        let Some([variable]) = declared else {
            return Err(wrong(name, "declares exactly one variable"));
        };
        let (variable_name, kind) = (
            variable.get("name").and_then(Value::as_str),
            variable.get("type").and_then(Value::as_str),
        );
        let (
            Some(variable_name),
            Some("string" | "integer" | "float" | "boolean" | "array" | "object"),
        ) = (variable_name, kind)
        else {
            return Err(wrong(name, "needs a name and a type"));
        };
        if !self.variables.insert(variable_name.to_owned()) {
            return Err(wrong(
                name,
                format!("the variable '{variable_name}' is declared twice"),
            ));
        }
        Ok(())
    }

    fn check(&self, name: &str) -> Result<(), DefinitionError> {
        let Some(place) = self.places.get(name) else {
            return Ok(());
        };
        let action = place.action;
        if !KINDS.contains(&action.kind.as_str())
            && !matches!(action.kind.as_str(), "Terminate" | "Until")
        {
            return Err(wrong(
                name,
                format!("the type '{}' is not known here", action.kind),
            ));
        }
        for (before, statuses) in &action.run_after {
            if !place.siblings.contains_key(before) {
                return Err(wrong(
                    name,
                    format!("runs after '{before}', which is not beside it"),
                ));
            }
            if statuses.is_empty()
                || !statuses
                    .iter()
                    .all(|status| STATUSES.iter().any(|s| s.eq_ignore_ascii_case(status)))
            {
                return Err(wrong(name, "has a status in runAfter that does not exist"));
            }
        }
        if place
            .siblings
            .iter()
            .all(|(_, sibling)| !sibling.run_after.is_empty())
        {
            return Err(wrong(name, "no action beside it can run first"));
        }
        let in_loop = place.ancestors.iter().any(|outer| {
            self.places
                .get(outer)
                .is_some_and(|outer| outer.action.is_loop())
        });
        if in_loop && matches!(action.kind.as_str(), "Terminate" | "Response") {
            return Err(wrong(name, "cannot stand inside a loop"));
        }
        if action.kind == "Until"
            && (action.limit.count.is_none() || action.limit.timeout.is_none())
        {
            return Err(wrong(name, "a loop needs both limits, count and timeout"));
        }
        self.check_variable(name, action)?;
        for template in action.own_templates() {
            let found = expression::expressions(template)
                .map_err(|error| wrong(name, error.to_string()))?;
            for expression in found {
                self.check_expression(name, place, &expression)?;
            }
        }
        Ok(())
    }

    fn check_variable(&self, name: &str, action: &Action) -> Result<(), DefinitionError> {
        if !action.kind.ends_with("Variable") || action.kind == "InitializeVariable" {
            return Ok(());
        }
        let Some(variable) = action.inputs.get("name").and_then(Value::as_str) else {
            return Err(wrong(name, "does not name its variable"));
        };
        if !self.variables.contains(variable) {
            return Err(wrong(
                name,
                format!("the variable '{variable}' is not initialised"),
            ));
        }
        let value = action.inputs.get("value").cloned().unwrap_or_default();
        let mut itself = false;
        for expression in
            expression::expressions(&value).map_err(|error| wrong(name, error.to_string()))?
        {
            expression.visit(&mut |inner| itself |= named(inner) == Some(("variables", variable)));
        }
        if itself && action.kind == "SetVariable" {
            return Err(wrong(name, "a variable cannot be set from itself"));
        }
        Ok(())
    }

    fn check_expression(
        &self,
        name: &str,
        place: &Place<'_>,
        expression: &Expression,
    ) -> Result<(), DefinitionError> {
        let mut fault = None;
        expression.visit(&mut |inner| {
            if let Expression::Call { function, .. } = inner
                && !expression::is_known(function, &super::engine::Nowhere)
            {
                fault = Some(ExpressionError::UnknownFunction(function.clone()).to_string());
            }
            let why = match named(inner) {
                Some(("variables", variable)) if !self.variables.contains(variable) => {
                    "the variable is not initialised"
                }
                Some(("parameters", parameter))
                    if !self.definition.parameters.contains_key(parameter) =>
                {
                    "the parameter is not declared"
                }
                Some(("body" | "outputs" | "actions" | "result", other)) => {
                    match self.reach(name, place, other) {
                        Ok(()) => return,
                        Err(why) => why,
                    }
                }
                Some(("items", outer)) if !place.ancestors.contains(&outer) => {
                    "the loop is not around this action"
                }
                _ => return,
            };
            fault = Some(format!("{inner:?}: {why}"));
        });
        fault.map_or(Ok(()), |why| Err(wrong(name, why)))
    }

    /// May `place` read the action `other`? It must have run before, on the `runAfter` path of this
    /// action or of one around it, and not inside a loop that this action is not in.
    fn reach(&self, name: &str, place: &Place<'_>, other: &str) -> Result<(), &'static str> {
        let Some(target) = self.places.get(other) else {
            return Err("the action does not exist");
        };
        let around: Vec<&str> = place.ancestors.iter().copied().chain([name]).collect();
        if target.ancestors.iter().any(|outer| {
            !around.contains(outer) && self.places.get(outer).is_some_and(|o| o.action.is_loop())
        }) {
            return Err("the action is inside a loop");
        }
        // A loop's own condition may read what is inside it.
        if place.action.is_loop() && target.ancestors.contains(&name) {
            return Ok(());
        }
        let whole: Vec<&str> = target.ancestors.iter().copied().chain([other]).collect();
        let on_path = around.iter().any(|step| {
            let Some(here) = self.places.get(step) else {
                return false;
            };
            whole.iter().any(|candidate| {
                here.siblings.contains_key(*candidate) && precedes(here.siblings, candidate, step)
            })
        });
        if on_path {
            Ok(())
        } else {
            Err("the action is not on the runAfter path")
        }
    }
}

/// Is `earlier` on the `runAfter` path of `later`, among these siblings?
fn precedes(siblings: &Actions, earlier: &str, later: &str) -> bool {
    let mut open = vec![later];
    let mut seen = BTreeSet::new();
    while let Some(step) = open.pop() {
        for before in siblings
            .get(step)
            .into_iter()
            .flat_map(|action| action.run_after.keys())
        {
            if before == earlier {
                return true;
            }
            if seen.insert(before.as_str()) {
                open.push(before);
            }
        }
    }
    false
}

/// `variables('x')` → `("variables", "x")`.
fn named(expression: &Expression) -> Option<(&str, &str)> {
    let Expression::Call {
        function,
        arguments,
    } = expression
    else {
        return None;
    };
    match arguments.as_slice() {
        [Expression::Literal(Value::String(name))] => Some((function, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(actions: &Value) -> Result<(), String> {
        let definition = json!({
            "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
            "contentVersion": "1.0.0.0",
            "parameters": {"host": {"type": "String"}},
            "triggers": {"manual": {"type": "Request", "kind": "Http", "inputs": {"schema": {}}}},
            "actions": actions,
        });
        Definition::parse(&definition)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn compose(inputs: &str, after: &Value) -> Value {
        json!({"type": "Compose", "inputs": inputs, "runAfter": after})
    }

    #[test]
    fn only_actions_on_the_path_can_be_read() {
        let after_a = json!({"A": ["Succeeded"]});
        assert_eq!(
            check(&json!({"A": compose("1", &json!({})), "B": compose("@outputs('A')", &after_a)})),
            Ok(())
        );
        let beside = check(
            &json!({"A": compose("1", &json!({})), "B": compose("@outputs('A')", &json!({}))}),
        )
        .unwrap_err();
        assert!(beside.contains("not on the runAfter path"), "{beside}");
        let scope = json!({"type": "Scope", "actions": {"In": compose("1", &json!({}))}});
        assert_eq!(
            check(&json!({"A": scope, "B": compose("@outputs('In')", &after_a)})),
            Ok(())
        );
        let until = json!({"type": "Until", "expression": "@equals(outputs('In'), '1')", "limit": {"count": 2, "timeout": "PT1H"},
            "actions": {"In": compose("1", &json!({}))}});
        assert_eq!(check(&json!({"A": until})), Ok(()));
        let outside =
            check(&json!({"A": until, "B": compose("@outputs('In')", &after_a)})).unwrap_err();
        assert!(outside.contains("inside a loop"), "{outside}");
    }

    #[test]
    fn what_the_service_refuses_is_refused() {
        for (actions, why) in [
            (
                json!({"A": {"type": "Compose", "inputs": 1, "runafter": {}}}),
                "unknown field",
            ),
            (json!({"A": {"type": "Nope"}}), "not known here"),
            (
                json!({"A": compose("1", &json!({"B": ["Succeeded"]}))}),
                "not beside it",
            ),
            (
                json!({"A": compose("1", &json!({})), "B": compose("1", &json!({"A": ["Done"]}))}),
                "does not exist",
            ),
            (
                json!({"A": compose("@nosuch()", &json!({}))}),
                "not defined",
            ),
            (
                json!({"A": compose("@variables('x')", &json!({}))}),
                "not initialised",
            ),
            (
                json!({"A": compose("@parameters('x')", &json!({}))}),
                "not declared",
            ),
            (
                json!({"A": {"type": "SetVariable", "inputs": {"name": "x", "value": 1}}}),
                "not initialised",
            ),
            (
                json!({"A": {"type": "Until", "expression": "@true", "actions": {}}}),
                "both limits",
            ),
            (
                json!({"A": {"type": "Scope", "actions": {"V": {"type": "InitializeVariable", "inputs": {"variables": [{"name": "x", "type": "string"}]}}}}}),
                "top level",
            ),
            (
                json!({
                    "V": {"type": "InitializeVariable", "inputs": {"variables": [{"name": "x", "type": "string"}]}},
                    "S": {"type": "SetVariable", "inputs": {"name": "x", "value": "@concat(variables('x'), '1')"}, "runAfter": {"V": ["Succeeded"]}},
                }),
                "from itself",
            ),
            (
                json!({"L": {"type": "Foreach", "foreach": "@createArray(1)", "actions": {"T": {"type": "Terminate", "inputs": {"runStatus": "Failed"}}}}}),
                "inside a loop",
            ),
        ] {
            let error = check(&actions).unwrap_err();
            assert!(error.contains(why), "{actions}: {error}");
        }
    }
}
