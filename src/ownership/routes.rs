//! Where the failures of an owner are told: the rules of `OWNER_ROUTES`.

use std::collections::BTreeMap;

use crate::diagnosis::Severity;
use crate::ticket::Ticket;

/// Stands for what nobody owns.
pub const NOBODY: &str = "nobody";
/// Stands for every owner that has no route of its own.
const OTHERS: &str = "*";
/// Everybody who is there: mentioned for what is critical and has nobody else to mention.
const HERE: &str = "here";

/// Where an owner reads of its failures. What is absent is as for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The Slack channel: an id, or a name with or without `#`.
    pub slack: Option<String>,
    /// Whom a message mentions: Slack's ids of people and user groups, `here`, `channel`.
    pub mention: Vec<String>,
    /// The component of its JIRA issues.
    pub component: Option<String>,
    /// More labels of its JIRA issues.
    pub labels: Vec<String>,
    /// JIRA's account id of whom its issues are assigned to.
    pub assignee: Option<String>,
}

/// All routes, by owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(BTreeMap<String, Route>);

impl Routes {
    /// Adds one rule: `<owner>: <what>=<value>, …` with `slack`, `mention`, `component`, `labels` and `assignee`. The owner
    /// may be `nobody`, or `*` for all that are not named.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, rule: &str) -> Result<(), String> {
        let form = || {
            format!(
                "`{}` is not `<owner>: slack=<channel>, mention=<id>, component=<name>, labels=<label> <label>, assignee=<account id>`",
                rule.trim()
            )
        };
        let (owner, values) = rule.split_once(':').ok_or_else(form)?;
        let owner = owner.trim().to_lowercase();
        if owner.is_empty() || self.0.contains_key(&owner) {
            return Err(format!("`{owner}` is empty or named twice"));
        }
        let mut route = Route::default();
        for value in values.split(',').filter(|value| !value.trim().is_empty()) {
            let (name, value) = value.split_once('=').ok_or_else(form)?;
            let value = value.trim();
            if value.is_empty() {
                return Err(form());
            }
            let text = || Some(value.to_owned());
            match name.trim().to_ascii_lowercase().as_str() {
                "slack" => route.slack = text(),
                "mention" => route.mention = words(value),
                "component" => route.component = text(),
                "labels" | "label" => route.labels = words(value),
                "assignee" => route.assignee = text(),
                _ => return Err(form()),
            }
        }
        self.0.insert(owner, route);
        Ok(())
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The route of the owner of what failed.
    pub fn of(&self, ticket: &Ticket) -> Option<&Route> {
        let owner = ticket.owner.as_deref().unwrap_or(NOBODY).to_lowercase();
        let others = || self.0.get(OTHERS).filter(|_| owner != NOBODY);
        self.0.get(&owner).or_else(others)
    }

    /// Whom a message about this ticket mentions: its importance says so, else its owner's route.
    pub fn mentions<'a>(&'a self, ticket: &'a Ticket) -> Vec<&'a str> {
        let importance = ticket.importance.as_ref();
        if let Some(mention) = importance.and_then(|importance| importance.mention.as_ref()) {
            return mention.iter().map(String::as_str).collect();
        }
        let severity = importance.map(|importance| importance.severity);
        let owners = self.of(ticket).map_or(&[][..], |route| &route.mention);
        match severity {
            Some(Severity::Low) => Vec::new(),
            Some(Severity::Critical) if owners.is_empty() => vec![HERE],
            _ => owners.iter().map(String::as_str).collect(),
        }
    }
}

/// The words of a value.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_and_what_is_wrong_is_refused() {
        let mut routes = Routes::default();
        let rule = "Team-Finance: slack=#finance, mention=S0AB here, component=Data Platform, labels=finance payroll, assignee=5b10";
        routes.add(rule).unwrap();
        assert_eq!(
            routes.0.get("team-finance"),
            Some(&Route {
                slack: Some("#finance".to_owned()),
                mention: words("S0AB here"),
                component: Some("Data Platform".to_owned()),
                labels: words("finance payroll"),
                assignee: Some("5b10".to_owned()),
            })
        );
        for wrong in [
            "team-data",
            "team-data: slack",
            "team-data: pager=x",
            "team-data: slack=",
            "team-finance: slack=#other",
            ": slack=#x",
        ] {
            assert!(routes.add(wrong).is_err(), "{wrong}");
        }
        routes.add("team-quiet:").unwrap();
    }
}
