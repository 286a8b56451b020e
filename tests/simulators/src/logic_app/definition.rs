//! A workflow definition as the service accepts it: read strictly, then checked as it checks on saving.
//!
//! In: the JSON of `infra/playbooks/*.json` (or of the portal's code view). Out: a [`Definition`], or a
//! [`DefinitionError`] that names the action. The checks are those that would reject a deployment:
//! unknown action properties, `runAfter` to nowhere, expressions that read an action which is not on
//! the `runAfter` path, variables that are not initialised at the top, Terminate inside a loop.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::check;

/// Why a definition would not be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// It does not have the shape of a definition.
    #[error("the definition cannot be read: {0}")]
    Shape(String),
    /// One action is wrong.
    #[error("action '{action}': {why}")]
    Action {
        /// Its name.
        action: String,
        /// What is wrong.
        why: String,
    },
    /// Anything else.
    #[error("{0}")]
    Workflow(String),
}

pub(super) type Actions = BTreeMap<String, Action>;

/// A workflow definition.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Definition {
    #[serde(rename = "$schema")]
    pub(super) schema: String,
    #[serde(rename = "contentVersion")]
    pub(super) _content_version: String,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, Parameter>,
    pub(super) triggers: BTreeMap<String, Trigger>,
    pub(super) actions: Actions,
    #[serde(default, rename = "outputs")]
    pub(super) _outputs: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Parameter {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) default_value: Option<Value>,
    #[serde(default)]
    pub(super) allowed_values: Option<Vec<Value>>,
    #[serde(default, rename = "metadata")]
    pub(super) _metadata: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Trigger {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, rename = "kind")]
    pub(super) _kind: Option<String>,
    #[serde(default)]
    pub(super) inputs: Value,
    #[serde(default)]
    pub(super) operation_options: Option<String>,
    #[serde(default)]
    pub(super) runtime_configuration: RuntimeConfiguration,
    #[serde(default, rename = "conditions")]
    pub(super) _conditions: Vec<Value>,
    #[serde(default, rename = "correlation")]
    pub(super) _correlation: Value,
    #[serde(default, rename = "description")]
    pub(super) _description: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RuntimeConfiguration {
    #[serde(default)]
    pub(super) concurrency: Concurrency,
    #[serde(default)]
    pub(super) secure_data: SecureData,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Concurrency {
    #[serde(default)]
    pub(super) runs: Option<u32>,
    #[serde(default)]
    pub(super) maximum_waiting_runs: Option<u32>,
    #[serde(default, rename = "repetitions")]
    pub(super) _repetitions: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SecureData {
    #[serde(default)]
    pub(super) properties: BTreeSet<String>,
}

/// One action, a scope or a leaf.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Action {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, rename = "kind")]
    pub(super) _kind: Option<String>,
    #[serde(default)]
    pub(super) inputs: Value,
    #[serde(default)]
    pub(super) run_after: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) actions: Actions,
    #[serde(default, rename = "else")]
    pub(super) otherwise: Branch,
    #[serde(default)]
    pub(super) cases: BTreeMap<String, Case>,
    #[serde(default)]
    pub(super) default: Branch,
    #[serde(default)]
    pub(super) expression: Value,
    #[serde(default)]
    pub(super) foreach: Value,
    #[serde(default)]
    pub(super) limit: Limit,
    #[serde(default)]
    pub(super) runtime_configuration: RuntimeConfiguration,
    #[serde(default)]
    pub(super) operation_options: Option<String>,
    #[serde(default, rename = "description")]
    pub(super) _description: Option<String>,
    #[serde(default, rename = "metadata")]
    pub(super) _metadata: Value,
    #[serde(default, rename = "trackedProperties")]
    pub(super) _tracked_properties: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Branch {
    #[serde(default)]
    pub(super) actions: Actions,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) case: Value,
    #[serde(default)]
    pub(super) actions: Actions,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    #[serde(default)]
    pub(super) count: Option<u32>,
    #[serde(default)]
    pub(super) timeout: Option<String>,
}

impl Action {
    /// All lists of actions inside this one.
    pub(super) fn children(&self) -> impl Iterator<Item = &Actions> {
        let cases = self.cases.values().map(|case| &case.actions);
        [
            &self.actions,
            &self.otherwise.actions,
            &self.default.actions,
        ]
        .into_iter()
        .chain(cases)
    }

    pub(super) fn is_loop(&self) -> bool {
        matches!(self.kind.as_str(), "Foreach" | "Until")
    }

    pub(super) fn hides(&self, what: &str) -> bool {
        self.runtime_configuration
            .secure_data
            .properties
            .contains(what)
    }

    /// The parts of this action that hold expressions of its own (not of its children).
    pub(super) fn own_templates(&self) -> [&Value; 3] {
        [&self.inputs, &self.expression, &self.foreach]
    }
}

impl Definition {
    /// Reads and checks a definition.
    pub(super) fn parse(json: &Value) -> Result<Self, DefinitionError> {
        let definition: Self = serde_path_to_error::deserialize(json)
            .map_err(|error| DefinitionError::Shape(error.to_string()))?;
        check::check(&definition)?;
        Ok(definition)
    }

    /// The one Request trigger.
    pub(super) fn trigger(&self) -> Option<(&str, &Trigger)> {
        self.triggers
            .iter()
            .next()
            .map(|(name, trigger)| (name.as_str(), trigger))
    }
}
