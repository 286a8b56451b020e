//! Statuses and the ways between them.

use serde_json::{Value, json};

/// JIRA's kinds of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// To do.
    New,
    /// In progress.
    Indeterminate,
    /// Done.
    Done,
}

impl Category {
    /// `statusCategory.key`.
    pub fn key(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Indeterminate => "indeterminate",
            Self::Done => "done",
        }
    }

    /// The name people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "To Do",
            Self::Indeterminate => "In Progress",
            Self::Done => "Done",
        }
    }

    pub(super) fn json(self) -> Value {
        let id = match self {
            Self::New => 2,
            Self::Done => 3,
            Self::Indeterminate => 4,
        };
        json!({"id": id, "key": self.key(), "name": self.name()})
    }
}

/// One status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusDef {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub category: Category,
}

impl StatusDef {
    pub(super) fn json(&self, base: &str) -> Value {
        json!({
            "self": format!("{base}rest/api/3/status/{}", self.id),
            "name": self.name,
            "id": self.id.to_string(),
            "statusCategory": self.category.json(),
        })
    }
}

/// One way from one status (or any) to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitionDef {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// From which statuses; empty: from all.
    pub from: Vec<String>,
    /// To which status.
    pub to: String,
    /// Fields that must be given: id → allowed values.
    pub required: Vec<(String, Vec<String>)>,
}

/// A workflow; new issues get the first status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// Its statuses.
    pub statuses: Vec<StatusDef>,
    /// The ways between them.
    pub transitions: Vec<TransitionDef>,
}

impl Workflow {
    /// Builds one from (status, kind) and (from, to) pairs; `*` is any status.
    pub fn new(statuses: &[(&str, Category)], ways: &[(&str, &str)]) -> Self {
        let status = |(n, (name, category)): (u32, &(&str, Category))| StatusDef {
            id: 10_000 + n,
            name: (*name).to_owned(),
            category: *category,
        };
        let way = |(n, (from, to)): (u32, &(&str, &str))| TransitionDef {
            id: 11 + 10 * n,
            name: (*to).to_owned(),
            from: if *from == "*" {
                Vec::new()
            } else {
                vec![(*from).to_owned()]
            },
            to: (*to).to_owned(),
            required: Vec::new(),
        };
        Self {
            statuses: (0..).zip(statuses).map(status).collect(),
            transitions: (0..).zip(ways).map(way).collect(),
        }
    }

    /// The default of a new project: To Do, In Progress, Done, from everywhere to everywhere.
    pub fn simple() -> Self {
        use Category::{Done, Indeterminate, New};
        Self::new(
            &[
                ("To Do", New),
                ("In Progress", Indeterminate),
                ("Done", Done),
            ],
            &[("*", "To Do"), ("*", "In Progress"), ("*", "Done")],
        )
    }

    /// JIRA's old default with its five statuses; resolving asks for a resolution.
    pub fn classic() -> Self {
        use Category::{Done, Indeterminate, New};
        let mut workflow = Self::new(
            &[
                ("Open", New),
                ("In Progress", Indeterminate),
                ("Resolved", Done),
                ("Reopened", New),
                ("Closed", Done),
            ],
            &[
                ("Open", "In Progress"),
                ("In Progress", "Open"),
                ("Open", "Resolved"),
                ("In Progress", "Resolved"),
                ("Reopened", "Resolved"),
                ("Reopened", "In Progress"),
                ("Resolved", "Reopened"),
                ("Closed", "Reopened"),
                ("Resolved", "Closed"),
            ],
        );
        workflow.require("Resolved", "resolution", &["Won't Do", "Done", "Duplicate"]);
        workflow
    }

    /// Every way to `to` asks for `field`.
    pub fn require(&mut self, to: &str, field: &str, values: &[&str]) {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        for way in self.transitions.iter_mut().filter(|way| way.to == to) {
            way.required.push((field.to_owned(), values.clone()));
        }
    }

    /// A status by its name.
    pub fn status(&self, name: &str) -> Option<&StatusDef> {
        self.statuses.iter().find(|status| status.name == name)
    }

    /// The ways out of a status.
    pub fn from<'a>(&'a self, status: &'a str) -> impl Iterator<Item = &'a TransitionDef> {
        self.transitions
            .iter()
            .filter(move |way| way.from.is_empty() || way.from.iter().any(|from| from == status))
    }
}

impl TransitionDef {
    pub(super) fn json(&self, workflow: &Workflow, base: &str, with_fields: bool) -> Value {
        let to = workflow
            .status(&self.to)
            .map(|status| status.json(base))
            .unwrap_or_default();
        let mut transition = json!({
            "id": self.id.to_string(), "name": self.name, "to": to,
            "hasScreen": !self.required.is_empty(), "isGlobal": self.from.is_empty(), "isInitial": false,
            "isAvailable": true, "isConditional": false, "isLooped": false,
        });
        if with_fields && let Some(transition) = transition.as_object_mut() {
            let fields = self
                .required
                .iter()
                .map(|(field, values)| (field.clone(), field_json(field, values)))
                .collect();
            transition.insert("fields".to_owned(), Value::Object(fields));
        }
        transition
    }
}

fn field_json(field: &str, values: &[String]) -> Value {
    let allowed: Vec<Value> = (1..)
        .zip(values)
        .map(|(id, name)| json!({"id": value_id(id), "name": name}))
        .collect();
    json!({
        "required": true, "hasDefaultValue": false, "key": field, "name": field, "operations": ["set"],
        "schema": {"type": "resolution", "system": field}, "allowedValues": allowed,
    })
}

/// The id of the nth allowed value.
pub(super) fn value_id(n: u32) -> String {
    (10_000 + n).to_string()
}
